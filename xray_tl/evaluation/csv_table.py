"""A CSV file as a table, without guesses: no name is taken for a missing cell, no row is shifted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from xray_tl.errors import InputError

WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""What xlsx and xls files begin with."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What separates the cells of files that are not comma-separated."""


def read_csv_table(path: Path, what: str, names: Iterable[str]) -> pd.DataFrame:
    """Read a CSV file; only an empty cell is missing, and empty rows are passed over.

    pandas alone takes `None` and `NA` for missing, and the first column for no column of its own where every
    row has one cell more than the header.

    Args:
        path: The file, of UTF-8 with or without a mark of its byte order.
        what: What messages call it.
        names: Columns that hold names; the others hold what they look like.

    Raises:
        InputError: It cannot be read, is a workbook, no UTF-8, separated by something else than commas, has
            a column twice, or a row that is longer or shorter than the header; names the line.
    """
    text = _decoded(path, what)
    try:
        columns = _checked_columns(text, what)
        table = pd.read_csv(
            io.StringIO(text, newline=""),
            names=columns,
            header=0,
            index_col=False,
            dtype=dict.fromkeys(names, str),
            keep_default_na=False,
            low_memory=False,
        )
    except (ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{what} is not a table: {(str(error).splitlines() or [''])[0]}") from error
    empty = (table.isna() | (table == "")).all(axis=1)
    return table[~empty].reset_index(drop=True) if empty.any() else table


def _decoded(path: Path, what: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}") from error
    if content.startswith(WORKBOOKS):
        raise InputError(
            f"{what} is not a table: it is a spreadsheet's workbook or an archive; save it as CSV (UTF-8)"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{what} is not a table: line {line} is no UTF-8 text; save it as CSV (UTF-8)"
        ) from None
    if "\0" in text:
        raise InputError(f"{what} is not a table: it is no UTF-8 text; save it as CSV (UTF-8)")
    return text


def _checked_columns(text: str, what: str) -> list[str]:
    """Return the names of the columns, after a look at the length of every row.

    Rows may leave out what the header ends with that has no name.
    """
    columns: list[str] = []
    named, line = 0, 1
    rows = csv.reader(io.StringIO(text, newline=""))
    for row in rows:
        if not columns and "".join(row).strip():
            columns = _columns(row, what)
            named = max(place for place, name in enumerate(row, 1) if name.strip())
        elif len(row) > 1 and not named <= len(row) <= len(columns):
            hint = ": a cell that holds a comma stands in quotes" if len(row) > len(columns) else ""
            raise InputError(
                f"{what}, line {line}, has {len(row)} cells, and the header {len(columns)}{hint}"
            )
        elif len(row) == 1 < named and row[0].strip():
            raise InputError(f"{what}, line {line}, has 1 cell, and the header {len(columns)}")
        line = rows.line_num + 1
    if not columns:
        raise InputError(f"{what} is not a table: it is empty")
    return columns


def _columns(header: list[str], what: str) -> list[str]:
    for separator, name in SEPARATORS.items():
        if ",".join(header).count(separator) >= len(header):
            raise InputError(
                f"{what} is not a table of cells between commas: it has {name}; write 1.5, not 1,5"
            )
    columns = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    double = [name for name in columns if columns.count(name) > 1]
    if double:
        raise InputError(f"{what} has column {double[0]} twice")
    return columns
