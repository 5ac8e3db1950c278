"""Metrics of several score vectors on the same cases, and the covariance of their values.

The influence of a case is how much it changes the metric's values. The products of influences, summed over
independent cases, are the covariance of the values over new samples of cases. If cases are not independent,
such as two images of one patient, their influences are added up first (Obuchowski 1997).

`truth` is boolean [N], `rating` [K, N] has one row per run. The meaning of a rating depends on the metric:
ranking metrics take any score; `brier`, `nll` and `ece` take a probability; `accuracy`, `sensitivity` and
`specificity` take a score whose sign decides (0 counts as positive).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from xray_tl.statistics.metrics import ECE_BINS

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]
Rows = NDArray[np.int64]

PROBABILITY_FLOOR = 1e-12


@dataclass(frozen=True)
class Metric:
    """A metric (figure of merit) and its functions.

    Attributes:
        name: Its name.
        value: (truth [N], rating [K, N]) -> values [K].
        influence: (truth, rating) -> influence of each case on each value [K, N]; `None` if the jackknife
            does not give the variance, and a bootstrap is needed.
        higher_is_better: Whether a larger value is the better one.
        of_probabilities: Whether ratings must be probabilities.
        largest: The largest possible value; the smallest is 0.
        hits: (truth, rating) -> whether each case that counts is a hit [K, M]; `None` if the metric is not a
            proportion.
    """

    name: str
    value: Callable[[Truth, Array], Array]
    influence: Callable[[Truth, Array], Array] | None
    higher_is_better: bool = True
    of_probabilities: bool = False
    largest: float = 1.0
    hits: Callable[[Truth, Array], Truth] | None = None

    def bounds(self, factor: Array) -> tuple[float, float]:
        """Return the smallest and the largest possible value of a contrast with these factors [K]."""
        return self.largest * float(factor.clip(max=0).sum()), self.largest * float(factor.clip(min=0).sum())


def auroc(truth: Truth, rating: Array) -> Array:
    """Return the empirical area under each ROC curve [K]; ties count half."""
    return _placements(truth, rating)[0].mean(1)


def delong(truth: Truth, rating: Array) -> Array:
    """Return the covariance of empirical areas [K, K] (DeLong, DeLong & Clarke-Pearson 1988)."""
    influence = delong_influence(truth, rating)
    return influence @ influence.T


def delong_influence(truth: Truth, rating: Array) -> Array:
    """Return the influence of each case on the AUROCs [K, N]; its products sum to DeLong's covariance.

    Computed from ranks (Sun & Xu 2014): time grows with N log N, memory with N.
    """
    influence = np.empty(rating.shape)
    for cases, share in zip((truth, ~truth), _placements(truth, rating), strict=True):
        count = share.shape[1]
        influence[:, cases] = (share - share.mean(1, keepdims=True)) / np.sqrt(count * (count - 1))
    return influence


def mean_value(metric: Metric, truth: Truth, rating: Array, strata: Sequence[Rows]) -> Array:
    """Return a metric's values [K], averaged over strata; cases are compared only within a stratum."""
    return np.asarray(np.mean([metric.value(truth[rows], rating[:, rows]) for rows in strata], axis=0))


def mean_covariance(
    influence: Callable[[Truth, Array], Array],
    truth: Truth,
    rating: Array,
    strata: Sequence[Rows],
    unit: Rows,
) -> Array:
    """Return the covariance [K, K] of the values of `mean_value` over new samples of units.

    Args:
        influence: The metric's `influence`.
        truth: [N].
        rating: [K, N].
        strata: The rows of each stratum.
        unit: The sampling unit of each row [N], such as its patient, from 0: rows of one unit vary together.
    """
    moved = np.zeros((int(unit.max()) + 1, len(rating)))
    for rows in strata:
        own = influence(truth[rows], rating[:, rows])
        for cases in (truth[rows], ~truth[rows]):  # n / (n - 1): of patients if they are fewer
            count, units = int(cases.sum()), len(np.unique(unit[rows][cases]))
            if units < count:
                own[:, cases] *= np.sqrt((count - 1) / count * units / (units - 1))
        np.add.at(moved, unit[rows], own.T / len(strata))
    each = np.ascontiguousarray(moved.T)
    return np.einsum("kn,ln->kl", each, each)  # one product at a time: @ rounds by what else is in it


