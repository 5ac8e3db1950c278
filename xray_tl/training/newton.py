"""Many penalised logistic regressions on one feature matrix, minimised together by Newton's method.

Each Newton step is solved by conjugate gradients (Nocedal & Wright, Numerical Optimization, 2006, chapter 7),
whose products with the Hessian are two matrix products for all problems at once. The preconditioner is the
Hessian's diagonal: rotate the features to their principal axes first. Steps are computed in single precision,
which takes half the time; points, logits and gradients in double precision, so that what is found is exact.
Nothing is drawn: the same input gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from xray_tl.errors import RunError

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)

NEWTON_STEPS = 100
"""Largest number of Newton steps; 4 to 12 are usual."""

CG_STEPS = 500
"""Largest number of conjugate-gradient steps in one Newton step; cut short, it still leads downhill."""

HALVINGS = 40
"""Largest number of times that a step is halved."""

FIRST_ACCURACY = 0.2
"""Accuracy of the first Newton step, relative to its gradient; later ones are more exact."""

ROUNDING = 1e-12
"""Relative rise of an objective that rounding explains."""


@dataclass(frozen=True)
class Problems:
    """P problems on features [N, D] that share nothing but the features.

    With one column (K is 1) a problem is a logistic regression, with more a softmax regression. Problem p
    minimises sum_i row_weight[i, p] loss(logit[i, p], target[i, p]) + penalty[p] / 2 |weight|^2; biases are
    not penalised.

    Attributes:
        row_weight: Weight of each row [N, P], 0 or more.
        target: Probability of each class [N, P, K]; the K of a softmax add to 1.
        penalty: Strength of the penalty [P], more than 0.
        offset: Added to the logits [P, K]: 0, or -inf for a class that a softmax leaves out.
    """

    row_weight: Array
    target: Array
    penalty: Array
    offset: Array

    def only(self, keep: NDArray[np.int64]) -> Problems:
        """Return the problems of these indices."""
        return Problems(self.row_weight[:, keep], self.target[:, keep], self.penalty[keep], self.offset[keep])


class Minimum(NamedTuple):
    """Solutions: weight [D, P, K], bias [P, K], logit [N, P, K] without offset, Newton steps [P]."""

    weight: Array
    bias: Array
    logit: Array
    steps: NDArray[np.int64]


def minimise(features: Array, problems: Problems, tolerance: float) -> Minimum:
    """Minimise all problems from zero, each until its gradient's Euclidean norm is within the tolerance.

    Args:
        features: Features [N, D].
        problems: The problems.
        tolerance: Largest norm of a gradient (over weights and biases) that counts as a solution.

    Raises:
        RunError: A problem did not converge.
    """
    design = np.hstack((features, np.ones((len(features), 1))))
    coarse = design.astype(np.float32)
    count, columns = problems.offset.shape
    point, logit = np.zeros((design.shape[1], count, columns)), np.zeros((len(design), count, columns))
    steps, start = np.zeros(count, np.int64), np.zeros(count)
    waiting = np.arange(count)
    for step in range(NEWTON_STEPS + 1):
        part = problems.only(waiting)
        chance = probability(logit[:, waiting], part.offset)
        gradient = _gradient(design, part, chance, point[:, waiting])
        norm = _norm(gradient)
        if step == 0:
            start = norm
        far = np.flatnonzero(~(norm <= tolerance))
        if not len(far):
            return Minimum(point[:-1], point[-1], logit, steps)
        waiting, part, norm = waiting[far], part.only(far), norm[far]
        accuracy = np.minimum(FIRST_ACCURACY, np.sqrt(norm / start[waiting]))
        unit = -gradient[:, far] / norm[:, None]  # its square would be too small for single precision
        right = unit.astype(np.float32), np.maximum(accuracy, tolerance / 3 / norm)
        move = norm[:, None] * _solve(_Hessian(coarse, part, chance[:, far]), *right)
        shift = _product(design, move)
        slope = -(unit * norm[:, None] * move).sum((0, 2))
        scale = _scale(part, (point[:, waiting], move), (logit[:, waiting], shift), slope)
        point[:, waiting] += scale * move
        logit[:, waiting] += scale * shift
        steps[waiting] += 1
    raise RunError(
        f"{len(waiting)} of {count} linear probes found no optimum in {NEWTON_STEPS} Newton steps "
        f"(gradient {norm.max():.1e}, penalty from {part.penalty.min():g}): a stronger one helps"
    )


def probability(logit: Array, offset: Array) -> Array:
    """Return probabilities [N, P, K] of logits [N, P, K]: sigmoid for one column, else softmax."""
    if logit.shape[2] == 1:
        return expit(logit)
    shifted = logit + offset
    exact: Array = np.exp(shifted - shifted.max(2, keepdims=True))
    return exact / exact.sum(2, keepdims=True)


def row_loss(logit: Array, target: Array, offset: Array) -> Array:
    """Return each row's cross-entropy [N, P]; logit and target [N, P, K]."""
    total = np.logaddexp(0, logit[:, :, 0]) if logit.shape[2] == 1 else logsumexp(logit + offset, axis=2)
    return total - (target * logit).sum(2)


