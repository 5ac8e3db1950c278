"""Linear probe solved to its optimum, with a penalty that cross-validation chooses.

The optimum is unique, so that it depends on no seed, no starting point and not on the order of the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xray_tl.errors import RunError
from xray_tl.training.newton import Minimum, Problems, minimise, probability, row_loss
from xray_tl.training.penalty_path import Rows, best, completed, held_out_path, pose
from xray_tl.training.principal_axes import rotate

Array = NDArray[np.float64]
Kind = Literal["binary", "multiclass", "multilabel"]

GRID = tuple(10 ** (k / 2) for k in range(-6, 7))
"""Penalties to choose from: 0.001 to 1000 in half decades, for features of mean variance 1."""

DEFAULT = 1.0
"""Penalty where cross-validation is not possible: the best on features of ImageNet networks is near it."""

GRADIENT = 1e-9
"""Largest absolute entry of the gradient at a solution."""


@dataclass(frozen=True)
class LinearProbe:
    """A solved probe of T columns on D features, and how its penalty was chosen from G penalties.

    Attributes:
        weight: Weights [T, D].
        bias: Biases [T].
        penalty: Penalties [T]; a multi-class probe has one, repeated.
        grid: Penalties of the path [G], the weakest first.
        held_out_loss: Mean held-out loss [G, T], weighted as in training; multi-class: one, repeated. NaN for
            a target without folds, `None` without any.
        held_out_auroc: Held-out AUROC [G, T] (multi-class: each class against the others), averaged over the
            folds that hold both classes; NaN where none does, `None` without folds.
        train_loss: Weighted mean training losses [T] without the penalty; multi-class: one, repeated.
        gradient: Largest absolute entry of the gradient, for weights on centred features and for biases.
        iterations: Newton steps of the final solve; of several targets the most.
    """

    weight: Array
    bias: Array
    penalty: Array
    grid: Array
    held_out_loss: Array | None
    held_out_auroc: Array | None
    train_loss: Array
    gradient: float
    iterations: int


def solve_probe(
    features: Array,
    targets: Array,
    weights: Array,
    kind: Kind,
    folds: NDArray[np.int64] | None = None,
    *,
    grid: Sequence[float] = GRID,
    penalty: float = DEFAULT,
) -> LinearProbe:
    """Minimise sum_i w_i loss_i / (rows of known truth) + penalty / 2 |weight|^2; biases are not penalised.

    `binary` and `multilabel`: one logistic regression a column, each with its own penalty. `multiclass`: one
    softmax regression. A column without any known truth has weights and bias 0. A class without any training
    row has no optimum: it gets weights 0 and, by its bias, the odds of half a row.

    Args:
        features: Features [N, D], standardised.
        targets: Probabilities [N, T] in [0, 1], label smoothing included; multi-class rows add to 1.
        weights: Weights [N, T], 0 or more; 0: the truth is not known. Multi-class: the entry at a row's
            largest target is the weight of the row.
        kind: Kind of the targets.
        folds: Fold of each row, [N] or [N, T]; a column of -1 alone is not cross-validated.
        grid: Penalties to choose from, by the mean held-out loss.
        penalty: Penalty of the columns that are not cross-validated.

    Raises:
        RunError: A feature is not finite, or no optimum was found.
    """
    strengths = np.sort(np.asarray(grid, dtype=np.float64))
    _refuse(features, (penalty, *strengths))
    mean = features.mean(0)
    centred = features - mean
    rotated, rotation = rotate(centred)
    probes = _probes(targets, weights, kind, folds)
    paths = [_path(rotated, rows, strengths) for rows in probes]
    chosen = [penalty if path is None else best(path[0], strengths) for path in paths]
    solved = [_solve(rotated, rows, strength) for rows, strength in zip(probes, chosen, strict=True)]
    weight = rotation.back(np.hstack([found.weight[:, 0] for found, _ in solved])).T
    steepest, losses = _judge(centred, weight, solved)
    bias = np.concatenate([_bias(found, rows) for (found, _), rows in zip(solved, probes, strict=True)])
    repeats = targets.shape[1] // len(probes)
    held_out = None if all(path is None for path in paths) else _columns(paths, len(strengths), repeats)
    return LinearProbe(
        weight=weight,
        bias=bias - weight @ mean,
        penalty=np.repeat(chosen, repeats),
        grid=strengths,
        held_out_loss=held_out and held_out[0],
        held_out_auroc=held_out and held_out[1],
        train_loss=np.repeat(losses, repeats),
        gradient=steepest,
        iterations=max(int(found.steps.max()) for found, _ in solved),
    )


def _refuse(features: Array, penalties: Sequence[float]) -> None:
    if not np.isfinite(features).all():
        raise RunError("the linear probe got features that are not finite: the backbone's output overflows")
    if not min(penalties) > 0:
        raise RunError(
            "the linear probe needs penalties above 0: without one, separable classes have no optimum"
        )


def _probes(targets: Array, weights: Array, kind: Kind, folds: NDArray[np.int64] | None) -> list[Rows]:
    """Return one probe a column, or one for all columns of a multi-class target."""
    fold = np.full(len(targets), -1) if folds is None else folds
    if kind == "multiclass":
        own = np.take_along_axis(weights, targets.argmax(1)[:, None], 1)[:, 0]
        return [Rows(targets, own, fold if fold.ndim == 1 else fold[:, 0])]
    targets = np.where(weights > 0, targets, 0.0)  # also where an unknown truth is NaN
    return [
        Rows(targets[:, [t]], weights[:, t], fold if fold.ndim == 1 else fold[:, t])
        for t in range(targets.shape[1])
    ]


def _path(features: Array, rows: Rows, grid: Array) -> tuple[Array, Array] | None:
    """Return held-out loss [G] and AUROC [G, K]; `None` without folds or without any known truth."""
    if (rows.fold < 0).all() or not rows.known.any():
        return None
    return held_out_path(features, rows, grid)


def _columns(paths: list[tuple[Array, Array] | None], grid: int, repeats: int) -> tuple[Array, Array]:
    """Return held-out loss and AUROC [G, T] of all columns, NaN for those without folds."""
    blank = np.full((grid, repeats), np.nan)
    losses = [blank if path is None else np.repeat(path[0][:, None], repeats, 1) for path in paths]
    return np.hstack(losses), np.hstack([blank if path is None else path[1] for path in paths])


def _solve(features: Array, rows: Rows, penalty: float) -> tuple[Minimum, Problems]:
    problem = pose(rows, np.ones((len(features), 1), bool), np.array([penalty]))
    return minimise(features, problem, GRADIENT / 2), problem


def _bias(found: Minimum, rows: Rows) -> Array:
    """Return the biases [K] of a solved probe."""
    return completed(found.bias, rows, np.ones((len(rows.weight), 1), bool))[0]


def _judge(
    features: Array, weight: Array, solved: list[tuple[Minimum, Problems]]
) -> tuple[float, list[float]]:
    """Return the largest entry of the gradient, computed anew on the features, and each probe's loss.

    Raises:
        RunError: The gradient is larger than `GRADIENT`.
    """
    steepest, losses, start = 0.0, [], 0
    for found, problem in solved:
        own = weight[start : start + found.bias.shape[1]]
        start += len(own)
        logit = (features @ own.T + found.bias)[:, None]
        residual = problem.row_weight * (probability(logit, problem.offset) - problem.target)[:, 0]
        slopes = residual.T @ features + problem.penalty * own
        steepest = max(steepest, float(np.abs(slopes).max()), float(np.abs(residual.sum(0)).max()))
        losses.append(float((problem.row_weight * row_loss(logit, problem.target, problem.offset)).sum()))
    if not steepest <= GRADIENT:
        raise RunError(
            f"the linear probe found no optimum (gradient {steepest:.1e}): are the features standardised?"
        )
    return steepest, losses
