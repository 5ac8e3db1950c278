"""A sweep's folder as a study: its arms, their seeds, and their scores on the same test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.statistics.covariance import auroc
from xray_tl.statistics.readings import NO_READER
from xray_tl.store.records import read_record
from xray_tl.study.arm_names import differing, options_of, short_name
from xray_tl.study.comparable_runs import one_of_each, with_all_folds
from xray_tl.study.run_table import APART, ARM, PROBLEMS, collect
from xray_tl.study.saved_predictions import read_patients, read_predictions, split_of, with_right

if TYPE_CHECKING:
    from xray_tl.study.comparable_runs import Keyed

LEAST_CASES = 2
"""Smallest number of test images (or patients) of each class per target, for an AUROC and its error."""


def atlas_path(folder: Path, test_set: str) -> Path:
    """Return the path, in a sweep's folder, of the picture with small images of a test set."""
    return folder / f"test-images-{test_set[:12]}.png"


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        row: Its row in the table of runs.
        record: Its record.
        scores: Its predictions.
        reader: Its name as a reader.
        patients: Patient of each case, if known.
    """

    row: pd.Series
    record: dict[str, Any]
    scores: pd.DataFrame
    reader: str
    patients: Mapping[str, str] = field(default_factory=dict)

    @property
    def fold(self) -> int | None:
        """Return the index of its test fold; `None` without cross-validation."""
        return (self.record.get("data") or {}).get("fold")

    @property
    def thresholds(self) -> dict[str, float]:
        """Return the threshold of each target, chosen on the validation images."""
        stated = (self.record.get("data") or {}).get("targets") or ["binary", self.scores["target"].iloc[0]]
        return dict(zip(stated[1:], map(float, np.atleast_1d(self.record["threshold"])), strict=True))

    def threshold(self) -> float:
        """Return the threshold of its only target."""
        return self.thresholds[str(self.scores["target"].iloc[0])]


@dataclass(frozen=True)
class Arm:
    """An arm (treatment): runs that differ only in their seeds and folds.

    Attributes:
        label: Its name, unique in the study.
        test_set: Identifier of its test images.
        runs: Its runs, by seed and fold.
        options: The options that distinguish it from most arms with the same backbone, mode and weights.
        settings: All its options that may distinguish arms, `group.option` -> value.
    """

    label: str
    test_set: str
    runs: tuple[Run, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> dict[str, str]:
        """Return the names of its backbone, mode and weights."""
        return {key: str(self.runs[0].row[key]) for key in ARM}

    @property
    def targets(self) -> list[str]:
        """Return the names of the targets that it predicts."""
        return [str(name) for name in self.runs[0].scores["target"].unique()]

    @property
    def readers(self) -> list[str]:
        """Return the names of its seeds, as readers."""
        return list(dict.fromkeys(run.reader for run in self.runs))

    @property
    def folds(self) -> int:
        """Count its folds; 1 without cross-validation."""
        return len({run.fold for run in self.runs})

    def only(self, target: str, label: str | None = None) -> Arm:
        """Return the arm restricted to one of its targets, optionally with another label."""
        runs = [replace(run, scores=run.scores[run.scores["target"] == target]) for run in self.runs]
        return replace(self, runs=tuple(runs), label=self.label if label is None else label)

    @property
    def is_solved(self) -> bool:
        """Tell whether its heads are solved: nothing trained, and no seed of training varies it."""
        return all(run.row.get("head") == "solved" for run in self.runs)

    @property
    def varies_training_sets(self) -> bool:
        """Tell whether its seeds were trained on different training sets."""
        return len({run.row["train_seed"] for run in self.runs}) > 1

    @property
    def validation(self) -> float:
        """Return the best validation AUROC over epochs, averaged over its runs; -inf if a run has none."""
        epochs = [run.record.get("history") or [] for run in self.runs]
        best = [max((epoch.get("val_auroc") or 0.0 for epoch in found), default=-np.inf) for found in epochs]
        return float(np.mean(best))

    def mean(self, column: str) -> float:
        """Average a column of the table of runs over its seeds and folds; NaN if no run has a value."""
        return float(pd.to_numeric(pd.Series([run.row.get(column) for run in self.runs])).mean())


@dataclass(frozen=True)
class Study:
    """All runs of a sweep, and the arms that can be analysed.

    Attributes:
        folder: The sweep's folder.
        runs: One row per run, complete or not; `label` names the arm of those that can be analysed.
        arms: Arms that can be analysed, best test AUROC first.
        problems: What cannot be analysed, and why.
    """

    folder: Path
    runs: pd.DataFrame
    arms: tuple[Arm, ...]
    problems: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read a sweep's folder; `problems` lists the runs that cannot be analysed.

        Raises:
            InputError: There is no run record.
        """
        runs = collect(folder)
        problems = list(runs.attrs[PROBLEMS])
        problems += [
            f"{row.run_dir} is {row.status}" + (f": {row.error}" if isinstance(row.error, str) else "")
            for row in runs[runs["status"] != "complete"].itertuples()
        ]
        complete: list[Keyed] = []
        varied = runs["train_seed"].nunique() > 1
        for _, row in runs[runs["status"] == "complete"].iterrows():
            place = folder / str(row["run_dir"])
            try:
                scores, patients = read_predictions(place), read_patients(place)
                _check(scores, place.name)
            except InputError as error:
                problems.append(f"left out: {error}")
                continue
            record = read_record(place) or {}
            reader = f"{row['seed']}" + (f"/{row['train_seed']}" if varied else "")
            if (record.get("head") or {}).get("kind") == "solved":  # no seed changes it
                reader = _beside(row, runs) if varied else NO_READER
            key = tuple(row[[*ARM, *APART]].fillna("").tolist())
            if ((record.get("data") or {}).get("targets") or [""])[0] == "multiclass":
                scores = with_right(scores)
            run = Run(row, record, scores, reader, patients)
            complete.append((key, run))
        usable = with_all_folds(one_of_each(complete, problems), problems)
        arms = _arms(folder, usable, problems)
        analysed = {str(run.row["run_dir"]): (arm.label, run) for arm in arms for run in arm.runs}
        label = runs["run_dir"].map({place: name for place, (name, _) in analysed.items()})
        area = runs["run_dir"].map({place: run.row["test_auroc"] for place, (_, run) in analysed.items()})
        runs = runs.assign(label=label, test_auroc=area.fillna(runs["test_auroc"]))
        return cls(folder, runs, arms, tuple(dict.fromkeys(problems)))

    @cached_property
    def test_sets(self) -> list[str]:
        """Return the identifiers of the test sets, the most common one first."""
        counts = pd.Series([arm.test_set for arm in self.arms for _ in arm.runs]).value_counts()
        return [str(name) for name in counts.index]

    def on(self, test_set: str) -> list[Arm]:
        """Return the arms that were tested on a given test set."""
        return [arm for arm in self.arms if arm.test_set == test_set]


