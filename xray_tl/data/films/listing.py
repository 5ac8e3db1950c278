"""Listing of a data set's radiographs before any is read: names, patients, truths and given splits."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.names import find_name, one_spelling, spelling_key
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

Kind = Literal["binary", "multiclass", "multilabel"]
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
COVARIATE = "covariate: "
"""Prefix of the names of covariates in a listing's columns."""
NEGATIVES = ("normal", "no finding", "negative", "healthy", "absent", "none", "0")
"""Labels, by their `spelling_key`, that mean an image without findings."""
UNCERTAIN = {"-1", "0", "1"}
"""Values of a label column in the style of CheXpert: -1 is uncertain."""
INDEXES = ("dicomdir",)
"""Files that only list others, in lower case."""

_LIST = re.compile(r"""\[.*\]|[({]\s*(['"]).*\1\s*,?\s*[)}]""", re.DOTALL)

Truth = NDArray[np.float32]


@dataclass(frozen=True)
class Listing:
    """List of a data set's radiographs with their truths.

    Attributes:
        table: One row per image: `name` (relative to the root), `path`, `patient` and `split` (empty if not
            known), and covariates.
        truth: 0 or 1 [N, T]; NaN if it is not known.
        kind: `binary` (one column), `multiclass` (one-hot columns) or `multilabel`.
        targets: Names of the columns of truth.
        negative: Label of an image without findings, if there is one.
        problems: Files that cannot be used, and why.
        spellings: Differently spelt names that were treated as one; one text for each.
    """

    table: pd.DataFrame
    truth: Truth
    kind: Kind
    targets: tuple[str, ...]
    negative: str | None
    problems: dict[str, str] = field(default_factory=dict)
    spellings: tuple[str, ...] = ()


def root_folder(config: RadiographDataConfig) -> Path:
    """Return the folder of the images.

    Raises:
        InputError: It is not a folder, or cannot be read.
    """
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise InputError(f"data.root={config.root} is not a folder")
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"data.root={config.root} cannot be read: permission denied")
    return root


