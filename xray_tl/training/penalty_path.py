"""Held-out loss and AUROC of linear probes along a grid of penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import rankdata

from xray_tl.training.newton import Minimum, Problems, minimise, row_loss

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PATH_GRADIENT = 1e-7
"""Largest norm of the gradient in cross-validation.

On features of 800 images it leaves held-out losses wrong by 5e-7 at penalty 0.001 and 3e-8 from 0.1 on.
"""

TIE = 1e-5
"""Held-out losses this close (nats) are equal, and the strongest penalty wins.

It is far above the error that `PATH_GRADIENT` leaves, and far below what chance does to a held-out loss.
"""

ENTRIES = 2**22
"""Logits that are solved for at once, unless one fold has more: this limits memory."""


@dataclass(frozen=True)
class Rows:
    """What one probe has to learn: K columns, 1 for a logistic regression, the classes of a softmax.

    Attributes:
        target: Probabilities [N, K].
        weight: Weights [N], 0 where the truth is not known.
        fold: Fold of each row [N], or -1 everywhere.
    """

    target: Array
    weight: Array
    fold: NDArray[np.int64]

    @property
    def known(self) -> Mask:
        """Whether the truth of each row is known [N]."""
        return self.weight > 0

    @property
    def positive(self) -> Mask:
        """Whether each row belongs to each column's class [N, K]."""
        if self.target.shape[1] == 1:
            return self.target > 0.5
        return np.arange(self.target.shape[1]) == self.target.argmax(1)[:, None]


def pose(rows: Rows, training: Mask, penalty: Array) -> Problems:
    """Return P problems on the rows that are known and in training [N, P], with P penalties.

    A problem without any row, or a logistic regression on one class alone, gets weight 0 everywhere, so that
    its solution is 0; a class without rows is left out of a softmax. `completed` gives them a bias.
    """
    used = rows.known[:, None] & training
    weight = np.where(used, rows.weight[:, None], 0.0) / np.maximum(used.sum(0), 1)
    mass = weight.T @ rows.target
    if rows.target.shape[1] == 1:
        both = (mass[:, 0] > 0) & (weight.T @ (1 - rows.target) > 0)[:, 0]
        weight, offset = np.where(both, weight, 0.0), np.zeros_like(mass)
    else:
        offset = np.where((mass > 0) | ~(mass > 0).any(1, keepdims=True), 0.0, -np.inf)
    target = np.broadcast_to(rows.target[:, None], (*weight.shape, rows.target.shape[1]))
    return Problems(weight, target, penalty, offset)


def completed(bias: Array, rows: Rows, training: Mask) -> Array:
    """Return biases [P, K] in which a class without training rows has the odds of half a row.

    Without it they would be infinite. A softmax's biases are shifted so that those of the others average 0.
    """
    used = rows.known[:, None] & training
    odds = np.log(2 * used.sum(0) + 1.0)[:, None]
    mass = (used * rows.weight[:, None]).T @ rows.target
    if bias.shape[1] == 1:
        rest = (used * rows.weight[:, None]).T @ (1 - rows.target)
        return bias + odds * ((rest <= 0).astype(float) - (mass <= 0))
    there = (mass > 0) | ~(mass > 0).any(1, keepdims=True)
    centred = bias - bias.mean(1, keepdims=True, where=there)
    total = logsumexp(np.where(there, centred, -np.inf), axis=1, keepdims=True)
    return np.where(there, centred, total - odds)


def held_out_path(features: Array, rows: Rows, grid: Array) -> tuple[Array, Array]:
    """Return the mean held-out loss [G] and the held-out AUROC [G, K] of each penalty of the grid.

    The loss is weighted as in training and averaged over all held-out rows of known truth. The AUROC is
    averaged over the folds that hold both classes; NaN, if none does.
    """
    folds = np.unique(rows.fold)
    block = max(1, ENTRIES // (len(features) * len(grid) * rows.target.shape[1]))
    total, areas = np.zeros(len(grid)), []
    for start in range(0, len(folds), block):
        chosen = folds[start : start + block]
        logit = _logits(features, rows, grid, chosen)
        for position, fold in enumerate(chosen):
            held = rows.known & (rows.fold == fold)
            out = logit[held, position * len(grid) : (position + 1) * len(grid)]
            target = np.broadcast_to(rows.target[held, None], out.shape)
            total += rows.weight[held] @ row_loss(out, target, np.zeros(out.shape[1:]))
            areas.append(_areas(rows.positive[held], out))
    return total / rows.known.sum(), _mean_of_finite(np.stack(areas))


def best(loss: Array, grid: Array) -> float:
    """Return the penalty of the smallest loss [G]; of those within `TIE` of it, the strongest."""
    return float(grid[loss <= loss.min() + TIE].max())


def _logits(features: Array, rows: Rows, grid: Array, folds: NDArray[np.int64]) -> Array:
    """Return the logits [N, F * G, K] of all rows, from probes that leave one of F folds out."""
    training = np.repeat(rows.fold[:, None] != folds, len(grid), axis=1)
    problems = pose(rows, training, np.tile(grid, len(folds)))
    found: Minimum = minimise(features, problems, PATH_GRADIENT)
    return found.logit + (completed(found.bias, rows, training) - found.bias)


def _areas(positive: Mask, logit: Array) -> Array:
    """Return AUROCs [G, K] of logits [N, G, K]; equal logits count half, one class alone makes NaN."""
    count = positive.sum(0)
    rank = rankdata(logit, axis=0)
    above = (rank * positive[:, None]).sum(0) - count * (count + 1) / 2
    pairs = count * (len(positive) - count)
    return np.where(pairs > 0, above / np.maximum(pairs, 1), np.nan)


def _mean_of_finite(areas: Array) -> Array:
    """Return the mean [G, K] over the folds [F, G, K] that are not NaN."""
    there = np.isfinite(areas)
    count = there.sum(0)
    return np.where(count > 0, np.where(there, areas, 0.0).sum(0) / np.maximum(count, 1), np.nan)
