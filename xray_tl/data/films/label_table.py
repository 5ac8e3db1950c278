"""Listing of radiographs in a CSV table: one label per row, several in a cell, or one column per label."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.listing import (
    COVARIATE,
    Kind,
    Listing,
    Truth,
    list_in_cell,
    negative_of,
    patient_of,
    root_folder,
    stated_labels,
    told_apart,
    with_classes,
)
from xray_tl.data.films.locate import locate, search
from xray_tl.data.films.names import (
    LEFT_OUT,
    as_option,
    find_name,
    one_spelling,
    part_of_split,
    path_key,
    stated_parts,
)
from xray_tl.errors import InputError
from xray_tl.store.csv_table import read_csv_table

log = logging.getLogger(__name__)

UNKNOWN = ("nan", "NaN", "NA", "N/A", "NULL", "null", "None")
"""What programs write into an empty cell; `none` is not among them: it is a label."""
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def list_table(config: RadiographDataConfig) -> Listing:
    """List the images of a CSV table.

    Raises:
        InputError: The table cannot be read, lacks a column, or has a label that cannot be used.
    """
    root = root_folder(config)
    place = root / str(config.table)
    where = f"data.table={place}"
    frame = _read_table(place, config)
    given = _given_splits(frame, config, where) if config.split_column else pd.Series("", frame.index)
    frame, given = frame[given != LEFT_OUT], given[given != LEFT_OUT]
    table, problems = _rows(frame, given.to_numpy(), config, root)
    if config.label_columns:
        truth = _known(frame[list(config.label_columns)], where)
        one: Kind = "binary" if len(config.label_columns) == 1 else "multilabel"
        listing = Listing(table, truth, one, tuple(config.label_columns), None, problems)
    else:
        table["label"] = frame[config.label_column].to_numpy()
        bare = table["label"] == ""
        if config.label_separator is not None:
            bare = table["label"].map(lambda cell: not _labels_in(cell, str(config.label_separator)))
        several = config.label_separator is not None
        unlabelled = dict.fromkeys(table["name"][bare], f"no label in column {config.label_column}")
        listing = (_with_findings if several else with_classes)(table, config, where, unlabelled | problems)
    _check_once(listing, problems, where)
    used = set(listing.table["name"])
    problems = {name: why for name, why in listing.problems.items() if name in used}
    return replace(listing, table=listing.table.drop(columns="line"), problems=problems)


def _rows(
    frame: pd.DataFrame, given: NDArray[Any], config: RadiographDataConfig, root: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return name, split, patient, path and covariates of every row, and the reason for each unusable one."""
    lines = [f"line {line}" for line in frame.index]
    bare = frame[config.path_column].reset_index(drop=True)
    table = pd.DataFrame({"name": bare.where(bare != "", lines), "line": frame.index})
    table["split"] = given
    if config.test_list is not None:
        table["split"] = _listed(table["name"], root / config.test_list)
    if config.patient_column:
        table["patient"] = frame[config.patient_column].to_numpy()
    else:
        table["patient"] = [patient_of(name, config.patient_regex) for name in table["name"]]
    names = table["name"].tolist()
    table["path"], problems = (search if config.search else locate)(names, root)
    problems |= dict.fromkeys(table["name"][bare == ""], f"no path in column {config.path_column}")
    for name in config.covariate_columns or ():
        table[f"{COVARIATE}{name}"] = frame[name].to_numpy()
    return table, problems


def _read_table(place: Path, config: RadiographDataConfig) -> pd.DataFrame:
    """Read the columns that are used, as text without surrounding spaces."""
    labels = list(config.label_columns or [config.label_column])
    optional = [name for name in (config.patient_column, config.split_column) if name]
    wanted = list(dict.fromkeys([config.path_column, *labels, *optional, *(config.covariate_columns or ())]))
    frame = read_csv_table(place, f"data.table={place}", needed=wanted)[wanted].apply(
        lambda column: column.str.strip()
    )
    named = [name for name in wanted if name != config.path_column]
    frame[named] = frame[named].replace(list(UNKNOWN), "")
    return frame


