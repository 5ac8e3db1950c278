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
from xray_tl.store.records import read_record
from xray_tl.study.arm_names import differing, options_of, short_name
from xray_tl.study.comparable_runs import (
    check_classes,
    with_all_folds,
    with_enough_cases,
    with_readers,
    without_copies,
)
from xray_tl.study.draws import Draw, Varied, sets_of_weights, training_sets
from xray_tl.study.run_table import APART, ARM, PROBLEMS, collect
from xray_tl.study.saved_predictions import read_patients, read_predictions, with_right

if TYPE_CHECKING:
    from xray_tl.study.comparable_runs import Keyed

WEIGHTS_OF = ("model.stem", "model.memory_format", "weights.budget", "data.image_size", "trainer.precision")
"""Options of an arm that its initial weights depend on, beside backbone and source."""


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
        draw: What it drew.
        patients: Patient of each case, if known.
        reader: The reader that it belongs to.
        name: Its own name among the runs of its arm; that of its reader where no reader has several runs.
        anew: Whether runs of its backbone and recipe start from several sets of weights.
    """

    row: pd.Series
    record: dict[str, Any]
    scores: pd.DataFrame
    draw: Draw
    patients: Mapping[str, str] = field(default_factory=dict)
    reader: str = ""
    name: str = ""
    anew: bool = False

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
        """Return the names of its readers: of its seeds, or of what else varies (`draws`)."""
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
        """Tell whether its runs were trained on different training sets."""
        return len({run.draw.training_set for run in self.runs}) > 1

    @property
    def varies_weights(self) -> bool:
        """Tell whether its runs start from different sets of weights."""
        return len({run.draw.weights for run in self.runs}) > 1

    @property
    def validation(self) -> float:
        """Return the best validation AUROC over epochs, averaged over its runs; -inf if a run has none."""
        epochs = [run.record.get("history") or [] for run in self.runs]
        best = [max((epoch.get("val_auroc") or 0.0 for epoch in found), default=-np.inf) for found in epochs]
        return float(np.mean(best))

    def mean(self, column: str) -> float:
        """Average a column of the table of runs within each reader, then over readers; NaN without values."""
        values = pd.Series([run.row.get(column) for run in self.runs], [run.reader for run in self.runs])
        return float(pd.to_numeric(values).groupby(level=0).mean().mean())


@dataclass(frozen=True)
class Study:
    """All runs of a sweep, and the arms that can be analysed.

    Attributes:
        folder: The sweep's folder.
        runs: One row per run, complete or not; `label` names the arm of those that can be analysed.
        arms: Arms that can be analysed, best test AUROC first.
        problems: What cannot be analysed, and why.
        varied_on: Test set -> what varies between the runs that were tested on it, beside seeds.
    """

    folder: Path
    runs: pd.DataFrame
    arms: tuple[Arm, ...]
    problems: tuple[str, ...]
    varied_on: Mapping[str, Varied] = field(default_factory=dict)

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
        done = runs[runs["status"] == "complete"]
        keys = [tuple(row[[*ARM, *APART]].fillna("").tolist()) for _, row in done.iterrows()]
        options: dict[tuple[Any, ...], dict[str, Any]] = {}
        for key, run_dir in zip(keys, done["run_dir"], strict=True):
            if key not in options:
                options[key] = options_of(folder / str(run_dir))
        kinds = [(*key[: len(ARM) : 2], *(options[key].get(name) for name in WEIGHTS_OF)) for key in keys]
        drawn = zip(training_sets(done), sets_of_weights(done, kinds), strict=True)
        for key, (_, row), (training_set, weights) in zip(keys, done.iterrows(), drawn, strict=True):
            place = folder / str(row["run_dir"])
            try:
                scores, patients = read_predictions(place), read_patients(place)
                check_classes(scores, place.name)
            except InputError as error:
                problems.append(f"left out: {error}")
                continue
            record = read_record(place) or {}
            seed = None if row["head"] == "solved" else int(row["seed"])
            if ((record.get("data") or {}).get("targets") or [""])[0] == "multiclass":
                scores = with_right(scores)
            draw = Draw(seed, training_set, weights)
            complete.append((key, Run(row, record, scores, draw, patients)))
        usable = with_all_folds(without_copies(complete, problems), problems)
        read, varied_on = with_readers(usable, dict(zip(keys, kinds, strict=True)))
        arms = _arms(options, read, problems)
        analysed = {str(run.row["run_dir"]): (arm.label, run) for arm in arms for run in arm.runs}
        label = runs["run_dir"].map({place: name for place, (name, _) in analysed.items()})
        area = runs["run_dir"].map({place: run.row["test_auroc"] for place, (_, run) in analysed.items()})
        runs = runs.assign(label=label, test_auroc=area.fillna(runs["test_auroc"]))
        return cls(folder, runs, arms, tuple(dict.fromkeys(problems)), varied_on)

    @cached_property
    def test_sets(self) -> list[str]:
        """Return the identifiers of the test sets, the most common one first."""
        counts = pd.Series([arm.test_set for arm in self.arms for _ in arm.runs]).value_counts()
        return [str(name) for name in counts.index]

    @property
    def varied(self) -> Varied:
        """Return what varies between the runs on the most common test set, beside seeds."""
        return self.varied_on[self.test_sets[0]] if self.arms else Varied()

    def on(self, test_set: str) -> list[Arm]:
        """Return the arms that were tested on a given test set."""
        return [arm for arm in self.arms if arm.test_set == test_set]


def _arms(
    found: Mapping[tuple[Any, ...], dict[str, Any]], complete: list[Keyed], problems: list[str]
) -> tuple[Arm, ...]:
    grouped: dict[tuple[Any, ...], list[Run]] = {}
    for key, run in complete:
        grouped.setdefault(key, []).append(run)
    options = {key: found[key] | {"schema": runs[0].row["schema"]} for key, runs in grouped.items()}
    arms = []
    for key, runs in grouped.items():
        twins = [other for other in grouped if other[: len(ARM)] == key[: len(ARM)]]
        own = differing(options[key], [options[other] for other in twins])
        label = " ".join(str(part) for part in key[: len(ARM)])
        if own:
            label += ", " + ", ".join(f"{short_name(name)}={value}" for name, value in own.items())
        ordered = tuple(
            sorted(
                runs,
                key=lambda run: (
                    run.row["seed"],
                    run.draw.training_set,
                    run.draw.weights or "",
                    run.fold or 0,
                ),
            )
        )
        arms.append(Arm(label, str(runs[0].row["test_set"]), ordered, own, options[key]))
    by_test_set: dict[str, list[Arm]] = {}
    for arm in _distinct(arms):
        by_test_set.setdefault(arm.test_set, []).append(arm)
    usable = [arm for group in by_test_set.values() for arm in with_enough_cases(group, problems)]
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
