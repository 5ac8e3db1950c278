"""Which radiographs a data set has: names, patients, truths, given splits, before any is read; no torch."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

Kind = Literal["binary", "multiclass", "multilabel"]
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
COVARIATE = "covariate: "
"""What a listing's columns of covariates begin with."""
NEGATIVES = ("normal", "no finding", "no_finding", "negative", "healthy", "absent", "none", "0")
"""Labels, in lower case, that stand for an image without findings."""

Truth = NDArray[np.float32]


@dataclass(frozen=True)
class Listing:
    """The radiographs of a data set.

    Attributes:
        table: One row an image: `name` (relative to the root), `path`, `patient` and `split` (empty where not
            known), and covariates.
        truth: 0 or 1 [N, T]; NaN where it is not known.
        kind: `binary` (one column), `multiclass` (one-hot columns) or `multilabel`.
        targets: Names of the columns of truth.
        negative: What an image without findings is called, if anything.
        problems: Files that cannot be used, and why.
    """

    table: pd.DataFrame
    truth: Truth
    kind: Kind
    targets: tuple[str, ...]
    negative: str | None
    problems: dict[str, str] = field(default_factory=dict)


def list_folder(config: RadiographDataConfig) -> Listing:
    """List images in class folders, perhaps below folders of splits.

    Raises:
        InputError: There is no such folder, or it has fewer than two classes.
    """
    root = root_folder(config)
    problems: dict[str, str] = {}
    passed: Counter[str] = Counter()
    top = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    given = {name: SPLIT_NAMES[name.lower()] for name in top if name.lower() in SPLIT_NAMES}
    by_split = len(set(given.values())) > 1
    rows = []
    for path in walk(root, problems):
        parts = path.relative_to(root).parts
        split = given.get(parts[0], "") if by_split else ""
        folders = parts[1:-1] if split else parts[:-1]
        if not is_radiograph(path):
            passed["of other kinds"] += 1
        elif by_split and not split:
            passed["outside the folders of splits"] += 1
        elif not folders:
            passed["in no class folder"] += 1
        else:
            rows.append((path.relative_to(root).as_posix(), str(path), split, folders[0]))
    if passed:
        counts = ", ".join(f"{count} {why}" for why, count in passed.items())
        log.warning("data.root=%s: files are passed over: %s", root, counts)
    for folder, why in problems.items():
        log.warning("%s is passed over: %s", folder, why)
    table = pd.DataFrame(rows, columns=["name", "path", "split", "label"]).sort_values("name")
    where = f"data.root={root}"
    table = used_only(table.reset_index(drop=True), config, where)
    table["patient"] = table["name"].map(lambda name: patient_of(name, config.patient_regex))
    return with_classes(table, config, where)


def root_folder(config: RadiographDataConfig) -> Path:
    """Return the folder of the images.

    Raises:
        InputError: It is none.
    """
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root={config.root} is not a folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"data.root={config.root} cannot be read: permission denied")
    return root


def walk(root: Path, problems: dict[str, str] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, in order; linked folders too, each folder once.

    Args:
        root: The folder.
        problems: Folders that cannot be read are added here, and why.
    """
    seen: set[str] = set()

    def note(error: OSError) -> None:
        if problems is not None:
            problems[str(error.filename)] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def is_radiograph(path: Path) -> bool:
    """Tell by its name, or by DICOM's mark in a file without suffix, whether a file may be a radiograph."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # the last part of a UID is a number
        return False
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            return stream.read(4) == b"DICM"
    except OSError:
        return False


def patient_of(name: str, regex: str | None) -> str:
    """Return what a pattern's first group finds in a file's name, else in its folders; empty if nothing."""
    if not regex:
        return ""
    match = re.search(regex, os.path.basename(name)) or re.search(regex, name)  # noqa: PTH119  (a million times)
    return match[1] or "" if match else ""


def used_only(table: pd.DataFrame, config: RadiographDataConfig, where: str) -> pd.DataFrame:
    """Keep the images of the labels that are used."""
    if config.labels is None:
        return table
    absent = sorted(set(config.labels) - set(table["label"]))
    if absent:
        there = ", ".join(sorted(set(table["label"])))
        raise InputError(f"data.labels={config.labels}: {where} has no {', '.join(absent)}; it has {there}")
    return table[table["label"].isin(config.labels)].reset_index(drop=True)


def with_classes(
    table: pd.DataFrame, config: RadiographDataConfig, where: str, problems: dict[str, str] | None = None
) -> Listing:
    """One label an image: two of them are a binary target, more are classes."""
    classes = [name for name in (config.labels or sorted(set(table["label"]))) if name]
    if len(classes) < 2:
        found = f"only {classes[0]}" if classes else "none"
        raise InputError(
            f"{where} needs images of two classes at least, in one folder a class: found {found}"
        )
    negative = negative_of(classes, config.negative)
    if len(classes) == 2:
        positive = classes[1] if negative is None or negative == classes[0] else classes[0]
        truth = np.asarray(table["label"] == positive, dtype=np.float32)[:, None]
        other = next(name for name in classes if name != positive)
        level = logging.WARNING if negative is None else logging.INFO
        log.log(level, "positive: %s, negative: %s (data.negative=... turns it around)", positive, other)
        return Listing(table.drop(columns="label"), truth, "binary", (positive,), other, problems or {})
    truth = np.stack([np.asarray(table["label"] == name, dtype=np.float32) for name in classes], axis=1)
    return Listing(table.drop(columns="label"), truth, "multiclass", tuple(classes), negative, problems or {})


def negative_of(labels: list[str], stated: str | None) -> str | None:
    """Return which label stands for an image without findings: as stated, or a common word for it.

    Raises:
        InputError: No image has the stated one.
    """
    if stated is not None:
        if stated not in labels:
            raise InputError(f"data.negative={stated} is no label: choose from {', '.join(labels)}")
        return stated
    return next((label for label in labels if label.lower() in NEGATIVES), None)


def list_input(place: Path) -> list[Path]:
    """Return a radiograph, or all of a folder.

    Raises:
        InputError: There is none.
    """
    if place.is_dir():
        found = [path for path in walk(place) if is_radiograph(path)]
        if not found:
            raise InputError(f"input={place} holds no PNG, JPEG, TIFF or DICOM file")
        return found
    if not place.is_file():
        raise InputError(f"input={place} does not exist")
    return [place]