def _known(columns: pd.DataFrame, where: str) -> Truth:
    """Return the truths [N, T]: 0, 1, or NaN if a label is uncertain or not known."""
    truth = columns.apply(pd.to_numeric, errors="coerce").to_numpy(np.float32, copy=True)
    wrong = (columns != "").to_numpy() & ~np.isin(truth, (0, 1, -1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"{where} has {columns.iloc[row, column]!r} in line {columns.index[row]} of column "
            f"{columns.columns[column]}: 0, 1, -1 (uncertain) or nothing is valid"
        )
    truth[truth == -1] = np.nan
    return truth


def _check_once(listing: Listing, problems: Collection[str], where: str) -> None:
    """Raise an error if an image is in two rows, even if its name is spelt differently.

    Args:
        listing: The rows that are used; its table has their line numbers.
        problems: Names without a file.
        where: Name of the table in messages.
    """
    there = listing.table[~listing.table["name"].isin(problems)]
    twice = there[there["path"].duplicated(keep=False)]
    if len(twice):
        name, path = twice[["name", "path"]].iloc[0]
        first, second, *_ = twice["line"][twice["path"] == path]
        raise InputError(f"{where} has {name} in more than one row (lines {first} and {second})")


def _given_splits(frame: pd.DataFrame, config: RadiographDataConfig, where: str) -> pd.Series:
    given, stated = frame[str(config.split_column)], stated_parts(config.split_names)
    parts = {value: part_of_split(value, stated) for value in set(given)}
    for name in stated:
        if find_name(name, parts) is None:
            raise InputError(
                f"data.split_names has {name}, which is no value of column {config.split_column} of {where}"
            )
    if "" in parts:
        line = frame.index[(given == "").to_numpy()][0]
        raise InputError(f"{where} has nothing in column {config.split_column} of line {line}")
    unknown = sorted(value for value, part in parts.items() if part is None)
    if unknown:
        raise InputError(
            f"{where} has {unknown[0]!r} in column {config.split_column}: train, val or test is valid, or "
            f"data.split_names={as_option([f'{unknown[0]}:PART'])} says which PART it stands for, or none"
        )
    return given.map(parts)


def _listed(names: pd.Series, place: Path) -> NDArray[Any]:
    """Return `test` for the images in the list of test images, and an empty string for the others.

    Raises:
        InputError: The list cannot be read, or names no image.
    """
    try:
        listed = {line.strip() for line in place.read_text(encoding="utf-8-sig").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.test_list={place} cannot be read: {error}") from None
    keys = {path_key(name) for name in listed}
    found = names.map(path_key).isin(keys).to_numpy()
    if not found.any():
        raise InputError(f"data.test_list={place} names no image of the table")
    if found.sum() < len(keys):
        log.warning("data.test_list=%s: %d of its names are not in the table", place, len(keys) - found.sum())
    return np.where(found, "test", "")


def _labels_in(cell: str, separator: str) -> list[str]:
    """Return the labels of a cell: separated by a separator, or in a list such as `['nodule', 'mass']`."""
    if list_in_cell(cell):
        quoted = [one or other for one, other in _QUOTED.findall(cell)]
        cell = cell[1:-1]
        if quoted:
            return [label for text in quoted if (label := text.strip())]
    return [label for part in cell.split(separator) if (label := part.strip())]


def _with_findings(
    table: pd.DataFrame, config: RadiographDataConfig, where: str, problems: dict[str, str]
) -> Listing:
    """Return the listing of images with several labels in one cell: one column of truth per finding."""
    cells = [_labels_in(cell, str(config.label_separator)) for cell in table["label"]]
    every, several = one_spelling(pd.Series([label for cell in cells for label in cell], dtype=str))
    there, spelt = sorted(set(every)), iter(every)
    held = [{next(spelt) for _ in cell} for cell in cells]
    negative = negative_of(there, config.negative)
    if config.labels is None:
        findings = [name for name in there if name != negative]
    else:
        findings = stated_labels(config.labels, there, where)
    if not findings:
        raise InputError(
            f"{where} has no finding in column {config.label_column}: {', '.join(there) or 'none'}"
        )
    truth = np.array([[name in labels for name in findings] for labels in held], dtype=np.float32)
    kind: Kind = "multilabel" if len(findings) > 1 else "binary"
    said = told_apart("label", several)
    return Listing(table.drop(columns="label"), truth, kind, tuple(findings), negative, problems, said)
