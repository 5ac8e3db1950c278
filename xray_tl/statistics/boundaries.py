"""Boundaries of repeated looks: nominal levels that together spend an overall level, and the way back.

At looks with information fractions t_1 < ... < t_L = 1 the score process B(t) of an estimate is a Brownian
motion, whatever mixture of readers and cases the information comes from: of nested samples,
Cov(D_1, D_2) = Var(D_2) (Scharfstein, Tsiatis & Robins 1997; Jennison & Turnbull 2000, ch. 11). By the
recursion of Armitage, McPherson & Rowe (1969), the bounds z_l are found one by one so that

    P(|Z_1| < z_1, ..., |Z_(l-1)| < z_(l-1), |Z_l| >= z_l) = alpha (t_l^3 - t_(l-1)^3)

which spends alpha t^3 (Lan & DeMets 1983; Kim & DeMets 1987). The nominal level of a look is applied to its p
value, not to z (Pocock 1977), so that few readers are the p value's concern. No library in Python has this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

Array = NDArray[np.float64]
Sides = Literal[1, 2]

RHO = 3
"""Power of t in what is spent. 3 is close to O'Brien and Fleming, and leaves the first look something."""
FARTHEST = 38.0
"""Bound, in SDs, beyond which the normal distribution has nothing that a double can hold."""
NODES = 201
"""Nodes of the Gauss-Legendre rule; enough for steps of t down to 0.0005 (`test_boundaries.py`)."""
WIDEST = 12.0
"""Bound, in SDs, up to which the density is integrated where nothing is stopped."""
SMALLEST = 1e-300


def levels(information: Sequence[float] | Array, alpha: float, sides: Sides = 2) -> Array:
    """Return the nominal levels of looks [L] that spend alpha t^3 in all.

    Args:
        information: Information fractions of the looks, rising, at most 1.
        alpha: Overall level, one- or two-sided as `sides` says.
        sides: 2: |Z| is compared; 1: Z.
    """
    t = np.asarray(information, dtype=np.float64)
    return np.asarray(sides * ndtr(-bounds(t, alpha * t**RHO, sides)))


def bounds(information: Array, spent: ArrayLike, sides: Sides = 2) -> Array:
    """Return the bounds z [L] of looks with which certain levels have been spent by each look.

    Args:
        information: Information fractions t of the looks [L], rising.
        spent: Overall level that is spent up to each look [L].
        sides: 2: |Z| is compared; 1: Z.
    """
    step = np.diff(np.asarray(spent, dtype=np.float64), prepend=0.0)
    found = np.empty(len(step))
    at, mass = np.zeros(1), np.ones(1)  # B(0) = 0; then nodes and their probability of going on
    before = 0.0
    for look, (t, share) in enumerate(zip(information, step, strict=True)):
        sd = float(np.sqrt(t - before))
        z = _bound(at, mass, float(np.sqrt(t)), sd, float(share), sides)
        found[look] = z
        if look + 1 == len(step):
            break
        high = min(z, WIDEST) * float(np.sqrt(t))
        low = -high if sides == 2 else -WIDEST * float(np.sqrt(t))
        node, weight = _gauss_legendre()
        nodes, half = low + (high - low) * (node + 1) / 2, (high - low) / 2
        density = np.exp(-(((nodes[:, None] - at) / sd) ** 2) / 2) @ mass / (sd * np.sqrt(2 * np.pi))
        at, mass, before = nodes, weight * half * density, t
    return found


def _bound(at: Array, mass: Array, scale: float, sd: float, share: float, sides: Sides) -> float:
    """Return z with P(stopped now) = `share`, for B at `at` with probability `mass` before a step of `sd`."""

    def beyond(z: float) -> float:
        above = ndtr((at - z * scale) / sd)
        return float(mass @ (above + ndtr((-z * scale - at) / sd) if sides == 2 else above))

    low = 0.0 if sides == 2 else -FARTHEST
    if share <= beyond(FARTHEST):
        return FARTHEST
    if share >= beyond(low):
        return low
    return float(brentq(lambda z: beyond(z) - share, low, FARTHEST))


def overall(p: float, information: Sequence[float] | Array, sides: Sides = 2) -> float:
    """Return the overall level at which the nominal level of the last of these looks would be `p`.

    It is the p value of a look among several (Liu & Anderson 2008), and never below `p`.

    Args:
        p: Nominal p value at the last look.
        information: Information fractions of the looks so far, the present one last.
        sides: 2: two-sided; 1: one-sided.
    """
    if p >= 1:
        return 1.0

    def excess(logarithm: float) -> float:
        level = levels(information, float(np.exp(logarithm)), sides)[-1]
        return float(np.log(max(level, SMALLEST)) - np.log(max(p, SMALLEST)))

    low, high = float(np.log(max(p, SMALLEST))), float(np.log(0.999))
    if low >= high or excess(high) < 0:
        return 1.0
    if excess(low) >= 0:
        return float(np.exp(low))
    return float(np.exp(brentq(excess, low, high, xtol=1e-5)))


@cache
def _gauss_legendre() -> tuple[Array, Array]:
    node, weight = np.polynomial.legendre.leggauss(NODES)
    return node, weight
