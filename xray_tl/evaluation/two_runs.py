"""One trained run against another on the same cases; nothing about training either again. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from xray_tl.evaluation.covariance import auroc, delong
from xray_tl.evaluation.estimates import LEVEL

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
    """Return the score interval of a proportion (Wilson 1927)."""
    interval = binomtest(hits, of).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)
