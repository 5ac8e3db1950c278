"""The radiographs that a CSV lists: one label a row, several in a cell, or a column a label; no torch."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.data.listing import (
    COVARIATE,
    SPLIT_NAMES,
    Kind,
    Listing,
    negative_of,
    patient_of,
    root_folder,
    used_only,
    walk,
    with_classes,
)
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

UNKNOWN = ("nan", "NaN", "NA", "N/A", "NULL", "null", "None")
"""What programs write for a cell that holds nothing. A label `none` is a label."""


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
    for name in config.covariate_columns or ():
        table[f"{COVARIATE}{name}"] = frame[name].str.strip()
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
        one: Kind = "binary" if len(config.label_columns) == 1 else "multilabel"
        listing = Listing(table, truth, one, tuple(config.label_columns), None, problems)
    elif config.label_separator:
        table["label"] = frame[config.label_column].fillna("").str.strip()
        listing = _with_findings(table, config, where, problems)
    else:
        table["label"] = frame[config.label_column].fillna("").str.strip()
        for name in table["name"][table["label"] == ""]:
            problems.setdefault(name, f"no label in column {config.label_column}")
        listing = with_classes(used_only(table, config, where), config, where, problems)
    twice = listing.table["name"].duplicated()
    if twice.any():
        raise InputError(f"{where} has {listing.table['name'][twice].iloc[0]} in more than one row")
    used = set(listing.table["name"])
    return replace(listing, problems={name: why for name, why in listing.problems.items() if name in used})


def _read_table(place: Path, config: RadiographDataConfig) -> pd.DataFrame:
    labels = list(config.label_columns or [config.label_column])
    optional = [name for name in (config.patient_column, config.split_column) if name]
    wanted = list(dict.fromkeys([config.path_column, *labels, *optional, *(config.covariate_columns or ())]))
    try:
        header = pd.read_csv(place, nrows=0, encoding="utf-8-sig")
        absent = [name for name in wanted if name not in header]
        if absent:
            raise InputError(
                f"data.table={place} has no column {', '.join(absent)}; it has {', '.join(map(str, header))}"
            )
        table = pd.read_csv(place, usecols=wanted, dtype=str, encoding="utf-8-sig", keep_default_na=False)
        named = [name for name in wanted if name != config.path_column]
        return table.assign(**{name: table[name].replace(list(UNKNOWN), "") for name in named})
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
        listed = {line.strip() for line in place.read_text(encoding="utf-8-sig").splitlines()} - {""}
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
            known[folder] = {entry.name for entry in os.scandir(folder) if _is_file(entry)}
        except OSError:
            known[folder] = set()
    return known[folder]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


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
