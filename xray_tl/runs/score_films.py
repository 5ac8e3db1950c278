"""Scoring of radiograph files with a finished run, read and normalised like its training images."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from xray_tl.config import TrainerConfig
from xray_tl.data.films.decode import LOOKS
from xray_tl.data.films.names import printable
from xray_tl.data.films.processes import mapping
from xray_tl.data.films.reading import MODES, Read, Reading, reading_of, try_reading
from xray_tl.data.splits import Targets
from xray_tl.models.fold import folded
from xray_tl.runs.finished import open_finished
from xray_tl.runs.parts import assemble_trained, forget_trunk
from xray_tl.training.device import autocast, choose_device, set_threads
from xray_tl.training.task import TransferTask

log = logging.getLogger(__name__)

UNLIKE = 4.0
"""An image is unusual if its mean or spread is more than this many SDs from the training images'."""
AHEAD = 4
"""Largest number of batches that are decoded before they are needed."""


@dataclass(frozen=True)
class Scorer:
    """A finished run, ready to score radiograph files.

    Attributes:
        task: Its network, with trained weights.
        reading: How it reads files.
        targets: What it predicts.
        thresholds: Its operating points, one per target.
        record: Its record.
        device: The device that it computes on.
        precision: The precision stated in its record, by Lightning's name.
    """

    task: TransferTask
    reading: Reading
    targets: Targets
    thresholds: list[float]
    record: dict[str, Any]
    device: torch.device
    precision: str

    @torch.inference_mode()
    def probability(self, image: np.ndarray[Any, np.dtype[np.float32]]) -> torch.Tensor:
        """Return probabilities [B, T] of images [B, S, S] in [0, 1]."""
        with autocast(self.precision, self.device):
            logits = self.task.classifier(torch.from_numpy(image)[:, None].to(self.device))
        return self.task.objective.probability(logits)


def open_scorer(run: Path, trainer: TrainerConfig) -> Scorer:
    """Load a finished run for scoring; its data are not needed.

    Raises:
        InputError: The folder holds no complete run, or its weights are not found.
    """
    finished = open_finished(run, "predict")
    settings, record = finished.settings(), finished.record
    set_threads(trainer)
    device = choose_device(trainer.accelerator)
    kind, *names = record["data"].get("targets") or ["binary", record["data"]["finding"]]
    targets = Targets(kind, tuple(names))
    task = assemble_trained(settings, targets, device, finished.source(settings))
    forget_trunk()  # this backbone may be folded below, so no run may use it again
    finished.restore(task)
    task.classifier.to(device).eval()
    if finished.precision == "32-true":  # in bf16 it is cut at its freeze boundary, by module names
        task.classifier.backbone.net = folded(task.classifier.backbone.net)
    reading = reading_of(settings.data)
    return Scorer(task, reading, targets, finished.thresholds, record, device, finished.precision)


def score(scorer: Scorer, paths: Sequence[Path], batch_size: int, workers: int | None) -> pd.DataFrame:
    """Score radiograph files; return one row per file and target.

    Columns: `path`, `target`, `probability`, `prediction` (1 at the run's threshold or above; multi-class:
    the most probable class), `unusual` (how the image is unlike the training images, or why it cannot be
    used).

    Args:
        scorer: A finished run.
        paths: Files.
        batch_size: Images per batch.
        workers: Number of processes that decode files; `None`: one per core.
    """
    rows: list[tuple[str, str, float, float, str]] = []
    bar = tqdm(total=len(paths), unit="image", disable=not sys.stderr.isatty())
    with bar:
        for names, reads in _batches([str(path) for path in paths], scorer.reading, batch_size, workers):
            usable = [read for read in reads if not isinstance(read, str)]
            scored = iter(
                scorer.probability(np.stack([read.image for read in usable])).numpy() if usable else ()
            )
            for name, read in zip(map(printable, names), reads, strict=True):
                if isinstance(read, str):
                    log.warning("%s cannot be used: %s", name, read)
                    rows += [
                        (name, target, np.nan, np.nan, f"cannot be used: {read}")
                        for target in scorer.targets.names
                    ]
                    continue
                probability = next(scored)
                unusual = _unusual(read, scorer.record)
                decided = _decide(probability, scorer)
                rows += [
                    (name, target, float(p), float(d), unusual)
                    for target, p, d in zip(scorer.targets.names, probability, decided, strict=True)
                ]
            bar.update(len(names))
    table = pd.DataFrame(rows, columns=["path", "target", "probability", "prediction", "unusual"])
    return table.astype({"prediction": "Int64"})


def _batches(
    paths: list[str], reading: Reading, size: int, workers: int | None
) -> Iterator[tuple[list[str], list[Read | str]]]:
    """Yield names and decoded images of batches; decode only a few batches ahead of their use."""
    waiting: deque[tuple[list[str], Iterator[Read | str]]] = deque()
    with mapping(len(paths), workers) as do:
        for start in range(0, len(paths), size):
            names = paths[start : start + size]
            waiting.append((names, do(try_reading, names, [reading] * len(names))))
            if len(waiting) > AHEAD:
                first, reads = waiting.popleft()
                yield first, list(reads)
        for names, reads in waiting:
            yield names, list(reads)


def _decide(probability: np.ndarray[Any, np.dtype[np.float64]], scorer: Scorer) -> np.ndarray[Any, Any]:
    if scorer.targets.kind == "multiclass":
        return np.arange(len(probability)) == probability.argmax()
    return probability >= np.asarray(scorer.thresholds)


def _unusual(read: Read, record: dict[str, Any]) -> str:
    """Describe how an image differs from the run's training images; empty if it does not."""
    said = [LOOKS[read.look]] if LOOKS[read.look] else []
    for name, value in (("mean", read.image.mean()), ("spread", read.image.std())):
        if "images" not in record:
            break
        center, sd = record["images"][name]
        z = (float(value) - center) / max(sd, 1e-6)
        if abs(z) > UNLIKE:
            said.append(f"intensity {name} {float(value):.3f}, {z:+.0f} SD from training")
    files = record.get("files")
    if files:
        if read.bits not in files["bits"]:
            said.append(f"{read.bits} bits, trained on {', '.join(map(str, files['bits']))}")
        if min(read.shape) < files["shortest_side"] / 2:
            said.append(
                f"{read.shape[1]} x {read.shape[0]} pixels, trained on {files['shortest_side']} and more"
            )
    if MODES[read.mode] == "colour" and "colour" not in (files or {}).get("modes", ()):
        said.append("in colour")
    return "; ".join(said)
