"""Reading and checking of a run's saved predictions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.store.csv_table import read_csv_table
from xray_tl.store.records import PREDICTIONS, SPLIT

COLUMNS = ("split", "case", "target", "truth", "logit", "probability")
IDEAL = "ideal_logit"


def read_predictions(folder: Path) -> pd.DataFrame:
    """Read a run's predictions, one row per image and target.

    Raises:
        InputError: There are none, a column is missing, a score is not a number, or a case occurs twice.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        raise InputError(f"{folder.name} has no {PREDICTIONS}")
    frame = read_csv_table(path, str(path), ("split", "case", "target"))  # a class may be called None
    absent = [column for column in COLUMNS if column not in frame]
    if absent:
        raise InputError(f"{path} has no column {', '.join(absent)}")
    numbers = frame[["truth", "logit", "probability"]].apply(pd.to_numeric, errors="coerce")
    wrong = ~np.isfinite(numbers.to_numpy(dtype=np.float64)).all(axis=1)
    if wrong.any():
        raise InputError(f"{path} has {wrong.sum()} rows without a finite score")
    if not numbers["truth"].isin((0, 1)).all():
        raise InputError(f"{path} has a truth that is not 0 or 1")
    double = frame.duplicated(["split", "case", "target"])
    if double.any():
        raise InputError(f"{path} has case {frame['case'][double].iloc[0]} twice")
    frame[["truth", "logit", "probability"]] = numbers
    return frame


def read_patients(folder: Path) -> dict[str, str]:
    """Read the patient of each case of a run: case -> patient, for those that are known.

    Raises:
        InputError: The run's split cannot be read.
    """
    path = folder / SPLIT
    if not path.is_file():
        return {}
    table = read_csv_table(path, str(path), ("name", "patient"))
    absent = [column for column in ("name", "patient") if column not in table]
    if absent:
        raise InputError(f"{path} has no column {', '.join(absent)}")
    known = table[table["patient"] != ""]
    return dict(zip(known["name"], known["patient"], strict=True))


def split_of(frame: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the rows of a split, ordered by target and case."""
    return frame[frame["split"] == split].sort_values(["target", "case"], ignore_index=True)


def images_id(frame: pd.DataFrame, stated: str | None = None) -> str:
    """Return an identifier of a test set: a hash of its cases, their truths, and its images' identifier.

    Runs with the same identifier were tested on the same images, whatever they were trained on.

    Args:
        frame: A run's predictions.
        stated: Identifier of the test images in the run's record. `None` for a record of an earlier version:
            the ideal observer's scores are used instead, if known, although machines that round differently
            give different scores.
    """
    test = split_of(frame, "test")
    known = ["case", "target", "truth", *([IDEAL] if stated is None else [])]
    columns = [column for column in known if column in test]
    text = test[columns].to_csv(index=False, float_format="%.6g")
    return hashlib.sha256(f"{stated or ''}{text}".encode()).hexdigest()


def with_right(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column to scores of several classes: whether the class with the largest probability is true."""
    largest = frame.groupby(["split", "case"], sort=False)["probability"].idxmax()
    right = frame.loc[largest].set_index(["split", "case"])["truth"] > 0.5
    keys = pd.MultiIndex.from_frame(frame[["split", "case"]])
    return frame.assign(right=right.loc[keys].to_numpy())
