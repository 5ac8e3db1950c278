"""Features, labels and references that tests of the linear probe share."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from xray_tl.training.linear_probe import LinearProbe

Array = NDArray[np.float64]
ROWS = 90
PENALTY = 0.05


def plain(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 7))


def single(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 1))


def wide(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 240))


def twice(rng: np.random.Generator) -> Array:
    half = rng.standard_normal((ROWS, 60))
    return np.hstack((half, half))


def dead(rng: np.random.Generator) -> Array:
    return np.hstack((rng.standard_normal((ROWS, 5)), np.full((ROWS, 1), 3.0), np.zeros((ROWS, 2))))


def nearly_dead(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 40)) * np.logspace(0, -12, 40)


def low_rank(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 4)) @ rng.standard_normal((4, 150))


def repeated_rows(rng: np.random.Generator) -> Array:
    return np.repeat(rng.standard_normal((ROWS // 2, 130)), 2, axis=0)


def steep(rng: np.random.Generator) -> Array:
    """One direction far larger than the others, as a network's common offset."""
    return rng.standard_normal((ROWS, 30)) + 30 * rng.standard_normal((ROWS, 1))


SHAPES = [plain, single, wide, twice, dead, nearly_dead, low_rank, repeated_rows, steep]
Shape = Callable[[np.random.Generator], Array]


def drawn_truth(rng: np.random.Generator, features: Array, columns: int = 1) -> Array:
    signal = features @ rng.standard_normal((features.shape[1], columns)) / np.sqrt(features.shape[1])
    return (signal + rng.standard_normal(signal.shape) > 0).astype(float)


def one_hot(rng: np.random.Generator, rows: int, classes: int) -> Array:
    return np.eye(classes)[rng.permutation(np.arange(rows) % classes)]


def scikit_learn(features: Array, label: Array, weight: Array, penalty: float) -> LogisticRegression:
    """Return scikit-learn's solution; with C = 1 the weights carry our penalty and mean over rows."""
    known = weight > 0
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    return model.fit(features[known], label[known], weight[known] / (known.sum() * penalty))


def largest_slopes(
    features: Array, targets: Array, weights: Array, probe: LinearProbe, *, one_of: bool
) -> Array:
    """Return the largest gradient of each column from the formula of the derivative, row by row."""
    logit = features @ probe.weight.T + probe.bias
    chance = softmax(logit, axis=1) if one_of else expit(logit)
    total = probe.penalty[:, None] * probe.weight
    bias = np.zeros(len(total))
    known = (weights > 0).sum(0)
    for x, p, y, w in zip(features, chance, targets, weights, strict=True):
        error = np.where(w > 0, w * (p - np.nan_to_num(y)), 0.0) / np.maximum(known, 1)
        total = total + error[:, None] * x
        bias = bias + error
    return np.maximum(np.abs(total).max(1), np.abs(bias))
