"""Figures of test predictions for TensorBoard: per single run, or per arm of a sweep; no torch."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from xray_tl.report.curves import draw_confusion, draw_reliability, draw_roc
from xray_tl.statistics.metrics import auroc
from xray_tl.store.files import atomic_path
from xray_tl.study.draws import Draw
from xray_tl.study.saved_predictions import read_predictions, split_of
from xray_tl.study.study_folder import Arm, Run

FOLDER = "tensorboard"
EVENTS = "events.out.tfevents.figures"
"""File name that sorts after those of training, which continue with a time: TensorBoard reads it last."""


def write_run(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write ROC, reliability and confusion of a run's test images, one curve or matrix per target.

    Args:
        folder: The run's folder.
        record: Its record.

    Raises:
        InputError: Its predictions cannot be read.
    """
    scores = read_predictions(folder)
    run = Arm("", "", (Run(pd.Series(), dict(record), scores, Draw(None, 0, None)),))
    both = scores[scores["split"] == "test"].groupby("target")["truth"].nunique() == 2
    shown = [run.only(target, target) for target in run.targets if both.get(target, False)]
    return _write(folder / FOLDER, _draw(shown), len(record["history"]))


def write_arms(folder: Path, arms: Iterable[Arm]) -> None:
    """Write ROC, reliability and confusion of each arm whose runs used TensorBoard, all seeds together.

    Args:
        folder: The sweep's folder.
        arms: Its arms.
    """
    for old in (folder / FOLDER).glob(f"*/{EVENTS}"):
        old.unlink()
    for arm in arms:
        if any((folder / str(run.row["run_dir"]) / FOLDER).is_dir() for run in arm.runs):
            name = re.sub(r"[^\w.=-]+", "-", arm.label)
            shown = [arm.only(target, target) for target in arm.targets] if len(arm.targets) > 1 else [arm]
            _write(folder / FOLDER / name, _draw(shown), len(arm.runs[0].record["history"]))


def _draw(shown: list[Arm]) -> dict[str, Figure]:
    figures = {"test/roc": draw_roc([_with_area(arm) for arm in shown])}
    figures["test/reliability"] = draw_reliability(shown)
    for arm in shown:
        rows = [(split_of(run.scores, "test"), run.threshold()) for run in arm.runs]
        counts = sum(
            confusion_matrix(test["truth"], test["probability"] >= threshold, labels=[0, 1])
            for test, threshold in rows
        )
        target = rows[0][0]["target"].iloc[0]
        figures[f"test/confusion/{target}"] = draw_confusion(np.asarray(counts), str(target))
    return figures


def _with_area(arm: Arm) -> Arm:
    tests = [split_of(run.scores, "test") for run in arm.runs]
    areas = [auroc(test[["truth"]].to_numpy(float), test[["logit"]].to_numpy(float)) for test in tests]
    return replace(arm, label=f"{arm.label}: AUROC {np.mean(areas):.3f}")


def _write(folder: Path, figures: Mapping[str, Figure], step: int) -> Path:
    """Write figures as one TensorBoard event file."""
    with atomic_path(folder / EVENTS) as partial, partial.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        for tag, figure in figures.items():
            summary = Summary(value=[Summary.Value(tag=tag, image=_image(figure))])
            event = Event(wall_time=time.time(), step=step, summary=summary)
            writer.write(event.SerializeToString())
    return folder / EVENTS


def _image(figure: Figure) -> Any:  # noqa: ANN401  (a protobuf message, which has no type)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    width, height = Image.open(stream).size
    return Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=stream.getvalue())
