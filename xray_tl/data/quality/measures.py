"""Measurements for the audit: near copies, and how well the acquisition alone predicts the labels."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xray_tl.data.films.listing import COVARIATE
from xray_tl.data.films.radiographs import Collection
from xray_tl.data.films.reading import MODES
from xray_tl.data.quality.near_copies import LARGEST, near_pairs, thumbnails
from xray_tl.statistics.bounds import weighted_auroc
from xray_tl.statistics.floors import image_features
from xray_tl.store.array_file import Arrays

log = logging.getLogger(__name__)

AUDIT = 4
"""Version of the measurements: increase it whenever a change alters a value."""
FOLDS = 5
MOST_VALUES = 20
"""Largest number of values of a covariate that are distinguished."""
_AT_ONCE = 256


def measure(collection: Collection) -> Arrays:
    """Measure near copies, and how well properties of the acquisition alone predict each label."""
    log.info("audit: %d images", len(collection.split))
    films, truth = collection.films, collection.listing.truth
    prints, statistics = _look(collection)
    near, distance = near_pairs(prints[:LARGEST], films.pixels[:LARGEST], np.array(collection.split))
    acquisition = np.concatenate(
        [
            np.log(films.shape),
            np.log(films.shape[:, :1] / films.shape[:, 1:]),
            films.bits[:, None],
            np.eye(len(MODES))[films.mode],
        ],
        axis=1,
    )
    sources = [acquisition, statistics, *_covariates(collection.listing.table)]
    areas = [
        _area(features, truth[:, column], collection.groups)
        for features in sources
        for column in range(truth.shape[1])
    ]
    return {
        "near": near,
        "distance": distance,
        "area": np.array(areas, dtype=np.float64).reshape(len(sources), truth.shape[1], 2),
    }


def _look(collection: Collection) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return thumbnail and image statistics of every image, read a few at a time.

    The thumbnail of a padded image does not include its black borders.
    """
    prints, statistics = [], []
    for start in range(0, len(collection.split), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(collection.split)))
        image = collection.images(rows)
        prints.append(
            thumbnails(image, collection.films.shape[rows] if collection.reading.fit == "pad" else None)
        )
        statistics.append(image_features(image)["image_statistics"])
    return np.concatenate(prints), np.concatenate(statistics)


def _covariates(table: pd.DataFrame) -> list[NDArray[np.float64]]:
    """Return covariates as numbers [N, F]: numeric ones unchanged, others as indicators of common values.

    Whether a covariate is missing is a column of its own. The list is empty if there are no covariates.
    """
    columns = []
    for name in map(str, table):
        if not name.startswith(COVARIATE):
            continue
        text = table[name].fillna("").astype(str)
        number, there = pd.to_numeric(text, errors="coerce"), text != ""
        columns.append((~there).astype(float))
        if number[there].notna().all() and there.any():
            columns.append(number.fillna(number.mean()))
        else:
            common = text[there].value_counts().index[:MOST_VALUES]
            columns += [(text == value).astype(float) for value in common]
    return [np.stack(columns, axis=1)] if columns else []


def _area(
    features: NDArray[Any], truth: NDArray[np.float32], groups: NDArray[np.int64]
) -> tuple[float, float]:
    """Return AUROC and standard error of a logistic regression, cross-validated over patients."""
    known = np.isfinite(truth)
    label, group = truth[known].astype(int), groups[known]
    folds = min(FOLDS, *(len(set(group[label == kind])) for kind in (0, 1)))
    if folds < 2 or not features[known].std(0).any():
        return 0.5, 0.0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    try:
        score = cross_val_predict(
            model, features[known], label, groups=group, cv=split, method="decision_function"
        )
    except ValueError:  # few patients with very different numbers of images may leave a fold without a class
        return 0.5, 0.0
    return weighted_auroc(label.astype(np.float64), score)