def walk(root: Path, problems: dict[str, str] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, in order; links to folders are followed, each folder once.

    Args:
        root: The folder.
        problems: Folders that cannot be read are added here, with the reason.
    """
    seen: set[str] = set()

    def note(error: OSError) -> None:
        if problems is not None:
            problems[str(error.filename)] = error.strerror or str(error)

    for folder, folders, files in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder seen before
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def is_radiograph(path: Path) -> bool:
    """Tell whether a file may be a radiograph, by its suffix or, without a suffix, by DICOM's magic bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.name.lower() in INDEXES:
        return False
    if path.suffix and not path.suffix[1:].isdigit():  # the last part of a UID is a number
        return False
    try:
        with path.open("rb") as stream:
            stream.seek(128)
            return stream.read(4) == b"DICM"
    except OSError:
        return False


def patient_of(name: str, regex: str | None) -> str:
    """Return the first group of a regex in a file's name, or else in its folders; empty if not found."""
    if not regex:
        return ""
    name = name.replace("\\", "/")
    match = re.search(regex, os.path.basename(name)) or re.search(regex, name)  # noqa: PTH119  (a million times)
    return match[1] or "" if match else ""


def told_apart(kind: str, several: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return texts on names of a kind (`label`, `patient`) that were treated as one; one text per name."""
    return tuple(f"{kind} {' = '.join(map(repr, own))}" for own in several)


def with_classes(
    table: pd.DataFrame, config: RadiographDataConfig, where: str, problems: dict[str, str] | None = None
) -> Listing:
    """Return the listing of images with one label each: two labels give a binary target, more give classes.

    Raises:
        InputError: There are fewer than two labels, or they are not names of classes.
    """
    label, several = one_spelling(table["label"])
    table = table.assign(label=label)
    there = [name for name in sorted(set(label)) if name]
    classes = there if config.labels is None else stated_labels(config.labels, there, where)
    table = table if config.labels is None else table[table["label"].isin(classes)].reset_index(drop=True)
    _check_classes(classes, config, where)
    said = told_apart("label", several)
    negative = negative_of(classes, config.negative)
    if len(classes) == 2:
        positive = classes[1] if negative is None or negative == classes[0] else classes[0]
        truth = np.asarray(table["label"] == positive, dtype=np.float32)[:, None]
        other = next(name for name in classes if name != positive)
        level = logging.WARNING if negative is None else logging.INFO
        log.log(level, "positive: %s, negative: %s (data.negative=... turns it around)", positive, other)
        return Listing(table.drop(columns="label"), truth, "binary", (positive,), other, problems or {}, said)
    truth = np.stack([np.asarray(table["label"] == name, dtype=np.float32) for name in classes], axis=1)
    targets = tuple(classes)
    return Listing(table.drop(columns="label"), truth, "multiclass", targets, negative, problems or {}, said)


def stated_labels(labels: Sequence[str], there: list[str], where: str) -> list[str]:
    """Return the labels that the user named, in the data set's spelling."""
    found = {label: find_name(label, there) for label in labels}
    absent = [label for label, name in found.items() if name is None]
    if absent:
        raise InputError(
            f"data.labels={list(labels)}: {where} has no {', '.join(absent)}; it has {', '.join(there)}"
        )
    return list(dict.fromkeys(name for name in found.values() if name is not None))


def _check_classes(classes: list[str], config: RadiographDataConfig, where: str) -> None:
    keys = {spelling_key(name) for name in classes}
    if config.layout == "table":
        listed = next((name for name in classes if list_in_cell(name)), None)
        if listed is not None:
            raise InputError(
                f"{where} has a list in column {config.label_column}, {listed}: data.label_separator=',' "
                "reads several labels from a cell"
            )
        if "-1" in keys and keys <= UNCERTAIN:
            raise InputError(
                f"{where} has {', '.join(classes)} in column {config.label_column}: "
                f"data.label_columns=[{config.label_column}] takes -1 for uncertain, data.labels=[...] "
                "chooses the classes"
            )
    if len(classes) >= 2:
        return
    found = f"only {classes[0]}" if classes else "none"
    if config.layout == "table":
        hint = f"; data.label_columns=[{config.label_column}] reads 0, 1" if keys & UNCERTAIN else ""
        raise InputError(
            f"{where} needs two classes at least in column {config.label_column}: found {found}{hint}"
        )
    inner = Path(config.root) / classes[0] if classes else Path()
    hint = f" (is data.root={inner} the folder of the classes?)" if classes and inner.is_dir() else ""
    raise InputError(
        f"{where} needs images of two classes at least, in one folder a class: found {found}{hint}"
    )


def list_in_cell(text: str) -> bool:
    """Tell whether a cell holds a list, such as `['nodule', 'mass']`."""
    return _LIST.fullmatch(text) is not None


def negative_of(labels: list[str], stated: str | None) -> str | None:
    """Return the label of an image without findings: the stated one, or a common word for it.

    Raises:
        InputError: No image has the stated label.
    """
    if stated is not None:
        found = find_name(stated, labels)
        if found is None:
            raise InputError(f"data.negative={stated} is no label: choose from {', '.join(labels)}")
        return found
    return next((label for label in labels if spelling_key(label) in NEGATIVES), None)


def list_input(place: Path) -> list[Path]:
    """Return the path of a radiograph or, for a folder, of all radiographs in it.

    Raises:
        InputError: There is no radiograph.
    """
    if place.is_dir():
        found = [path for path in walk(place) if is_radiograph(path)]
        if not found:
            raise InputError(f"input={place} holds no PNG, JPEG, TIFF or DICOM file")
        return found
    if not place.is_file():
        raise InputError(f"input={place} does not exist")
    return [place]
