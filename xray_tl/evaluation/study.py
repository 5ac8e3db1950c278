"""A sweep's folder as a study: arms, their seeds, and their scores of the same test images; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from xray_tl.errors import InputError
from xray_tl.evaluation.collect import APART, ARM, PROBLEMS, collect
from xray_tl.evaluation.readings import Readings
from xray_tl.evaluation.scores import read_predictions, split_of
from xray_tl.records import read_record

UNNAMED = ("seed", "data.seed", "data.train_seed", "shifts", "feature_cache", "logger", "hydra")
"""Options that never tell arms apart."""


def atlas_path(folder: Path, test_set: str) -> Path:
    """Return where, in a sweep's folder, small images of a test set lie."""
    return folder / f"test-images-{test_set[:12]}.png"


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        row: Its row in the table of runs.
        record: Its record.
        scores: Its predictions.
        reader: What it is called as a reader.
    """

    row: pd.Series
    record: dict[str, Any]
    scores: pd.DataFrame
    reader: str


@dataclass(frozen=True)
class Arm:
    """A treatment: runs that differ in their seeds alone.

    Attributes:
        label: Its name, unique in the study.
        test_set: Which images it was tested on.
        runs: Its runs, by seed.
        options: The options that tell it from most arms of the same backbone, mode and weights.
        settings: All its options that may tell arms apart, `group.option` -> value.
    """

    label: str
    test_set: str
    runs: tuple[Run, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> dict[str, str]:
        """Return backbone, mode and weights."""
        return {key: str(self.runs[0].row[key]) for key in ARM}

    @property
    def varies_training_sets(self) -> bool:
        """Tell whether its seeds were trained on training sets of their own."""
        return len({run.row["train_seed"] for run in self.runs}) > 1

    def mean(self, column: str) -> float:
        """Average a column of the table of runs over its seeds; NaN where there is none."""
        return float(pd.to_numeric(pd.Series([run.row.get(column) for run in self.runs])).mean())


@dataclass(frozen=True)
class Study:
    """A sweep's runs.

    Attributes:
        folder: Where they lie.
        runs: One row a run, complete or not; `label` names the arm of those that can be analysed.
        arms: What can be analysed, best test AUROC first.
        problems: What could not be, and why.
    """

    folder: Path
    runs: pd.DataFrame
    arms: tuple[Arm, ...]
    problems: tuple[str, ...]

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read a sweep's folder; runs that cannot be analysed are named among the problems.

        Raises:
            InputError: There is no record.
        """
        runs = collect(folder)
        problems = list(runs.attrs[PROBLEMS])
        problems += [
            f"{row.run_dir} is {row.status}" + (f": {row.error}" if isinstance(row.error, str) else "")
            for row in runs[runs["status"] != "complete"].itertuples()
        ]
        complete: list[tuple[tuple[Any, ...], Run]] = []
        varied = runs["train_seed"].nunique() > 1
        for _, row in runs[runs["status"] == "complete"].iterrows():
            place = folder / str(row["run_dir"])
            try:
                scores = read_predictions(place)
                _check(scores, place.name)
            except InputError as error:
                problems.append(f"left out: {error}")
                continue
            reader = f"{row['seed']}" + (f"/{row['train_seed']}" if varied else "")
            key = tuple(row[[*ARM, *APART]].fillna("").tolist())
            complete.append((key, Run(row, read_record(place) or {}, scores, reader)))
        arms = _arms(folder, complete)
        labels = {str(run.row["run_dir"]): arm.label for arm in arms for run in arm.runs}
        return cls(folder, runs.assign(label=runs["run_dir"].map(labels)), arms, tuple(problems))

    @cached_property
    def test_sets(self) -> list[str]:
        """Return the test sets, the one that most runs share first."""
        counts = pd.Series([arm.test_set for arm in self.arms for _ in arm.runs]).value_counts()
        return [str(name) for name in counts.index]

    def on(self, test_set: str) -> list[Arm]:
        """Return the arms that were tested on a set of images."""
        return [arm for arm in self.arms if arm.test_set == test_set]


