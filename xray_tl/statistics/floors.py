"""Floors: results that need no learned features, as a lower reference, as the ceiling is the upper one.

- `majority`: every image gets the training images' share of positives.
- `image_statistics`: logistic regression on an image's histogram and moments, which shuffling its pixels
  does not change.
- `pooled_pixels`: logistic regression on a thumbnail of 16 x 16 means, a linear template of the image.

A network that does not beat them has learned nothing that needs a network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit as log_odds
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xray_tl.statistics.metrics import auroc

Array = NDArray[np.float64]

FLOORS = ("majority", "image_statistics", "pooled_pixels")
VERSION = 2
"""Increase it whenever a change alters a floor's scores."""

BINS = 24
POOLED = 16
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the L2 penalty; the validation split decides which is used."""


def image_features(image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the features of the floors that use images: `image_statistics` and `pooled_pixels`.

    Args:
        image: Grey images [B, H, W] in [0, 1]; H and W multiples of 16.

    Returns:
        `image_statistics` [B, 28] and `pooled_pixels` [B, 256].
    """
    count, height, width = image.shape
    pixels = image.reshape(count, -1)
    cells = np.minimum((pixels * BINS).astype(np.int64), BINS - 1)
    histogram = np.stack([np.bincount(row, minlength=BINS) for row in cells]) / pixels.shape[1]
    mean, spread = pixels.mean(1, keepdims=True), pixels.std(1, keepdims=True)
    z = (pixels - mean) / np.maximum(spread, 1e-6)
    moments = [mean, spread, (z**3).mean(1, keepdims=True), (z**4).mean(1, keepdims=True)]
    blocks = image.reshape(count, POOLED, height // POOLED, POOLED, width // POOLED)
    return {
        "image_statistics": np.concatenate((histogram, *moments), axis=1, dtype=np.float32),
        "pooled_pixels": blocks.mean((2, 4)).reshape(count, -1),
    }


def majority(truth: Mapping[str, Array]) -> dict[str, Array]:
    """Score every image of a split [N, T] by the log-odds of a positive in the training split."""
    share = np.clip(np.nanmean(truth["train"], axis=0), 1e-6, 1 - 1e-6)
    return {split: np.broadcast_to(log_odds(share), values.shape).copy() for split, values in truth.items()}


def logistic_regression(
    features: Mapping[str, NDArray[np.float32]], truth: Mapping[str, Array]
) -> dict[str, Array]:
    """Fit a logistic regression of truth [N, T] on features [N, F] in training, and score all splits [N, T].

    Features are standardised. The penalty of each target is the one with the best validation AUROC; among
    equal ones, the strongest.
    """
    columns = [_fit_column(features, truth, column) for column in range(truth["train"].shape[1])]
    return {split: np.stack([column[split] for column in columns], axis=1) for split in truth}


def _fit_column(
    features: Mapping[str, NDArray[np.float32]], truth: Mapping[str, Array], column: int
) -> dict[str, Array]:
    known = np.isfinite(truth["train"][:, column])
    x, y = features["train"][known], truth["train"][known, column]
    if len(set(y)) < 2:  # one class only: there is nothing to learn
        return {split: np.zeros(len(rows)) for split, rows in features.items()}
    fits = [
        make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=5000)).fit(x, y)
        for penalty in PENALTIES
    ]
    scores = [{split: fit.decision_function(x) for split, x in features.items()} for fit in fits]
    val = truth["val"][:, [column]]
    if len(set(val[np.isfinite(val)])) < 2:  # no validation AUROC: use the strongest penalty
        return scores[0]
    return max(scores, key=lambda score: auroc(val, score["val"][:, None]))