class _Hessian:
    """The Hessians of some problems at one point, in single precision.

    Attributes:
        diagonal: Diagonals [D + 1, P, K]; 1 where one is 0, as for the bias of a class that is left out.
    """

    def __init__(self, design: Single, problems: Problems, chance: Array) -> None:
        self.design = design
        self.weight = problems.row_weight[:, :, None].astype(np.float32)
        self.chance = chance.astype(np.float32)
        self.strength = _strength(design.shape[1], problems).astype(np.float32)
        diagonal = _product((design**2).T, self.weight * self.chance * (1 - self.chance)) + self.strength
        self.diagonal: Single = np.where(diagonal > 0, diagonal, 1).astype(np.float32)

    def __call__(self, direction: Single, at: NDArray[np.int64]) -> Single:
        """Return the products of the problems `at` with a direction, both [D + 1, ...]."""
        logit, chance = _product(self.design, direction), self.chance[:, at]
        mean = chance * logit if logit.shape[2] == 1 else (chance * logit).sum(2, keepdims=True)
        curved = self.weight[:, at] * chance * (logit - mean)
        return _product(self.design.T, curved) + self.strength[:, at] * direction


def _solve(hessian: _Hessian, right: Single, goal: Array) -> Array:
    """Solve Hessian x = right [D + 1, P, K] by preconditioned conjugate gradients.

    Each problem ends when the norm of its residual is its goal [P].
    """
    found = np.zeros(right.shape)
    live, diagonal = np.arange(right.shape[1]), hessian.diagonal
    residual, scaled = right, right / diagonal
    direction, size = scaled, (right * scaled).sum((0, 2))
    for _ in range(CG_STEPS):
        product = hessian(direction, live)
        length = (size / (direction * product).sum((0, 2)))[:, None]
        found[:, live] += length * direction
        residual = residual - length * product
        left = np.flatnonzero(_norm(residual) > goal[live])
        if not len(left):
            break
        if len(left) < len(live):
            live, residual, direction, size = live[left], residual[:, left], direction[:, left], size[left]
            diagonal = diagonal[:, left]
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum((0, 2))
        direction = scaled + (size / before)[:, None] * direction
    return found


def _scale(problems: Problems, point: tuple[Array, Array], logit: tuple[Array, Array], slope: Array) -> Array:
    """Return the first of 1, 1/2, 1/4, ... [P, 1] for each problem that lowers its objective enough.

    Args:
        problems: The problems.
        point: Weights and biases, and their step [D + 1, P, K].
        logit: Logits, and their step [N, P, K].
        slope: Derivatives [P] along the step.
    """
    scale = np.ones((len(slope), 1))
    here = _value(problems, point[0], logit[0])
    for _ in range(HALVINGS):
        there = _value(problems, point[0] + scale * point[1], logit[0] + scale * logit[1])
        bad = there > here + 1e-4 * scale[:, 0] * slope + ROUNDING * here
        if not bad.any():
            break
        scale[bad] /= 2
    return scale


def _value(problems: Problems, point: Array, logit: Array) -> Array:
    loss = (problems.row_weight * row_loss(logit, problems.target, problems.offset)).sum(0)
    return loss + problems.penalty / 2 * (point[:-1] ** 2).sum((0, 2))


def _gradient(design: Array, problems: Problems, chance: Array, point: Array) -> Array:
    residual = problems.row_weight[:, :, None] * (chance - problems.target)
    return _product(design.T, residual) + _strength(design.shape[1], problems) * point


def _strength(size: int, problems: Problems) -> Array:
    """Return the penalty of each weight and bias [D + 1, P, 1]."""
    penalised = np.ones((size, 1, 1))
    penalised[-1] = 0  # the bias
    return penalised * problems.penalty[:, None]


def _product(matrix: NDArray[Float], columns: NDArray[Float]) -> NDArray[Float]:
    """Return matrix [A, B] times columns [B, P, K] as one matrix product."""
    product: NDArray[Float] = matrix @ columns.reshape(len(columns), -1)
    return product.reshape(len(matrix), *columns.shape[1:])


def _norm(gradient: NDArray[Float]) -> NDArray[Float]:
    """Return the Euclidean norm [P] of gradients [D + 1, P, K]."""
    norm: NDArray[Float] = np.sqrt((gradient**2).sum((0, 2)))
    return norm
