"""What a run's images allow at best, and how far its model is from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from xray_tl.data.datamodule import XrayDataModule
from xray_tl.evaluation.ceiling import Array, against_ceiling, bounds
from xray_tl.observers.scores import ideal_logit
from xray_tl.training.predictions import Predictions

log = logging.getLogger(__name__)

BOOTSTRAP_SEED = 0


def ideal_logits(data: XrayDataModule, splits: Mapping[str, Predictions]) -> dict[str, Array]:
    """Return the ideal observer's log-odds of the observed label [N, 1], a split."""
    return {name: ideal_logit(data.sources[name], data.sizes[name])[:, None] for name in splits}


def describe_ceiling(test: Predictions, ideal: Array) -> dict[str, Any]:
    """Return the record's `ceiling`: bounds of the test images, and the model against the ideal observer.

    A model above the ceiling is a defect of the experiment and logged as one.
    """
    logit = ideal[:, 0]
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
