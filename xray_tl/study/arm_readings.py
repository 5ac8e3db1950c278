"""Conversion of the scores of a study's arms to readings, the input of the statistics."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from xray_tl.statistics.readings import GROUP, PATIENT, Readings
from xray_tl.study.saved_predictions import split_of
from xray_tl.study.study_folder import Arm, Run


def readings(arms: Sequence[Arm], split: str = "test", column: str = "logit") -> Readings:
    """Return the scores of arms on the same images, separately for each target and fold.

    Args:
        arms: Arms with the same test set.
        split: Split of the images: `train`, `val` or `test`.
        column: `logit` (for ranking), `probability`, or a score whose sign is the decision: `decision`
            (probability minus the run's threshold) or `half` (probability minus 0.5; with several classes the
            largest probability decides).

    Raises:
        InputError: The arms do not have the same images, or these are of one class.
    """
    return Readings.of_table(laid_out(arms, split, column), f"the {split} split")


def laid_out(arms: Sequence[Arm], split: str = "test", column: str = "logit") -> pd.DataFrame:
    """Return the scores of arms as a long table; takes the arguments of `readings`."""
    parts = []
    for arm in arms:
        for run in arm.runs:
            rows = split_of(run.scores, split)
            if column == "half" and "right" in rows:
                rows = _whether_right(rows)
            part = pd.DataFrame(
                {
                    "reader": run.name,
                    "treatment": arm.label,
                    "case": rows["case"],
                    "truth": rows["truth"],
                    "rating": _rating(rows, run, column),
                }
            )
            if run.name != run.reader:
                part[GROUP] = run.reader
            if rows["target"].nunique() > 1:
                part["target"] = rows["target"]
            if run.fold is not None:
                part["fold"] = run.fold
            if run.patients:
                part[PATIENT] = rows["case"].map(run.patients)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _rating(rows: pd.DataFrame, run: Run, column: str) -> pd.Series:
    if column in rows:
        return rows[column]
    threshold = 0.5 if column == "half" else rows["target"].map(run.thresholds)
    return rows["probability"] - threshold


def _whether_right(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image: its truth of one class, and a score whose sign agrees if it is right."""
    first = rows[rows["target"] == rows["target"].iloc[0]]
    return first.assign(half=((first["truth"] > 0.5) == first["right"]).astype(float) - 0.5)