def _placements(truth: Truth, rating: Array) -> tuple[Array, Array]:
    """Return each positive's share of negatives below it [K, P], and each negative's of positives above."""
    positive, negative = rating[:, truth], rating[:, ~truth]
    ranks = rankdata(np.concatenate((positive, negative), axis=1), axis=1)
    count = positive.shape[1]
    above = (ranks[:, :count] - rankdata(positive, axis=1)) / negative.shape[1]
    below = 1 - (ranks[:, count:] - rankdata(negative, axis=1)) / count
    return above, below


def _everywhere(truth: Truth) -> Truth:
    return np.ones_like(truth)


def _right(truth: Truth, rating: Array) -> Array:
    return np.asarray((rating >= 0) == truth, dtype=np.float64)


def _squared_error(truth: Truth, rating: Array) -> Array:
    return np.asarray((rating - truth) ** 2)


def _log_loss(truth: Truth, rating: Array) -> Array:
    safe = np.clip(rating, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.asarray(-np.where(truth, np.log(safe), np.log1p(-safe)))


def _ece(truth: Truth, rating: Array) -> Array:
    runs, cases = rating.shape
    place = (
        np.minimum((rating * ECE_BINS).astype(np.int64), ECE_BINS - 1) + ECE_BINS * np.arange(runs)[:, None]
    )
    excess = np.bincount(place.ravel(), (rating - truth).ravel(), minlength=ECE_BINS * runs)
    return np.asarray(np.abs(excess.reshape(runs, ECE_BINS)).sum(1) / cases)


def _mean(
    name: str,
    each: Callable[[Truth, Array], Array],
    among: Callable[[Truth], Truth] = _everywhere,
    *,
    loss: bool = False,
    largest: float = 1.0,
) -> Metric:
    """Return a metric that is the mean over some cases of a value per case: a loss or a proportion.

    Its influences give the jackknife's covariance (Efron 1982): leaving out one of the n (of all N) cases
    changes the mean by the case's distance from the mean, divided by n - 1.
    """

    def value(truth: Truth, rating: Array) -> Array:
        return np.asarray(each(truth, rating)[:, among(truth)].mean(1))

    def influence(truth: Truth, rating: Array) -> Array:
        chosen = among(truth)
        values = each(truth, rating)
        moved = values - values[:, chosen].mean(1, keepdims=True)
        scale = np.sqrt((len(truth) - 1) / len(truth)) / (chosen.sum() - 1)
        return np.asarray(np.where(chosen, scale * moved, 0.0))

    def hits(truth: Truth, rating: Array) -> Truth:
        return np.asarray(each(truth, rating)[:, among(truth)] > 0)

    return Metric(name, value, influence, not loss, loss, largest, None if loss else hits)


AUROC = Metric("auroc", auroc, delong_influence)
ACCURACY = _mean("accuracy", _right)
SENSITIVITY = _mean("sensitivity", _right, lambda truth: truth)
SPECIFICITY = _mean("specificity", _right, lambda truth: ~truth)
BRIER = _mean("brier", _squared_error, loss=True)
NLL = _mean("nll", _log_loss, loss=True, largest=-float(np.log1p(PROBABILITY_FLOOR - 1)))
ECE = Metric("ece", _ece, None, higher_is_better=False, of_probabilities=True)
METRICS = {metric.name: metric for metric in (AUROC, ACCURACY, SENSITIVITY, SPECIFICITY, BRIER, NLL, ECE)}
"""Name -> metric."""
