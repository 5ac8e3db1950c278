"""Tests for one run, or two runs on the same cases; they do not generalise to new training seeds.

For AUROC the analysis of one reader is DeLong's test; proportions have their own methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from xray_tl.statistics.covariance import Metric, auroc, delong
from xray_tl.statistics.estimates import LEVEL, Estimate
from xray_tl.statistics.readings import Readings

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def delong_test(truth: Flags, first: Array, second: Array) -> tuple[float, float, float]:
    """Compare two AUROCs on the same cases (DeLong et al. 1988): difference, its standard error, p.

    Args:
        truth: Whether a case is positive [N].
        first: Scores [N].
        second: Scores [N].
    """
    rating = np.stack((first, second))
    area, covariance = auroc(truth, rating), delong(truth, rating)
    difference = float(area[0] - area[1])
    se = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    return difference, se, float(2 * norm.sf(abs(difference) / se)) if se > 0 else float(difference == 0)


def mcnemar_test(first_right: Flags, second_right: Flags) -> float:
    """Return the exact p value of equal accuracies on the same cases (McNemar 1947)."""
    first_alone = int((first_right & ~second_right).sum())
    differ = int((first_right != second_right).sum())
    return float(binomtest(first_alone, differ).pvalue) if differ else 1.0


def wilson(hits: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence interval of a proportion by Wilson's score method (Wilson 1927)."""
    interval = binomtest(hits, of).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def as_proportion(
    estimate: Estimate, readings: Readings, metric: Metric, weights: Mapping[str, float], level: float
) -> Estimate:
    """Return an estimate with Wilson's interval, or McNemar's p, if it is of one reader's proportions.

    The interval of a difference stays that of the jackknife; near 0 and 1 it may disagree with p. Estimates
    over dependent cases, or averaged over targets or folds, are returned unchanged.

    Args:
        estimate: A contrast.
        readings: The study.
        metric: The metric that was estimated.
        weights: Treatment -> factor.
        level: Level of the interval.
    """
    independent = len(readings.strata) == 1 and readings.patients == len(readings.truth)
    known = list(weights.values()) in ([1], [1, -1])
    alone = estimate.readers == 1 and estimate.random_cases
    if metric.hits is None or not (known and alone and independent):
        return estimate
    rows = np.array([readings.treatments.index(name) for name in weights])
    share = readings.share[rows]
    (draw, *_) = np.flatnonzero(share.any(2).all(0))
    several = (share[:, draw] > 0).sum(1) > 1
    if (several & [name not in readings.readerless for name in weights]).any():
        return estimate  # a mean over the runs of a group is no proportion
    hits = metric.hits(readings.truth, readings.rating[rows, share[:, draw].argmax(1)])
    if len(weights) == 2:
        return replace(estimate, p=mcnemar_test(*hits), judged_by="McNemar")
    lower, upper = wilson(int(hits.sum()), hits.size, level)
    return replace(estimate, lower=lower, upper=upper, judged_by="Wilson")
