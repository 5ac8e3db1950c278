"""Ceiling of a run: the ideal observer's AUROC on its images, and the model's efficiency against it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.observers.ideal_scores import ideal_logit
from xray_tl.runs.predictions import Predictions
from xray_tl.statistics.bounds import Array, against_ceiling, bounds

log = logging.getLogger(__name__)

BOOTSTRAP_SEED = 0


def ideal_logits(data: XrayDataModule, splits: Mapping[str, Predictions]) -> dict[str, Array] | None:
    """Return the ideal observer's log-odds of the observed label, [N, 1] for each split.

    `None` for real radiographs: without a generative model the log-odds are unknown.
    """
    known: dict[str, Array] = {}
    for name in splits:
        source = data.sources[name]
        if not isinstance(source, SyntheticRadiographs):
            return None
        known[name] = ideal_logit(source, data.sizes[name])[:, None]
    return known


def describe_ceiling(test: Predictions, ideal: Mapping[str, Array] | None) -> dict[str, Any] | None:
    """Return the record's `ceiling`: bounds of the test images, and the model against the ideal observer.

    `None` if the ideal observer's scores are not known. A model above the ceiling is a defect of the
    experiment and is logged as an error.
    """
    if ideal is None:
        return None
    logit = ideal["test"][:, 0]
    against = against_ceiling(test.truth[:, 0], test.logit[:, 0], logit, BOOTSTRAP_SEED)
    if against["above_ceiling"]:
        low, high = against["excess_ci"]
        log.error(
            "the test AUROC lies above the best possible by %.3f [%.3f, %.3f]: a defect of the experiment "
            "(test images in training, or a clue that is not in the image model), not a success",
            against["excess"],
            low,
            high,
        )
    return bounds(logit) | against
