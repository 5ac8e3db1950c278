"""Metrics of predictions, as plain functions on arrays.

Arrays are truth [N, T], logit [N, T] and probability [N, T] in [0, 1]; T is 1 for a binary task. Truth is 0,
1 or, with several labels, NaN if it is not known; such entries are ignored. Each metric is computed for each
column and averaged over the columns that have both classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Array = NDArray[np.float64]

ECE_BINS = 15


def summarise(
    truth: Array, logit: Array, probability: Array, thresholds: Sequence[float], *, multiclass: bool = False
) -> dict[str, float]:
    """Compute the metrics of one split.

    AUROC and average precision rank by logit, since probabilities saturate. `accuracy` decides at probability
    0.5 (multi-class: the largest), `accuracy_at_threshold`, `sensitivity` and `specificity` at the thresholds
    that validation chose.
    """
    decided, known = probability >= np.asarray(thresholds), np.isfinite(truth)
    positive = truth > 0.5
    return {
        "loss": negative_log_likelihood(truth, probability, multiclass=multiclass),
        "accuracy": _accuracy(positive, probability, known, multiclass=multiclass),
        "accuracy_at_threshold": float((decided == positive)[known].mean()),
        "auroc": auroc(truth, logit),
        "average_precision": _average(average_precision_score, truth, logit),
        "sensitivity": _rate(decided, positive),
        "specificity": _rate(~decided, known & ~positive),
        "brier": float(((probability - truth) ** 2)[known].mean()),
        "ece": _average(calibration_error, truth, probability),
    }


def auroc(truth: Array, score: Array) -> float:
    """Return the area under the ROC curve, averaged over the columns [N, T]."""
    return _average(roc_auc_score, truth, score)


def choose_thresholds(truth: Array, probability: Array) -> list[float]:
    """Choose each column's threshold by Youden's index, sensitivity + specificity - 1 (Youden 1950).

    The threshold lies halfway between the scores it separates; of equal ones the nearest to 0.5 is taken,
    and 0.5 for a column of one class.
    """
    return [_youden(t, p) if _has_both(t) else 0.5 for t, p in _columns(truth, probability)]


def negative_log_likelihood(truth: Array, probability: Array, *, multiclass: bool = False) -> float:
    """Return the mean negative log-likelihood in nats per image and target (multi-class: per image)."""
    safe = np.clip(probability, 1e-12, 1 - 1e-12)
    if multiclass:
        return float(-(truth * np.log(safe)).sum(1).mean())
    return float(-np.nanmean(truth * np.log(safe) + (1 - truth) * np.log1p(-safe)))


def calibration_error(truth: Array, probability: Array, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error over equal-width bins (Naeini et al. 2015) of one column [N]."""
    return float(
        sum(weight * abs(mean - rate) for mean, rate, weight in reliability(truth, probability, bins))
    )


def reliability(truth: Array, probability: Array, bins: int = ECE_BINS) -> list[tuple[float, float, float]]:
    """Return (mean probability, observed rate, share of images) of each non-empty bin of one column [N]."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        (float(probability[place == b].mean()), float(truth[place == b].mean()), float((place == b).mean()))
        for b in range(bins)
        if (place == b).any()
    ]


def _youden(truth: Array, probability: Array) -> float:
    fpr, tpr, cuts = roc_curve(truth, probability, drop_intermediate=False)
    index = tpr - fpr
    best = np.flatnonzero(index >= index.max() - 1e-12)
    scores = np.unique(probability)
    below = np.searchsorted(scores, cuts[best]) - 1  # the largest score that is decided negative
    middles = [
        (min(cut, 1.0) + (scores[k] if k >= 0 else 0.0)) / 2 for cut, k in zip(cuts[best], below, strict=True)
    ]
    return float(min(middles, key=lambda cut: abs(cut - 0.5)))


def _columns(truth: Array, score: Array) -> list[tuple[Array, Array]]:
    """Return each column's truths and scores, where the truth is known."""
    return [(t[np.isfinite(t)], s[np.isfinite(t)]) for t, s in zip(truth.T, score.T, strict=True)]


def _has_both(truth: Array) -> bool:
    return 0 < (truth > 0.5).sum() < len(truth)


def _accuracy(
    positive: NDArray[np.bool_], probability: Array, known: NDArray[np.bool_], *, multiclass: bool
) -> float:
    if multiclass:
        return float((probability.argmax(1) == positive.argmax(1)).mean())
    return float(((probability >= 0.5) == positive)[known].mean())


def _average(metric: Callable[[Array, Array], float], truth: Array, score: Array) -> float:
    return float(np.mean([metric(t, s) for t, s in _columns(truth, score) if _has_both(t)]))


def _rate(decided: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    there = among.any(0)
    return float(np.mean((decided & among).sum(0)[there] / among.sum(0)[there]))