def _beside(row: pd.Series, runs: pd.DataFrame) -> str:
    """Return the name, as a reader, of a solved run on a training set of its own: that of the trained runs.

    Of each training set the run of the lowest seed is analysed (`one_of_each`).
    """
    alike = runs[(runs["train_seed"] == row["train_seed"]) & (runs["head"] != "solved")]["seed"]
    return f"{min(alike, default=row['seed'])}/{row['train_seed']}"


def _check(scores: pd.DataFrame, name: str) -> None:
    truth = split_of(scores, "test")["truth"]
    if truth.empty:
        raise InputError(f"{name} has no test predictions")
    if truth.nunique() < 2:
        raise InputError(f"{name} has test images of one class only")


def _analysable(arms: list[Arm], problems: list[str]) -> list[Arm]:
    """Leave out targets with too few positive or negative patients, in total or in a fold; report them."""
    parts = []
    for run in arms[0].runs:
        rows = split_of(run.scores, "test")
        whose = [run.patients.get(case, f"case {case}") for case in rows["case"]]
        parts.append(rows.assign(fold=run.fold or 0, patient=whose))
    cells = pd.concat(parts).groupby(["target", "fold", "truth"])["patient"].nunique().unstack()
    scarce = (cells.reindex(columns=[0, 1]).fillna(0) < LEAST_CASES).any(axis=1)
    found = {str(target): bool(few) for target, few in scarce.groupby(level=0).any().items()}
    rare = [target for target in arms[0].targets if found.get(target, True)]
    if not rare:
        return arms
    of = "images or patients of a class" + (" in a fold" if arms[0].folds > 1 else "")
    problems.append(f"not analysed, having fewer than {LEAST_CASES} test {of}: {', '.join(rare)}")
    if len(rare) == len(arms[0].targets):
        return []
    return [replace(arm, runs=tuple(_without(run, rare) for run in arm.runs)) for arm in arms]


def _without(run: Run, targets: list[str]) -> Run:
    """Remove targets from a run, and compute its AUROC without them."""
    scores = run.scores[~run.scores["target"].isin(targets)]
    areas = [
        auroc((rows["truth"] > 0.5).to_numpy(), rows["logit"].to_numpy(float)[None])[0]
        for _, rows in split_of(scores, "test").groupby("target")
    ]
    row = run.row.to_dict() | {"test_auroc": float(np.mean(areas))}
    return replace(run, scores=scores, row=pd.Series(row))


def _arms(folder: Path, complete: list[Keyed], problems: list[str]) -> tuple[Arm, ...]:
    grouped: dict[tuple[Any, ...], list[Run]] = {}
    for key, run in complete:
        grouped.setdefault(key, []).append(run)
    options = {
        key: options_of(folder / str(runs[0].row["run_dir"])) | {"schema": runs[0].row["schema"]}
        for key, runs in grouped.items()
    }
    arms = []
    for key, runs in grouped.items():
        twins = [other for other in grouped if other[: len(ARM)] == key[: len(ARM)]]
        own = differing(options[key], [options[other] for other in twins])
        label = " ".join(str(part) for part in key[: len(ARM)])
        if own:
            label += ", " + ", ".join(f"{short_name(name)}={value}" for name, value in own.items())
        ordered = tuple(sorted(runs, key=lambda run: (run.row["seed"], run.row["train_seed"], run.fold or 0)))
        arms.append(Arm(label, str(runs[0].row["test_set"]), ordered, own, options[key]))
    by_test_set: dict[str, list[Arm]] = {}
    for arm in _distinct(arms):
        by_test_set.setdefault(arm.test_set, []).append(arm)
    usable = [arm for group in by_test_set.values() for arm in _analysable(group, problems)]
    return tuple(sorted(usable, key=lambda arm: -arm.mean("test_auroc")))


def _distinct(arms: list[Arm]) -> list[Arm]:
    """Number the arms that have the same label, such as the same options on another device."""
    counts = pd.Series([arm.label for arm in arms]).value_counts()
    seen: dict[str, int] = {}
    result = []
    for arm in arms:
        label = arm.label
        if counts[label] > 1:
            seen[label] = seen.get(label, 0) + 1
            label = f"{label} (variant {seen[label]})"
        result.append(replace(arm, label=label))
    return result
