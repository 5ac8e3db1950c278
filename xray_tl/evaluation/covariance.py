"""A metric of several score vectors on the same cases, and how its values vary together; no torch.

`truth` is boolean [N], `rating` [K, N] one row a run. What a rating is depends on the metric: ranking metrics
take any score, `brier`, `nll` and `ece` a probability, deciding ones (`accuracy`, `sensitivity`,
`specificity`) a score whose sign decides, 0 as positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from xray_tl.evaluation.metrics import ECE_BINS

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]

PROBABILITY_FLOOR = 1e-12


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Attributes:
        name: Its name.
        value: (truth [N], rating [K, N]) -> values [K].
        covariance: (truth, rating) -> covariance of the values over new samples of cases [K, K]; `None` where
            leaving one case out does not give it, so that only a bootstrap does.
        higher_is_better: Whether a larger value is the better one.
        of_probabilities: Whether ratings must be probabilities.
    """

    name: str
    value: Callable[[Truth, Array], Array]
    covariance: Callable[[Truth, Array], Array] | None
    higher_is_better: bool = True
    of_probabilities: bool = False


def auroc(truth: Truth, rating: Array) -> Array:
    """Return the empirical area under each ROC curve [K]; ties count half."""
    return _placements(truth, rating)[0].mean(1)


def delong(truth: Truth, rating: Array) -> Array:
    """Return the covariance of empirical areas [K, K] (DeLong, DeLong & Clarke-Pearson 1988).

    Computed from ranks (Sun & Xu 2014), so that time and memory grow with N log N and N.
    """
    above, below = _placements(truth, rating)
    return np.atleast_2d(np.cov(above)) / above.shape[1] + np.atleast_2d(np.cov(below)) / below.shape[1]


def jackknife(value: Callable[[Truth, Array], Array], truth: Truth, rating: Array) -> Array:
    """Return the covariance of any smooth metric [K, K] by leaving each case out once (Efron 1982)."""
    cases = len(truth)
    keep = np.ones(cases, dtype=bool)
    left_out = np.empty((len(rating), cases))
    for case in range(cases):
        keep[case] = False
        left_out[:, case] = value(truth[keep], rating[:, keep])
        keep[case] = True
    centred = left_out - left_out.mean(1, keepdims=True)
    return np.asarray((cases - 1) / cases * centred @ centred.T)


def _placements(truth: Truth, rating: Array) -> tuple[Array, Array]:
    """Return each positive's share of negatives below it [K, P], each negative's of positives above it."""
    positive, negative = rating[:, truth], rating[:, ~truth]
    ranks = rankdata(np.concatenate((positive, negative), axis=1), axis=1)
    count = positive.shape[1]
    above = (ranks[:, :count] - rankdata(positive, axis=1)) / negative.shape[1]
    below = 1 - (ranks[:, count:] - rankdata(negative, axis=1)) / count
    return above, below


def _accuracy(truth: Truth, rating: Array) -> Array:
    return np.asarray(((rating >= 0) == truth).mean(1))


def _sensitivity(truth: Truth, rating: Array) -> Array:
    return np.asarray((rating[:, truth] >= 0).mean(1))


def _specificity(truth: Truth, rating: Array) -> Array:
    return np.asarray((rating[:, ~truth] < 0).mean(1))


def _brier(truth: Truth, rating: Array) -> Array:
    return np.asarray(((rating - truth) ** 2).mean(1))


def _nll(truth: Truth, rating: Array) -> Array:
    safe = np.clip(rating, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.asarray(-np.where(truth, np.log(safe), np.log1p(-safe)).mean(1))


def _ece(truth: Truth, rating: Array) -> Array:
    runs, cases = rating.shape
    place = (
        np.minimum((rating * ECE_BINS).astype(np.int64), ECE_BINS - 1) + ECE_BINS * np.arange(runs)[:, None]
    )
    excess = np.bincount(place.ravel(), (rating - truth).ravel(), minlength=ECE_BINS * runs)
    return np.asarray(np.abs(excess.reshape(runs, ECE_BINS)).sum(1) / cases)


def _jackknifed(name: str, value: Callable[[Truth, Array], Array], *, loss: bool = False) -> Metric:
    return Metric(name, value, lambda truth, rating: jackknife(value, truth, rating), not loss, loss)


AUROC = Metric("auroc", auroc, delong)
ACCURACY = _jackknifed("accuracy", _accuracy)
SENSITIVITY = _jackknifed("sensitivity", _sensitivity)
SPECIFICITY = _jackknifed("specificity", _specificity)
BRIER = _jackknifed("brier", _brier, loss=True)
NLL = _jackknifed("nll", _nll, loss=True)
ECE = Metric("ece", _ece, None, higher_is_better=False, of_probabilities=True)
METRICS = {metric.name: metric for metric in (AUROC, ACCURACY, SENSITIVITY, SPECIFICITY, BRIER, NLL, ECE)}
"""Name -> metric."""
