"""Gaps of the AUROC between training, test and shifted images, and the width of its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def independent_difference(first: Cells, second: Cells, weights: Mapping[str, float]) -> Estimate:
    """Estimate a contrast of arms on one set of cases minus that on another set without common cases.

    Each reader is compared with itself; the two samples of cases vary independently.

    Args:
        first: The metric on one set, such as the training images.
        second: The metric on another, such as the test images.
        weights: Treatment -> factor; of one arm {arm: 1}.

    Raises:
        InputError: The sets were not read by the same readers.
    """
    arms = " and ".join(weights)
    if first.readers != second.readers:
        raise InputError(f"{arms} has not the same seeds on both sets of images")
    factor = np.array(list(weights.values()), dtype=np.float64)
    rows = [np.array([side.readings.treatments.index(name) for name in weights]) for side in (first, second)]
    alone = (first.readings.readerless & second.readings.readerless).issuperset(weights)
    used = np.flatnonzero(first.read[rows[0]].all(0) & second.read[rows[1]].all(0))
    used = used[: 1 if alone else None]
    if not len(used):
        raise InputError(f"{arms} has no seed on both sets of images")
    value, over_cases = [], []
    for side, own in zip((first, second), rows, strict=True):
        value.append(factor @ side.value[np.ix_(own, used)])
        block = side.covariance[np.ix_(own, used, own, used)]
        over_cases.append(np.einsum("i,irjs,j->rs", factor, block, factor))
    found = estimate(value[0] - value[1], over_cases[0] + over_cases[1], second.readings.cases)
    bounds = first.metric.bounds(np.concatenate((factor, -factor)))
    return replace(found.within(*bounds), readerless=alone)


def between_sets(
    first: pd.DataFrame, second: pd.DataFrame, weights: Mapping[str, float], metric: Metric = AUROC
) -> Estimate:
    """Estimate a contrast of arms on one set of images minus that on another, from long tables of scores.

    If cases and labels are the same, both sets are assumed to show the same patients, and are paired.

    Raises:
        InputError: The sets were not read by the same readers.
    """
    keys = first.columns.difference(["rating"])
    if set(first) == set(second) and first[keys].equals(second[keys]):
        sides = {"first": first, "second": second}
        both = [rows.assign(treatment=f"{side} " + rows["treatment"]) for side, rows in sides.items()]
        signed = {f"first {name}": factor for name, factor in weights.items()}
        signed |= {f"second {name}": -factor for name, factor in weights.items()}
        return cells(Readings.of_table(pd.concat(both)), metric).contrast(signed)
    one, other = (cells(Readings.of_table(rows), metric) for rows in (first, second))
    return independent_difference(one, other, weights)


def overfitting(train: Readings, test: Readings, arm: str, metric: Metric = AUROC) -> Estimate:
    """Estimate an arm's metric on its training images minus that on its test images.

    Raises:
        InputError: The sets were not read by the same readers.
    """
    return independent_difference(cells(train, metric), cells(test, metric), {arm: 1})


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


def on_other_images(arm: Arm, entries: Sequence[Tested]) -> Arm:
    """Return an arm with the scores that its runs gave other images.

    Raises:
        InputError: These images do not have all of its targets.
    """
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
    return replace(arm, runs=tuple(shifted))


def _shift(arm: Arm, name: str, entries: list[Tested]) -> Shift:
    own = laid_out([replace(arm, runs=tuple(entry.run for entry in entries))])
    other = laid_out([on_other_images(arm, entries)])
    ceiling = (entries[0].record.get("ceiling") or {}).get("auroc")
    drop = between_sets(other, own, {arm.label: 1})
    return Shift(name, drop, float("nan") if ceiling is None else float(ceiling))
