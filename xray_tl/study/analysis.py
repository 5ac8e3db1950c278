"""Computation of all results in a report: estimates of arms, differences, interactions and gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.statistics.bootstrap import NO_DRAW, TwoWayBootstrap
from xray_tl.statistics.comparison import Comparison, compare
from xray_tl.statistics.covariance import AUROC, ECE
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.mrmc import Cells, cells
from xray_tl.statistics.readings import NO_READER, Readings
from xray_tl.statistics.verdict import MARGIN
from xray_tl.statistics.wording import Terms
from xray_tl.study.arm_readings import readings
from xray_tl.study.cautions import cautions
from xray_tl.study.climbed import Ladder, ladder_of, with_rungs
from xray_tl.study.contrasts import MEASURES, check_gap
from xray_tl.study.gap import Shift, overfitting, shifts_of
from xray_tl.study.questions import Late, questions
from xray_tl.study.run_table import ARM
from xray_tl.study.study_folder import Arm, Study

ECE_RESAMPLES = 300
N_TRAIN = "data.n_train"


@dataclass(frozen=True)
class Interaction:
    """Interaction of backbone and freeze policy: whether freezing costs one backbone more than another.

    Attributes:
        first: One backbone.
        second: The other.
        weights: Initial weights of all four arms.
        modes: The two freeze policies.
        estimate: (first in mode 1 - first in mode 2) - (the same for the second).
        contrast: Factor of each arm, by label.
    """

    first: str
    second: str
    weights: str
    modes: tuple[str, str]
    estimate: Estimate
    contrast: Mapping[str, float]


@dataclass(frozen=True)
class StudyAnalysis:
    """Result of the analysis of a sweep.

    Attributes:
        study: The study.
        arms: Arms that were tested on the main test set, best first.
        comparison: Estimates and verdicts of AUROC.
        measures: One row per arm and metric: value, lower, upper.
        interactions: Interactions of backbone and freeze policy.
        overfitting: AUROC on training images minus that on test images, by arm.
        shifts: AUROC on shifted images minus that on the test images, by arm.
        by_target: AUROC of each target, one row per arm and target: value, lower, upper; empty if there is
            one target.
        learning: Learning curves: arms that differ only in `data.n_train`, (images, estimate), fewest first.
        gains: AUROC of the last arm of each learning curve minus that of its first.
        late: Declared contrasts that were not planned before their runs, with estimates and without verdicts.
        ladder: The rungs at which differences are judged; `None`: they are judged once, with all seeds.
        problems: What is missing, and why.
    """

    study: Study
    arms: tuple[Arm, ...]
    comparison: Comparison
    measures: pd.DataFrame
    interactions: tuple[Interaction, ...]
    overfitting: Mapping[str, Estimate]
    shifts: Mapping[str, tuple[Shift, ...]]
    by_target: pd.DataFrame
    learning: Mapping[str, tuple[tuple[int, Estimate], ...]]
    gains: Mapping[str, Estimate]
    late: tuple[Late, ...]
    ladder: Ladder | None
    problems: tuple[str, ...]

    @property
    def terms(self) -> Terms:
        """Return the words for a reader and a case."""
        return Terms(reader=self.study.varied.reader, case="image")

    @property
    def judged_terms(self) -> Terms:
        """Return these words for differences, whose intervals hold at every look where there are rungs."""
        return replace(self.terms, repeated=self.ladder is not None)

    @property
    def ceiling(self) -> float:
        """Return the best possible AUROC of the test images; NaN where it is not known."""
        return self.arms[0].mean("ceiling_auroc")


def analyse(folder: Path, margin: float = MARGIN) -> StudyAnalysis:
    """Analyse a sweep's folder: those arms that were tested on its most common test set.

    Raises:
        InputError: There is no run record, or no run that can be analysed.
    """
    study = Study.load(folder)
    if not study.arms:
        why = "; ".join(study.problems)
        raise InputError(f"{folder} has no run that can be analysed: {why}")
    main, *others = study.test_sets
    arms = study.on(main)
    problems = list(study.problems)
    if others:
        left = ", ".join(arm.label for arm in study.arms if arm.test_set != main)
        problems.append(f"not compared, since tested on other images: {left}")
    test = readings(arms)
    asked = questions(folder, arms)
    comparison = compare(test, AUROC, margin=margin, families=asked.planned)
    ladder, remarks = ladder_of(study, arms)
    if ladder is not None:
        comparison = with_rungs(folder, arms, comparison, asked.planned, ladder)
    problems += [
        *asked.remarks,
        *remarks,
        *cautions(arms, comparison, study.varied, in_rungs=ladder is not None),
    ]
    return StudyAnalysis(
        study,
        tuple(arms),
        comparison,
        _measures(arms, comparison, problems),
        tuple(_interactions(arms, comparison.computed, problems)),
        _overfitting(arms, test, problems),
        {arm.label: found for arm in arms if (found := shifts_of(folder, arm, problems))},
        _by_target(arms),
        *_learning(arms, comparison, problems),
        tuple(late.estimated(comparison.computed) for late in asked.late),
        ladder,
        tuple(dict.fromkeys(problems)),
    )


def _measures(arms: list[Arm], comparison: Comparison, problems: list[str]) -> pd.DataFrame:
    rows = [
        (label, "auroc", estimate.value, estimate.lower, estimate.upper)
        for label, estimate in comparison.analysis.arms.items()
    ]
    for name, column, metric in MEASURES:
        computed = cells(readings(arms, column=column), metric)
        for arm in arms:
            found = computed.contrast({arm.label: 1})
            rows.append((arm.label, name, found.value, found.lower, found.upper))
    resampled = TwoWayBootstrap(readings(arms, column="probability"), ECE, seed=0, resamples=ECE_RESAMPLES)
    if not resampled.possible:
        problems.append(f"the calibration error has no interval. {NO_DRAW}")
    for arm in arms:
        rows.append((arm.label, "ece", *resampled.contrast({arm.label: 1})))
    return pd.DataFrame(rows, columns=["arm", "metric", "value", "lower", "upper"])


def _by_target(arms: list[Arm]) -> pd.DataFrame:
    rows = []
    for target in arms[0].targets if len(arms[0].targets) > 1 else []:
        computed = cells(readings([arm.only(target) for arm in arms]))
        for arm in arms:
            found = computed.contrast({arm.label: 1})
            rows.append((arm.label, target, found.value, found.lower, found.upper, found.few_readers))
    columns = ["arm", "target", "value", "lower", "upper", "few_seeds"]
    return pd.DataFrame(rows, columns=columns)


def _interactions(arms: list[Arm], computed: Cells, problems: list[str]) -> list[Interaction]:
    """Estimate the interaction of every two backbones that share two modes and weights, without options."""
    places = [tuple(arm.name[key] for key in ARM) for arm in arms if not arm.options]
    plain = [arm for arm in arms if not arm.options and places.count(tuple(arm.name.values())) == 1]
    by_place = {tuple(arm.name[key] for key in ARM): arm.label for arm in plain}
    found = []
    models = sorted({place[0] for place in by_place})
    modes = sorted({place[1] for place in by_place})
    for weights in sorted({place[2] for place in by_place}):
        for first, second in combinations(models, 2):
            for pair in combinations(modes, 2):
                places = [(model, mode, weights) for model in (first, second) for mode in pair]
                if all(place in by_place for place in places):
                    labels = [by_place[place] for place in places]
                    contrast = dict(zip(labels, (1.0, -1.0, -1.0, 1.0), strict=True))
                    try:
                        estimate = computed.contrast(contrast)
                    except InputError as error:
                        problems.append(f"no interaction of {first} and {second}: {error}")
                    else:
                        found.append(Interaction(first, second, weights, pair, estimate, contrast))
    return found


def _overfitting(arms: list[Arm], test: Readings, problems: list[str]) -> dict[str, Estimate]:
    result = {}
    for arm in arms:
        try:
            check_gap(arm)
        except InputError as error:
            problems.append(str(error))
            continue
        try:
            result[arm.label] = overfitting(readings([arm], "train"), _only(test, arm.label), arm.label)
        except InputError as error:
            problems.append(f"{arm.label}: no gap between training and test images: {error}")
    return result


def _only(study: Readings, label: str) -> Readings:
    """Return the scores of one treatment, with only the readers who used it, or without any."""
    row = study.treatments.index(label)
    alone = study.readerless & {label}
    used = np.flatnonzero(study.read[row])[: 1 if alone else None]
    names = (NO_READER,) if alone else tuple(study.readers[reader] for reader in used)
    group = None if alone or study.group is None else tuple(study.group[reader] for reader in used)
    rating = study.rating[[row]][:, used]
    return replace(study, treatments=(label,), readers=names, rating=rating, readerless=alone, group=group)


def _learning(
    arms: list[Arm], comparison: Comparison, problems: list[str]
) -> tuple[dict[str, tuple[tuple[int, Estimate], ...]], dict[str, Estimate]]:
    """Return learning curves of arms that differ only in the number of training images, and their gains."""
    series: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for arm in arms:
        if N_TRAIN in arm.settings:
            others = {key: value for key, value in arm.options.items() if key != N_TRAIN}
            base = " ".join([*arm.name.values(), *(f"{key}={value}" for key, value in others.items())])
            row = arm.runs[0].row
            count = arm.settings[N_TRAIN] or arm.runs[0].record["sizes"]["train"]  # null: all
            key = (base, str(row.get("published_sha256")), str(row.get("precision")))
            series.setdefault(key, []).append((int(count), arm.label))
    curves = {key: sorted(found) for key, found in series.items() if len(dict(found)) > 1}
    bases = [base for base, *_ in curves]
    learning, gains = {}, {}
    for (base, sha256, _), found in curves.items():
        name = base if bases.count(base) == 1 else f"{base} ({sha256[:8]})"
        learning[name] = tuple((count, comparison.analysis.arms[label]) for count, label in found)
        try:
            gains[name] = comparison.computed.contrast({found[-1][1]: 1, found[0][1]: -1})
        except InputError as error:
            problems.append(f"no gain from more training images of {name}: {error}")
    return learning, gains
