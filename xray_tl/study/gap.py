"""Gaps of the AUROC between training, test and shifted images, and the width of its interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.statistics.covariance import AUROC, Metric
from xray_tl.statistics.estimates import LEVEL, Estimate, estimate, projected
from xray_tl.statistics.mrmc import Cells, cells
from xray_tl.statistics.readings import Readings
from xray_tl.store.records import EVALUATIONS, read_record
from xray_tl.study.arm_readings import laid_out
from xray_tl.study.saved_predictions import read_patients, read_predictions
from xray_tl.study.study_folder import Arm, Run


@dataclass(frozen=True)
class Width:
    """Expected width of the confidence interval of an arm's AUROC.

    Attributes:
        cases: Number of test images.
        half: Half the width.
    """

    cases: int
    half: float


def independent_difference(first: Cells, second: Cells, arm: str) -> Estimate:
    """Estimate an arm's metric on one set of cases minus that on another set without common cases.

    Each reader is compared with itself; the two samples of cases vary independently.

    Args:
        first: The metric on one set, such as the training images.
        second: The metric on another, such as the test images.
        arm: The treatment.

    Raises:
        InputError: The sets were not read by the same readers.
    """
    if first.readers != second.readers:
        raise InputError(f"{arm} has not the same seeds on both sets of images")
    a, b = first.readings.treatments.index(arm), second.readings.treatments.index(arm)
    used = np.flatnonzero(first.read[a] & second.read[b])
    if not len(used):
        raise InputError(f"{arm} has no seed on both sets of images")
    over_cases = (
        first.covariance[a][:, a][np.ix_(used, used)] + second.covariance[b][:, b][np.ix_(used, used)]
    )
    difference = first.value[a][used] - second.value[b][used]
    found = estimate(difference, over_cases, second.readings.cases)
    return replace(found, readerless=arm in first.readings.readerless & second.readings.readerless)


def overfitting(train: Readings, test: Readings, arm: str, metric: Metric = AUROC) -> Estimate:
    """Estimate an arm's metric on its training images minus that on its test images.

    Raises:
        InputError: The sets were not read by the same readers.
    """
    return independent_difference(cells(train, metric), cells(test, metric), arm)


def interval_width(arm: Estimate, cases: int) -> Width:
    """Return the expected width of an arm's interval with another number of test images."""
    return Width(cases, projected(arm, arm.readers, cases).half_width(LEVEL))


@dataclass(frozen=True)
class Shift:
    """Result of an arm on shifted images, compared with its own test images.

    Attributes:
        name: The evaluation's name.
        drop: AUROC on the shifted images minus that on the test images.
        ceiling: The best possible AUROC on the shifted images; NaN if not known.
    """

    name: str
    drop: Estimate
    ceiling: float


def shifts_of(folder: Path, arm: Arm, problems: list[str]) -> tuple[Shift, ...]:
    """Compare each evaluation of an arm's seeds on other images with the result on their own test images.

    If the labels are the same, both sets are assumed to show the same patients, and are paired.

    Args:
        folder: The sweep's folder.
        arm: The arm.
        problems: List to which evaluations that cannot be read are added.
    """
    found: dict[str, list[Tested]] = {}
    for run in arm.runs:
        for place in sorted((folder / str(run.row["run_dir"])).glob(f"{EVALUATIONS}/*/")):
            try:
                tested = Tested(run, read_predictions(place), read_record(place) or {}, read_patients(place))
            except InputError as error:
                problems.append(f"left out: {arm.label}: {error}")
            else:
                found.setdefault(place.name, []).append(tested)
    shifts = []
    for name, entries in found.items():
        try:
            shifts.append(_shift(arm, name, entries))
        except InputError as error:
            problems.append(f"left out: {arm.label} on {name}: {error}")
    return tuple(shifts)


class Tested(NamedTuple):
    """A run tested on other images: the run, its scores, the record of that test, the images' patients."""

    run: Run
    scores: pd.DataFrame
    record: dict[str, Any]
    patients: dict[str, str]


def _shift(arm: Arm, name: str, entries: list[Tested]) -> Shift:
    own = laid_out([replace(arm, runs=tuple(entry.run for entry in entries))])
    shifted = [
        replace(
            entry.run,
            scores=entry.scores[entry.scores["target"].isin(arm.targets)],
            patients=entry.patients,
        )
        for entry in entries
    ]
    if not all(set(run.scores["target"]) == set(arm.targets) for run in shifted):
        raise InputError(f"these images do not have all of {', '.join(arm.targets)}")
    other = laid_out([replace(arm, runs=tuple(shifted))])
    ceiling = (entries[0].record.get("ceiling") or {}).get("auroc")
    keys = own.columns.difference(["rating"])
    if set(other) == set(own) and other[keys].equals(own[keys]):
        both = pd.concat([other.assign(treatment="shifted"), own.assign(treatment="own")])
        drop = cells(Readings.of_table(both)).contrast({"shifted": 1, "own": -1})
    else:
        first, second = (cells(Readings.of_table(rows)) for rows in (other, own))
        drop = independent_difference(first, second, arm.label)
    return Shift(name, drop, float("nan") if ceiling is None else float(ceiling))