def readings(arms: list[Arm], split: str = "test", column: str = "logit") -> Readings:
    """Lay out the scores of arms on the same images.

    Args:
        arms: Arms of one test set.
        split: Which images.
        column: `logit` (ranks), `probability`, or `decision` (probability minus the run's threshold) or
            `half` (probability minus 0.5), whose signs decide.

    Raises:
        InputError: They have not the same images, or those are of one class.
    """
    parts = []
    for arm in arms:
        for run in arm.runs:
            rows = split_of(run.scores, split)
            parts.append(
                pd.DataFrame(
                    {
                        "reader": run.reader,
                        "treatment": arm.label,
                        "case": rows["case"],
                        "truth": rows["truth"],
                        "rating": _rating(rows, run, column),
                    }
                )
            )
    return Readings.of_table(pd.concat(parts, ignore_index=True), f"the {split} split")


def _rating(rows: pd.DataFrame, run: Run, column: str) -> pd.Series:
    if column in rows:
        return rows[column]
    threshold = 0.5 if column == "half" else run.record["threshold"]
    return rows["probability"] - float(threshold)


def _check(scores: pd.DataFrame, name: str) -> None:
    if scores["target"].nunique() != 1:
        raise InputError(f"{name} has {scores['target'].nunique()} targets: the analysis takes one")
    truth = split_of(scores, "test")["truth"]
    if truth.empty:
        raise InputError(f"{name} has no test predictions")
    if truth.nunique() < 2:
        raise InputError(f"{name} has test images of one class only")


def _arms(folder: Path, complete: list[tuple[tuple[Any, ...], Run]]) -> tuple[Arm, ...]:
    grouped: dict[tuple[Any, ...], list[Run]] = {}
    for key, run in complete:
        grouped.setdefault(key, []).append(run)
    options = {key: _options(folder / str(runs[0].row["run_dir"])) for key, runs in grouped.items()}
    arms = []
    for key, runs in grouped.items():
        twins = [other for other in grouped if other[: len(ARM)] == key[: len(ARM)]]
        own = _differing(options[key], [options[other] for other in twins])
        label = " ".join(str(part) for part in key[: len(ARM)])
        if own:
            label += ", " + ", ".join(f"{_short(name)}={value}" for name, value in own.items())
        ordered = tuple(sorted(runs, key=lambda run: (run.row["seed"], run.row["train_seed"])))
        arms.append(Arm(label, str(runs[0].row["test_set"]), ordered, own, options[key]))
    return tuple(sorted(_distinct(arms), key=lambda arm: -arm.mean("test_auroc")))


def _distinct(arms: list[Arm]) -> list[Arm]:
    """Number arms that nothing else tells apart, such as the same options on another device."""
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


def _options(folder: Path) -> dict[str, Any]:
    """Read a run's configuration as `group.option` -> value."""
    path = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}
    return _flat({str(k): v for k, v in config.items()}) if isinstance(config, dict) else {}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key.startswith(UNNAMED):
            continue
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat


def _differing(own: Mapping[str, Any], twins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options in which an arm is not like most of its twins, itself among them.

    Of a group whose `name` differs, such as `augment`, the name stands for the others.
    """
    found = {
        key: value for key, value in own.items() if not _is_usual(value, [twin.get(key) for twin in twins])
    }
    named = {key.rsplit(".", 1)[0] for key in found if key.endswith(".name")}
    return {
        key: value
        for key, value in found.items()
        if key.endswith(".name") or key.rsplit(".", 1)[0] not in named
    }


def _is_usual(value: object, among: list[object]) -> bool:
    """Tell whether more of them have this value than any other."""
    counts = Counter(map(repr, among))
    (usual, most), *others = counts.most_common(2)
    return repr(value) == usual and not (others and others[0][1] == most)


def _short(name: str) -> str:
    """Name an option by its last part, unless that says too little: then by its group, or whole."""
    group, _, last = name.rpartition(".")
    if last == "name" and group:
        return group
    return name if last in ("seed", "source") else last
