"""Strict reading of CSV files: only empty cells count as missing, and malformed rows are errors."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from xray_tl.errors import InputError

WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""First bytes of xlsx and xls files."""
LARGEST_CELL = 2**26
"""Largest number of characters in a cell: masks are written as long lists of numbers."""
BLANK = 0
"""Line number that stands for an empty row."""
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators, and their names, of files that are not comma-separated."""


def read_csv_table(
    path: Path, what: str, names: Iterable[str] | None = None, needed: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV file; only empty cells count as missing, and empty rows are skipped.

    The index is the line of the file at which each row ends.

    By default pandas would read `None` and `NA` as missing, and would use the first column as the index if
    every row has one cell more than the header.

    Args:
        path: The file: UTF-8, with or without a byte order mark.
        what: Name of the file in messages.
        names: Columns that hold text, in which an empty cell is an empty string; the types of the others are
            inferred. `None`: all columns hold text.
        needed: Columns that the file must have.

    Raises:
        InputError: The file cannot be read, is a spreadsheet, is not UTF-8, is not separated by commas, lacks
            a column or has it twice, or has a row longer or shorter than the header; names the line.
    """
    text = _decoded(path, what)
    try:
        columns, header, lines = _checked(text, what, needed)
        table = pd.read_csv(
            io.StringIO(text, newline=""),
            names=columns,
            header=None,
            skiprows=header,
            skip_blank_lines=False,
            index_col=False,
            dtype=str if names is None else dict.fromkeys(names, str),
            keep_default_na=False,
            low_memory=False,
        )
    except ValueError as error:  # includes pandas' parser errors
        raise InputError(f"{what} is not a table: {(str(error).splitlines() or [''])[0]}") from error
    if len(table) != len(lines):
        raise InputError(f"{what} is not a table: its quotes do not match")
    table.index = pd.Index(lines)
    table = table.fillna("") if names is None else table
    return table[table.index != BLANK] if BLANK in lines else table


def _decoded(path: Path, what: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{what} does not exist") from None
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


def _checked(text: str, what: str, needed: Sequence[str]) -> tuple[list[str], int, list[int]]:
    """Return the names of the columns, the line at which the header ends, and the last line of every row.

    Rows may lack the cells after the last needed column or, if `needed` is empty, after the last column that
    has a name: spreadsheets cut off empty cells.
    """
    columns: list[str] = []
    lines: list[int] = []
    least = header = begins = 0
    csv.field_size_limit(LARGEST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            if columns:
                _check_row(row, least, columns, f"{what}, line {begins}")
                lines.append(rows.line_num if "".join(row).strip() else BLANK)
            elif "".join(row).strip():
                columns, header = _columns(row, what, needed), rows.line_num
                names = [name.strip() for name in row]
                wanted = needed or [name for name in names if name]
                least = max(place for place, name in enumerate(names, 1) if name in wanted)
            begins = rows.line_num + 1
    except csv.Error as error:
        raise InputError(f"{what} is not a table: line {begins}: {error}") from error
    if not columns:
        raise InputError(f"{what} is not a table: it is empty")
    return columns, header, lines


def _check_row(row: list[str], least: int, columns: list[str], where: str) -> None:
    if len(row) > 1 and not least <= len(row) <= len(columns):
        hint = ": a cell that holds a comma stands in quotes" if len(row) > len(columns) else ""
        if hint and not "".join(row[len(columns) :]).strip():
            hint = ": it ends in a comma more, or a cell before holds one and stands in no quotes"
        raise InputError(f"{where}, has {len(row)} cells, and the header {len(columns)}{hint}")
    if len(row) == 1 < least and row[0].strip():
        raise InputError(f"{where}, has 1 cell, and the header {len(columns)}")


def _columns(header: list[str], what: str, needed: Sequence[str]) -> list[str]:
    for separator, name in SEPARATORS.items():
        if ",".join(header).count(separator) >= len(header):
            raise InputError(
                f"{what} is not a table of cells between commas: it has {name}; save it with commas"
            )
    columns = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    absent = [name for name in needed if name not in columns]
    if absent:
        raise InputError(f"{what} has no column {', '.join(absent)}; it has {', '.join(columns)}")
    double = [name for name in needed or columns if columns.count(name) > 1]
    if double:
        raise InputError(f"{what} has column {double[0]} twice")
    first = dict(zip(reversed(columns), reversed(range(len(columns))), strict=True))
    return [
        name if first[name] == place else f"{name} (column {place + 1})" for place, name in enumerate(columns)
    ]
