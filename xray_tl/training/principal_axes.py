"""Features in fewer columns, along their principal axes: an L2-penalised linear model stays the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.linalg.lapack import dormqr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rotation:
    """Orthonormal directions that hold every row of a feature matrix: R = min(N, D) of D dimensions.

    The rotation is exact to rounding, also for features of deficient rank: nothing is cut off.

    Attributes:
        axes: Principal axes [R, R].
        reflectors: The `geqrf` factors of the transposed features [D, N], where D > N; else `None`.
    """

    axes: Array
    reflectors: tuple[Array, Array] | None

    def back(self, weight: Array) -> Array:
        """Return weights [R, T] on rotated features as weights [D, T] on the features."""
        turned: Array = self.axes @ weight
        if self.reflectors is None:
            return turned
        factor, tau = self.reflectors
        padded = np.zeros((len(factor), weight.shape[1]))
        padded[: len(turned)] = turned
        full, _, _ = dormqr("L", "N", factor, tau, padded, 64 * len(factor))
        return np.ascontiguousarray(full)


def rotate(features: Array) -> tuple[Array, Rotation]:
    """Rotate features [N, D] to their principal axes: [N, min(N, D)].

    If D > N, a QR decomposition of the transpose first leaves N columns. The axes are eigenvectors of the
    Gram matrix. Its rounding makes the axes of tiny spread inexact, which only slows convergence down.
    """
    reflectors = None
    if features.shape[1] > len(features):
        (factor, tau), triangle = qr(features.T, mode="raw", check_finite=False)
        reflectors = np.asarray(factor, dtype=np.float64), np.asarray(tau, dtype=np.float64)
        features = np.ascontiguousarray(triangle.T)
    _, axes = np.linalg.eigh(features.T @ features)
    return features @ axes, Rotation(axes, reflectors)
