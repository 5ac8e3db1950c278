"""A CSV table from outside: every row as wide as its header, or refused; cells are text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd

from xray_tl.errors import InputError

ROW = "row"
"""Index of the table: the line of the file that a row ends on."""
_LARGEST_CELL = 2**24
_OTHER = {
    b"PK\x03\x04": "a spreadsheet (Excel, OpenDocument)",
    b"\xd0\xcf\x11\xe0": "an Excel spreadsheet",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"\x1f\x8b": "compressed (gzip)",
    b"PAR1": "Parquet",
}


def read_csv_table(place: Path, name: str, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table whose cells are text; an empty cell is an empty text, rows that hold nothing are left out.

    Args:
        place: The file: UTF-8, a comma between fields.
        name: What messages call it, such as `data.table=FILE`.
        needed: Columns that it must have, once each.

    Raises:
        InputError: It cannot be read, is no such table, lacks a column or names it twice, or has a row with
            more fields than its header; names the line.
    """
    try:
        with place.open("rb") as stream:
            head = stream.read(4)
        for magic, kind in _OTHER.items():
            if head.startswith(magic):
                raise InputError(f"{name} is {kind}: save it as CSV, in UTF-8")
        with place.open(encoding="utf-8-sig", newline="") as text:
            return _rows(text, name, needed)
    except FileNotFoundError:
        raise InputError(f"{name} does not exist") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is not in UTF-8: save it as CSV, in UTF-8") from None
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{name} is not a table: {reason}") from error


def _rows(text: TextIO, name: str, needed: Sequence[str]) -> pd.DataFrame:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(text, strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    if not any(header):
        raise InputError(f"{name} is not a table: its first line names no column")
    _check_header(header, name, needed)
    rows, lines = [], []
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if any(cell.strip() for cell in row[len(header) :]):
            raise InputError(
                f"{name} has {len(row)} fields in line {reader.line_num}, and its header {len(header)}: "
                "a field with a comma needs quotes around it"
            )
        rows.append(row[: len(header)] + [""] * (len(header) - len(row)))
        lines.append(reader.line_num)
    return pd.DataFrame(rows, columns=header, index=pd.Index(lines, name=ROW), dtype=str)


def _check_header(header: list[str], name: str, needed: Sequence[str]) -> None:
    separator = next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)
    if separator is not None:
        raise InputError(f"{name} has {separator!r} between its fields: save it with commas")
    absent = [column for column in needed if column not in header]
    if absent:
        raise InputError(
            f"{name} has no column {', '.join(absent)}; it has {', '.join(filter(None, header))}"
        )
    twice = [column for column in needed if header.count(column) > 1]
    if twice:
        raise InputError(f"{name} names column {twice[0]} twice")
