"""Choice of an arm's learning rates on validation images, before its runs; test images are not used."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from xray_tl.config import Settings
from xray_tl.errors import RunError
from xray_tl.runs.feature_cache import FeatureCache
from xray_tl.runs.parts import Parts, assemble
from xray_tl.runs.probe import start_head
from xray_tl.runs.random_trunk import settle_batchnorm
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember
from xray_tl.training.trainer import build_trainer, interruptible

log = logging.getLogger(__name__)

FIT = ("train", "val")

RATES = 2
"""Version of the search; raise it whenever a code change alters the result of a trial."""


@dataclass(frozen=True)
class Tuning:
    """The learning rates tried for an arm, their scores, and the chosen pair.

    Attributes:
        rates: Pairs of learning rates (backbone, head).
        seeds: Training seeds of the trials.
        val_auroc: Best validation AUROC of each pair and seed.
        chosen: The pair with the best mean; of equal ones the first.
    """

    rates: list[list[float]]
    seeds: list[int]
    val_auroc: list[list[float]]
    chosen: list[float]


def tuned(parts: Parts) -> tuple[Parts, Tuning | None]:
    """Choose a run's learning rates if it asks for that; return new parts with them, and the search.

    Raises:
        RunError: Training failed with every pair of rates.
    """
    settings = parts.settings
    tune = settings.tune
    if not tune.rates:
        return parts, None
    if settings.mode.is_solved:
        log.info("tune=%s has no rates to find: the head is solved, and nothing else trains", tune.name)
        return parts, None
    identity = _identity(parts)
    kept = remember("rates", identity, lambda: _try_all(settings))["val_auroc"]
    mean = np.where(np.isnan(kept), 0.0, kept).mean(axis=1)  # a diverged trial ranks below all others
    if np.isnan(kept).all():
        raise RunError(f"none of tune.rates={tune.rates} could be trained with: give lower ones")
    chosen = list(tune.rates[int(mean.argmax())])
    log.info(
        "rates of the backbone and the head: %s, by validation AUROC: %s",
        chosen,
        ", ".join(f"{pair}: {value:.3f}" for pair, value in zip(tune.rates, mean, strict=True)),
    )
    found = Tuning([list(pair) for pair in tune.rates], list(tune.seeds), kept.tolist(), chosen)
    return assemble(_with_rates(settings, chosen)), found


def _identity(parts: Parts) -> dict[str, Any]:
    """Return everything that the choice depends on: arm, training and validation images, weights."""
    settings = parts.settings
    arm = {name: asdict(getattr(settings, name)) for name in ("model", "mode", "augment", "optim", "tune")}
    for group, rate in (("mode", "head_lr"), ("optim", "lr")):
        del arm[group][rate]
    if settings.optim.sampling is None:  # keys are then the same as before this option existed
        del arm["optim"]["sampling"]
    return {
        "rates": RATES,
        "torch": torch.__version__,
        "arm": arm,
        "epochs": settings.trainer.max_epochs,
        "early_stopping": settings.trainer.early_stopping,
        "weights": parts.provenance.sha256,
        "normalise": parts.task.classifier.backbone.scale_and_shift(),
        "data": {split: [parts.data.sources[split].identity(), parts.data.sizes[split]] for split in FIT},
        "batch_size": settings.data.batch_size,
        "precision": parts.precision,
        "device": parts.device.type,
    }


def _try_all(settings: Settings) -> Arrays:
    values = [[_try(settings, pair, seed) for seed in settings.tune.seeds] for pair in settings.tune.rates]
    return {"val_auroc": np.array(values, dtype=np.float64)}


def _try(settings: Settings, pair: list[float], seed: int) -> float:
    """Train once and return the best validation AUROC of an epoch; NaN where training diverged."""
    log.info("trying rates %s (seed %d)", pair, seed)
    parts = assemble(replace(_with_rates(settings, pair), seed=seed), "fit")
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            settings.trainer, parts.device, parts.precision, Path(folder), None, [_KeepsNothing()]
        )
        settle_batchnorm(parts)
        features = FeatureCache(parts, FIT)
        features.enter(parts.task.classifier.backbone.trainable)
        parts.task.on_open = features.enter
        parts.data.setup("fit")
        start_head(parts)
        try:
            with interruptible(trainer):
                trainer.fit(parts.task, datamodule=parts.data)
        except RunError as error:
            log.info("rates %s: %s", pair, error)
            return float("nan")
    return max(epoch["val_auroc"] for epoch in parts.task.history)


class _KeepsNothing(Checkpoint):
    """Checkpoint callback that writes nothing; with it Lightning adds none of its own."""


def _with_rates(settings: Settings, pair: list[float]) -> Settings:
    backbone, head = pair
    return replace(
        settings, optim=replace(settings.optim, lr=backbone), mode=replace(settings.mode, head_lr=head)
    )
