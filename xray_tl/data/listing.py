"""Which radiographs a data set has: names, patients, truths, given splits, before any is read; no torch."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

Kind = Literal["binary", "multiclass", "multilabel"]
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
NEGATIVES = ("normal", "no finding", "no_finding", "negative", "healthy", "absent", "none", "0")
"""Labels, in lower case, that stand for an image without findings."""

Truth = NDArray[np.float32]


@dataclass(frozen=True)
class Listing:
    """The radiographs of a data set.

    Attributes:
        table: One row an image: `name` (relative to the root), `path`, `patient` and `split` (empty where not
            known).
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
    top = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    given = {name: SPLIT_NAMES[name.lower()] for name in top if name.lower() in SPLIT_NAMES}
    by_split = len(set(given.values())) > 1
    rows = []
    for path in walk(root):
        parts = path.relative_to(root).parts
        split = given.get(parts[0], "") if by_split else ""
        folders = parts[1:-1] if split else parts[:-1]
        if folders and (split or not by_split) and is_radiograph(path):
            rows.append((path.relative_to(root).as_posix(), str(path), split, folders[0]))
    table = pd.DataFrame(rows, columns=["name", "path", "split", "label"]).sort_values("name")
    where = f"data.root={root}"
    table = _used(table.reset_index(drop=True), config, where)
    table["patient"] = table["name"].map(lambda name: patient_of(name, config.patient_regex))
    return _with_classes(table, config, where)


def list_table(config: RadiographDataConfig) -> Listing:
    """List the images of a CSV.

    Raises:
        InputError: The table cannot be read, lacks a column, or has a label that cannot be used.
    """
    root = root_folder(config)
    place = root / str(config.table)
    frame = _read_table(place, config)
    where = f"data.table={place}"
    table = pd.DataFrame({"name": frame[config.path_column].fillna("").str.strip()})
    table["split"] = _given_splits(frame, config, place) if config.split_column else ""
    if config.test_list is not None:
        table["split"] = _listed(table["name"], root / config.test_list)
    if config.patient_column:
        table["patient"] = frame[config.patient_column].fillna("").str.strip()
    else:
        table["patient"] = [patient_of(name, config.patient_regex) for name in table["name"]]
    table["path"], problems = _locate(table["name"], root, search=config.search)
    if config.label_columns:
        columns = frame[list(config.label_columns)].replace("", np.nan)
        truth = columns.apply(pd.to_numeric, errors="coerce").to_numpy(np.float32, copy=True)
        wrong = columns.notna().to_numpy() & ~np.isin(truth, (0, 1, -1))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InputError(
                f"{where} has {columns.iloc[row, column]!r} in row {row + 2} of column "
                f"{config.label_columns[column]}: 0, 1, -1 (uncertain) or nothing is valid"
            )
        truth[truth == -1] = np.nan
        listing = Listing(table, truth, "multilabel", tuple(config.label_columns), None, problems)
    elif config.label_separator:
        table["label"] = frame[config.label_column].fillna("").str.strip()
        listing = _with_findings(table, config, where, problems)
    else:
        table["label"] = frame[config.label_column].fillna("").str.strip()
        for name in table["name"][table["label"] == ""]:
            problems.setdefault(name, f"no label in column {config.label_column}")
        listing = _with_classes(_used(table, config, where), config, where, problems)
    twice = listing.table["name"].duplicated()
    if twice.any():
        raise InputError(f"{where} has {listing.table['name'][twice].iloc[0]} in more than one row")
    used = set(listing.table["name"])
    return replace(listing, problems={name: why for name, why in listing.problems.items() if name in used})


def root_folder(config: RadiographDataConfig) -> Path:
    """Return the folder of the images.

    Raises:
        InputError: It is none.
    """
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root={config.root} is not a folder")
    return root


def walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order; linked folders too, each folder once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
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
    match = re.search(regex, os.path.basename(name)) or re.search(regex, name)  # noqa: PTH119
    return match[1] or "" if match else ""


def _read_table(place: Path, config: RadiographDataConfig) -> pd.DataFrame:
    labels = list(config.label_columns or [config.label_column])
    optional = [name for name in (config.patient_column, config.split_column) if name]
    wanted = [config.path_column, *labels, *optional]
    try:
        header = pd.read_csv(place, nrows=0, encoding="utf-8-sig")
        absent = [name for name in wanted if name not in header]
        if absent:
            raise InputError(
                f"data.table={place} has no column {', '.join(absent)}; it has {', '.join(map(str, header))}"
            )
        return pd.read_csv(place, usecols=wanted, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"data.table={place} does not exist") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(f"data.table={place} is not a table: {str(error).splitlines()[0]}") from error


