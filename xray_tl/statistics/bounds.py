"""The best possible result on a set of images, from the ideal observer's scores.

`logit` is the ideal observer's log-odds of the observed label [N]: the posterior probability of the label is
its sigmoid. A classifier's scores are compared with it on the same images.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit, ndtri

Array = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
_CELLS = 4_000_000  # weights held in one go: resamples x images


def weighted_auroc(positive: Array, score: Array) -> tuple[float, float]:
    """Return the AUROC and its standard error, where the truth may be a probability.

    Every pair (i, j) of different images has the weight positive_i (1 - positive_j). With labels 0 and 1 this
    is the empirical AUROC, and the squared standard error is DeLong's except for a factor (m - 1) / m in the
    term of each class; with the ideal observer's posterior it is the soft AUROC, which has the same
    expectation and a smaller error.

    Args:
        positive: Probability that the image is positive [N], in [0, 1].
        score: Higher for positive [N].
    """
    negative = 1 - positive
    below, above = _below(negative[None], score)[0], _below(positive[None], -score)[0]
    wins = positive * below + negative * above
    pairs = positive * (negative.sum() - negative) + negative * (positive.sum() - positive)
    total = pairs.sum() / 2  # each pair stands at both of its images
    area = wins.sum() / 2 / total
    influence = (wins - area * pairs) / total
    return float(area), float(np.sqrt((influence**2).sum()))


def bounds(logit: Array) -> dict[str, float]:
    """Return the best expected metrics that any classifier can reach, estimated on these images.

    `auroc` is the soft AUROC with its standard error, `accuracy` the Bayes accuracy, `nll` (nats) and `brier`
    the floors of negative log-likelihood and Brier score; their standard errors are those of a mean.
    """
    posterior = expit(logit)
    auroc, auroc_se = weighted_auroc(posterior, logit)
    means = {
        "accuracy": np.maximum(posterior, 1 - posterior),
        "nll": entr(posterior) + entr(expit(-logit)),
        "brier": posterior * expit(-logit),
    }
    result = {"auroc": auroc, "auroc_se": auroc_se}
    for name, values in means.items():
        result |= {name: float(values.mean()), f"{name}_se": float(values.std(ddof=1) / np.sqrt(len(values)))}
    return result


def format_bounds(best: dict[str, float]) -> str:
    """Format the result of `bounds` for a terminal: one metric per line, with its standard error."""
    names = {
        "auroc": "AUROC at most",
        "accuracy": "accuracy at most",
        "nll": "NLL at least",
        "brier": "Brier at least",
    }
    return "\n".join(
        f"  {text:<17} {best[name]:.4f}  (SE {best[f'{name}_se']:.4f})" for name, text in names.items()
    )


def detectability(auroc: Array) -> Array:
    """Return the detectability d_A = sqrt(2) Phi^-1(AUROC), by the binormal model."""
    return np.sqrt(2) * ndtri(auroc)


def against_ceiling(truth: Array, score: Array, logit: Array, seed: int) -> dict[str, Any]:
    """Compare a classifier with the ideal observer on the same images.

    `efficiency` is (d_A,model / d_A,ideal)^2 (Tanner & Birdsall 1958) with a sign: negative for a model below
    chance; the ideal observer's d_A is that of its soft AUROC. `excess` is the model's AUROC minus the ideal
    observer's, both on the observed labels. Intervals are 95 % percentile intervals of a paired bootstrap
    over images. `above_ceiling` is true if the whole interval of `excess` lies above 0, which shows a defect
    of the experiment.

    Args:
        truth: Observed label [N] in {0, 1}.
        score: The classifier's score [N].
        logit: The ideal observer's log-odds of the observed label [N].
        seed: Seed of the resamples.
    """
    truth, logit = np.asarray(truth, np.float64), np.asarray(logit, np.float64)
    posterior = expit(logit)
    model, _ = weighted_auroc(truth, score)
    ideal, _ = weighted_auroc(truth, logit)
    soft, _ = weighted_auroc(posterior, logit)
    models = np.concatenate([_resampled(weight, truth, score) for weight in _resamples(len(truth), seed)])
    ideals, softs = _ideal_areas(truth.tobytes(), logit.tobytes(), seed)
    efficiency = _efficiency(np.asarray(model), np.asarray(soft), len(truth))
    interval = _interval(_efficiency(models, softs, len(truth)))
    excess = _interval(models - ideals)
    return {
        "efficiency": float(efficiency),
        "efficiency_ci": interval,
        "excess": model - ideal,
        "excess_ci": excess,
        "above_ceiling": excess[0] > 0,
    }


def _efficiency(model: Array, ideal: Array, images: int) -> Array:
    """Return the signed squared ratio of detectabilities.

    An AUROC of 1 has no finite detectability: AUROCs are clipped to stay half a pair away from 0 and 1, for
    (images / 2)^2 pairs. The result is NaN if the ideal observer is not better than chance.
    """
    edge = 2 / images**2
    d_model, d_ideal = (detectability(np.clip(area, edge, 1 - edge)) for area in (model, ideal))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(d_ideal > 0, d_model / d_ideal, np.nan)
    return np.asarray(np.sign(ratio) * ratio**2)


def _interval(values: Array) -> list[float]:
    tail = (1 - LEVEL) / 2
    return [float(bound) for bound in np.nanquantile(values, (tail, 1 - tail))]


@lru_cache(maxsize=4)
def _ideal_areas(truth: bytes, logit: bytes, seed: int) -> tuple[Array, Array]:
    """Return the ideal observer's AUROC and soft AUROC in each resample, the same for all runs of a sweep."""
    label, score = np.frombuffer(truth), np.frombuffer(logit)
    weights = _resamples(len(label), seed)
    ideals, softs = zip(
        *((_resampled(w, label, score), _resampled(w, expit(score), score)) for w in weights), strict=True
    )
    return np.concatenate(ideals), np.concatenate(softs)


def _resamples(images: int, seed: int) -> list[Array]:
    """Return how often each image is drawn in each resample: arrays [r, N] with `RESAMPLES` rows in total."""
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // images)
    sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
    draws = (generator.integers(0, images, (size, images)) for size in sizes)
    return [
        np.stack([np.bincount(draw, minlength=images) for draw in part]).astype(np.float64) for part in draws
    ]


def _resampled(weight: Array, positive: Array, score: Array) -> Array:
    """Return the AUROC in each resample [R]; copies of one image are not compared with each other."""
    p, n = weight * positive, weight * (1 - positive)
    wins, pairs = (p * _below(n, score)).sum(1), (p * (n.sum(1, keepdims=True) - n)).sum(1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(pairs > 0, wins / pairs, 0.5))


def _below(weight: Array, score: Array) -> Array:
    """Return, for each image, the weight of the other images with lower scores [R, N]; ties count half."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right")
    running = np.zeros((len(weight), len(score) + 1))
    np.cumsum(weight[:, order], axis=1, out=running[:, 1:])
    below = np.empty_like(weight)
    below[:, order] = (running[:, first] + running[:, last]) / 2
    return below - weight / 2
