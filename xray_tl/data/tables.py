"""The radiographs that a CSV lists: one label a row, several in a cell, or a column a label; no torch."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.csv_table import read_csv_table
from xray_tl.data.listing import (
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
from xray_tl.data.locate import locate, search
from xray_tl.data.names import find_name, one_spelling, part_of_split, spelling_key
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

UNKNOWN = ("nan", "NaN", "NA", "N/A", "NULL", "null", "None")
"""What programs write for a cell that holds nothing. A label `none` is a label."""
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def list_table(config: RadiographDataConfig) -> Listing:
    """List the images of a CSV.

    Raises:
        InputError: The table cannot be read, lacks a column, or has a label that cannot be used.
    """
    root = root_folder(config)
    place = root / str(config.table)
    where = f"data.table={place}"
    frame = _read_table(place, config)
    table, problems = _rows(frame, config, root, where)
    if config.label_columns:
        truth = _known(frame[list(config.label_columns)], where)
        one: Kind = "binary" if len(config.label_columns) == 1 else "multilabel"
        listing = Listing(table, truth, one, tuple(config.label_columns), None, problems)
    else:
        table["label"] = frame[config.label_column].to_numpy()
        for name in table["name"][(table["label"] == "") | (table["label"] == "[]")]:
            problems.setdefault(name, f"no label in column {config.label_column}")
        several = config.label_separator is not None
        listing = (_with_findings if several else with_classes)(table, config, where, problems)
    _check_once(listing, table, frame, where)
    used = set(listing.table["name"])
    return replace(listing, problems={name: why for name, why in listing.problems.items() if name in used})


def _rows(
    frame: pd.DataFrame, config: RadiographDataConfig, root: Path, where: str
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return name, split, patient, path and covariates of every row, and which cannot be used, and why."""
    lines = [f"line {line}" for line in frame.index]
    bare = frame[config.path_column].reset_index(drop=True)
    table = pd.DataFrame({"name": bare.where(bare != "", lines)})
    table["split"] = _given_splits(frame, config, where) if config.split_column else ""
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
    """Read the columns that are used, as text without spaces around it."""
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
    """Return 0, 1, or NaN where a label is uncertain or not known [N, T]."""
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


def _check_once(listing: Listing, table: pd.DataFrame, frame: pd.DataFrame, where: str) -> None:
    """Refuse an image in two rows, however its name is spelt there."""
    usable = listing.table[~listing.table["name"].isin(listing.problems)]
    twice = usable[usable["path"].duplicated(keep=False)]
    if len(twice):
        path = twice["path"].iloc[0]
        lines = frame.index[(table["path"] == path).to_numpy()]
        raise InputError(
            f"{where} has {twice['name'].iloc[0]} in more than one row (lines {lines[0]} and {lines[1]})"
        )


def _given_splits(frame: pd.DataFrame, config: RadiographDataConfig, where: str) -> list[str]:
    given = frame[str(config.split_column)]
    parts = {value: part_of_split(value, config.split_names) for value in set(given)}
    for stated in config.split_names or {}:
        if find_name(stated, parts) is None:
            raise InputError(
                f"data.split_names has {stated}, which is no value of column {config.split_column} of {where}"
            )
    unknown = sorted(value for value, part in parts.items() if part is None)
    if unknown:
        raise InputError(
            f"{where} has {unknown[0]!r} in column {config.split_column}: train, val or test is valid, or "
            f"data.split_names={{{unknown[0]}: test}} says what it stands for"
        )
    return [str(parts[value]) for value in given]


def _listed(names: pd.Series, place: Path) -> NDArray[Any]:
    """Return `test` for the images that a list names, and nothing for the others.

    Raises:
        InputError: The list cannot be read, or names no image.
    """
    try:
        listed = {line.strip() for line in place.read_text(encoding="utf-8-sig").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"data.test_list={place} cannot be read: {error}") from None
    keys = {spelling_key(name) for name in listed}
    found = names.map(spelling_key).isin(keys).to_numpy()
    if not found.any():
        raise InputError(f"data.test_list={place} names no image of the table")
    if found.sum() < len(keys):
        log.warning("data.test_list=%s: %d of its names are not in the table", place, len(keys) - found.sum())
    return np.where(found, "test", "")


def _labels_in(cell: str, separator: str) -> list[str]:
    """Return the labels of a cell: separated, or a list such as `['nodule', 'mass']`."""
    if list_in_cell(cell):
        quoted = [one or other for one, other in _QUOTED.findall(cell)]
        cell = cell[1:-1]
        if quoted:
            return [label for text in quoted if (label := text.strip())]
    return [label for part in cell.split(separator) if (label := part.strip())]


def _with_findings(
    table: pd.DataFrame, config: RadiographDataConfig, where: str, problems: dict[str, str]
) -> Listing:
    """Several labels an image, in one cell: one column of truth a finding."""
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