def _given_splits(frame: pd.DataFrame, config: RadiographDataConfig, place: Path) -> pd.Series:
    given = frame[str(config.split_column)].fillna("").str.strip().str.lower()
    unknown = set(given) - set(SPLIT_NAMES)
    if unknown:
        raise InputError(
            f"data.table={place} has {sorted(unknown)[0]!r} in column {config.split_column}: "
            f"train, val or test is valid"
        )
    return given.map(SPLIT_NAMES)


def _listed(names: pd.Series, place: Path) -> NDArray[Any]:
    """Return `test` for the images that a list names, and nothing for the others.

    Raises:
        InputError: The list cannot be read, or names no image.
    """
    try:
        listed = {line.strip() for line in place.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.test_list={place} cannot be read: {error}") from None
    found = names.isin(listed).to_numpy()
    if not found.any():
        raise InputError(f"data.test_list={place} names no image of the table")
    if found.sum() < len(listed):
        log.warning(
            "data.test_list=%s: %d of its names are not in the table", place, len(listed) - found.sum()
        )
    return np.where(found, "test", "")


def _locate(names: pd.Series, root: Path, *, search: bool) -> tuple[list[str], dict[str, str]]:
    """Find the file of each name below the root; name those that are not there or lie outside.

    A million names take two seconds: hence strings instead of paths.
    """
    if search:
        return _search(names, root)
    base = os.path.abspath(root)  # noqa: PTH100  (a link is not followed: its target may lie elsewhere)
    there: dict[str, set[str]] = {}
    paths, problems = [], {}
    for name in names:
        path = os.path.normpath(f"{base}{os.sep}{name}" if not os.path.isabs(name) else name)  # noqa: PTH117
        folder, file = os.path.split(path)
        if not path.startswith(f"{base}{os.sep}"):
            problems[name] = "its path lies outside data.root"
        elif file not in _names_in(folder, there):
            problems[name] = "no such file"
        paths.append(path)
    return paths, problems


def _search(names: pd.Series, root: Path) -> tuple[list[str], dict[str, str]]:
    """Find each name's file anywhere below the root."""
    by_name: dict[str, list[str]] = {}
    for path in walk(root):
        by_name.setdefault(path.name, []).append(str(path))
    paths, problems = [], {}
    for name in names:
        found = by_name.get(os.path.basename(name), [])  # noqa: PTH119  (a million times)
        if len(found) != 1:
            problems[name] = f"{len(found)} files of this name" if found else "no such file"
        paths.append(found[0] if found else "")
    return paths, problems


def _names_in(folder: str, known: dict[str, set[str]]) -> set[str]:
    """List a folder once: asking for a million files one by one takes a minute."""
    if folder not in known:
        try:
            known[folder] = {entry.name for entry in os.scandir(folder) if entry.is_file()}
        except OSError:
            known[folder] = set()
    return known[folder]


def _used(table: pd.DataFrame, config: RadiographDataConfig, where: str) -> pd.DataFrame:
    """Keep the images of the labels that are used."""
    if config.labels is None:
        return table
    absent = sorted(set(config.labels) - set(table["label"]))
    if absent:
        there = ", ".join(sorted(set(table["label"])))
        raise InputError(f"data.labels={config.labels}: {where} has no {', '.join(absent)}; it has {there}")
    return table[table["label"].isin(config.labels)].reset_index(drop=True)


def _with_classes(
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


def _with_findings(
    table: pd.DataFrame, config: RadiographDataConfig, where: str, problems: dict[str, str]
) -> Listing:
    """Several labels an image, in one cell: one column of truth a finding."""
    cells = table["label"].str.split(config.label_separator, regex=False)
    there = sorted({label.strip() for cell in cells for label in cell} - {""})
    negative = negative_of(there, config.negative)
    findings = list(config.labels or [name for name in there if name != negative])
    absent = sorted(set(findings) - set(there))
    if absent or not findings:
        raise InputError(f"data.labels={config.labels}: {where} has {', '.join(there)}")
    for name in table["name"][table["label"] == ""]:
        problems.setdefault(name, f"no label in column {config.label_column}")
    held = [{label.strip() for label in cell} for cell in cells]
    truth = np.array([[name in labels for name in findings] for labels in held], dtype=np.float32)
    kind: Kind = "multilabel" if len(findings) > 1 else "binary"
    return Listing(table.drop(columns="label"), truth, kind, tuple(findings), negative, problems)


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
