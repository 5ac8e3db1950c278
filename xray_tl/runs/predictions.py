"""Predictions of a trained run: arrays, their table, and their metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.splits import Targets
from xray_tl.statistics.metrics import choose_thresholds, summarise
from xray_tl.store.files import atomic_path
from xray_tl.training.task import TransferTask

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Scores of one split: case [N], truth, logit and probability [N, T].

    `features` are those of the tested network before standardisation [N, D], where they were asked for.
    """

    case: NDArray[np.int64]
    truth: Array
    logit: Array
    probability: Array
    features: NDArray[np.float32] | None = None


def predict(
    trainer: Trainer, task: TransferTask, data: XrayDataModule, split: str, featured: Collection[str] = ()
) -> Predictions:
    """Score a split without augmentation, in order of index; keep its features if it is `featured`."""
    seen: list[Tensor] = []

    def keep(standardiser: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(inputs[0].detach().cpu())

    watched = task.classifier.standardiser.register_forward_pre_hook(keep) if split in featured else None
    batches = trainer.predict(task, dataloaders=data.ordered_dataloader(split))
    assert batches is not None
    case, truth, logit = (torch.cat(parts) for parts in zip(*batches, strict=True))
    probability = task.objective.probability(logit)
    features = None
    if watched is not None:
        watched.remove()
        features = torch.cat(seen).numpy()
    return Predictions(
        case.numpy(), truth.double().numpy(), logit.double().numpy(), probability.numpy(), features
    )


def table(
    splits: Mapping[str, Predictions], data: XrayDataModule, ideal: Mapping[str, Array] | None = None
) -> pd.DataFrame:
    """Return predictions as a table: one row per image and target whose truth is known.

    Args:
        splits: Scores by split.
        data: Gives the names of targets and images.
        ideal: The ideal observer's log-odds [N, T] by split, where it is known.
    """
    parts = []
    for name, split in splits.items():
        rows = _rows(name, split, data)
        parts.append(rows if ideal is None else rows.assign(ideal_logit=ideal[name].ravel()))
    known = pd.concat(parts, ignore_index=True).dropna(subset="truth")
    return known.astype({"truth": int})


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write `predictions.csv`; 17 digits keep every bit of a score."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, float_format="%.17g")


def metrics(splits: Mapping[str, Predictions], targets: Targets, thresholds: list[float]) -> dict[str, Any]:
    """Compute the metrics of every split at the operating points chosen on validation."""
    return {
        name: summarise(
            split.truth, split.logit, split.probability, thresholds, multiclass=targets.kind == "multiclass"
        )
        for name, split in splits.items()
    }


def thresholds_on(validation: Predictions) -> list[float]:
    """Choose the operating points on the validation split."""
    return choose_thresholds(validation.truth, validation.probability)


def _rows(name: str, split: Predictions, data: XrayDataModule) -> pd.DataFrame:
    images, columns = split.truth.shape
    called = data.sources[name].names
    case = split.case if called is None else np.array(called)[split.case]
    return pd.DataFrame(
        {
            "split": name,
            "case": case.repeat(columns),
            "target": np.tile(np.asarray(data.targets.names), images),
            "truth": split.truth.ravel(),
            "logit": split.logit.ravel(),
            "probability": split.probability.ravel(),
        }
    )
