"""Estimates of declared contrasts: of any metric, on the test images, shifted ones, or between two sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xray_tl.config.planned import TEST, TRAIN, Declared
from xray_tl.errors import InputError
from xray_tl.statistics.covariance import (
    ACCURACY,
    AUROC,
    BRIER,
    NLL,
    SENSITIVITY,
    SPECIFICITY,
    Metric,
)
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.readings import Readings
from xray_tl.store.run_folder import shifted
from xray_tl.study.arm_readings import laid_out
from xray_tl.study.gap import Tested, between_sets, independent_difference, on_other_images
from xray_tl.study.saved_predictions import read_patients, read_predictions, with_right
from xray_tl.study.study_folder import Arm, Run

MEASURES: tuple[tuple[str, str, Metric], ...] = (
    ("accuracy", "half", ACCURACY),
    ("accuracy_at_threshold", "decision", ACCURACY),
    ("sensitivity", "decision", SENSITIVITY),
    ("specificity", "decision", SPECIFICITY),
    ("brier", "probability", BRIER),
    ("nll", "probability", NLL),
)
"""Name, column of `readings` that it is computed from, and metric; AUROC and ECE are computed separately."""
OF_NAME = {name: (column, metric) for name, column, metric in (("auroc", "logit", AUROC), *MEASURES)}
"""Metrics that a contrast may be of: name -> column and metric."""


def estimated_contrast(
    folder: Path, asked: Declared, weights: Mapping[str, float], arms: Sequence[Arm]
) -> Estimate:
    """Estimate a declared contrast.

    Args:
        folder: The sweep's folder.
        asked: The contrast.
        weights: Factor of each arm, by label.
        arms: Its arms, with the same test images.

    Raises:
        InputError: An arm was not tested on these images, or their gap has no error; no seed is in all arms.
    """
    column, metric = OF_NAME[asked.metric]
    first, *others = asked.on
    shown = _shown(folder, arms, first)
    rows = laid_out(shown, TRAIN if first == TRAIN else TEST, column)
    if not others:
        return cells(Readings.of_table(rows), metric).contrast(weights)
    own = laid_out([_same_runs(arm, other) for arm, other in zip(arms, shown, strict=True)], TEST, column)
    if first != TRAIN:
        return between_sets(rows, own, weights, metric)
    one, other = (cells(Readings.of_table(part), metric) for part in (rows, own))
    return independent_difference(one, other, weights)


def _shown(folder: Path, arms: Sequence[Arm], place: str) -> list[Arm]:
    """Return arms with their scores on a set of images."""
    if place in (TEST, TRAIN):
        for arm in arms if place == TRAIN else []:
            check_gap(arm)
        return list(arms)
    return [_on_shift(folder, arm, place) for arm in arms]


def _same_runs(arm: Arm, other: Arm) -> Arm:
    """Return an arm with the runs that another has."""
    names = {run.row["run_dir"] for run in other.runs}
    return replace(arm, runs=tuple(run for run in arm.runs if run.row["run_dir"] in names))


def check_gap(arm: Arm) -> None:
    """Refuse the gap between training and test images of an arm where it has no error that can be computed.

    Raises:
        InputError: Folds train on each other's test images, or training sets differ by seed.
    """
    if arm.folds > 1:
        raise InputError("the folds train on each other's test images, so the gap is not analysed")
    if arm.varies_training_sets:
        raise InputError(f"{arm.label}: its training sets differ by seed, so their gap is not analysed")


def _on_shift(folder: Path, arm: Arm, shift: str) -> Arm:
    """Return an arm with its scores on a named shift: of those of its runs that were tested on it."""
    found = []
    for run in arm.runs:
        place = shifted(folder / str(run.row["run_dir"]), shift)
        if place.is_dir():
            found.append(Tested(run, _scores(place, run), {}, read_patients(place)))
    if not found:
        raise InputError(f"{arm.label} was not tested on {shift}")
    return on_other_images(arm, found)


def _scores(place: Path, run: Run) -> pd.DataFrame:
    scores = read_predictions(place)
    return with_right(scores) if "right" in run.scores else scores
