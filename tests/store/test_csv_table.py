"""Tables from outside: what is a name stays one, and no row is shifted."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xray_tl.errors import InputError
from xray_tl.statistics.comparison import read_scores
from xray_tl.store.csv_table import read_csv_table
from xray_tl.store.records import SPLIT
from xray_tl.study.saved_predictions import read_patients

HEADER = "reader,treatment,case,truth,rating"


def _lines(readers: tuple[str, ...] = ("1", "2"), treatments: tuple[str, ...] = ("A", "B")) -> list[str]:
    rng = np.random.default_rng(0)
    return [HEADER] + [
        f"{reader},{treatment},c{case},{case % 2},{rng.normal():.3f}"
        for reader in readers
        for treatment in treatments
        for case in range(6)
    ]


def _write(folder: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / "scores.csv"
    path.write_bytes(end.join(lines).encode(encoding))
    return path


NAMES = ("None", "NA", "nan", "null", "N/A", "NaN", "-1")


def test_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    study = read_scores(_write(tmp_path, _lines(NAMES, NAMES)))
    assert set(study.readers) == set(NAMES)
    assert set(study.treatments) == set(NAMES)


@pytest.mark.parametrize("column", ["case", "target", "fold", "patient"])
def test_a_name_may_look_like_nothing_in_every_column(column: str, tmp_path: Path) -> None:
    lines = _lines()
    if column == "case":
        more = [line.replace(",c0,", ",NA,").replace(",c1,", ",None,") for line in lines]
    else:
        more = [f"{lines[0]},{column}", *(f"{line},{('NA', 'None')[column == 'fold']}" for line in lines[1:])]
    if column == "patient":
        more[1:] = [line if ",c0," in line else line.removesuffix("NA") for line in more[1:]]
    study = read_scores(_write(tmp_path, more))
    assert (study.cases, study.patients, len(study.strata)) == (6, 6, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,,c0,0,0.5", r"has a row without treatment \(row 1, 1 such rows\)"),
        (",A,c0,0,0.5", "has a row without reader"),
        ("1,A, ,0,0.5", "has a row without case"),
        ("1,A,c0,0,", r"has rating nothing \(row 1, 1 such rows\): it must be a finite number"),
        ("1,A,c0,,0.5", r"has truth nothing \(row 1, 1 such rows\): it must be a finite number"),
        ("1,A,c0,0,NA", r"has rating NA \(row 1, 1 such rows\): it must be a finite number"),
        ("1,A,c0,0,nan", "has rating nan"),
        ("1,A,c0,none,0.5", "has truth none"),
        ("1,A,c0,0,high", "has rating high"),
        (
            "1,A,c0,x,0,0.5",
            r"line 2, has 6 cells, and the header 5: a cell that holds a comma stands in quotes",
        ),
        ("1,A,c0,0,0.5,", "line 2, has 6 cells"),
        ("1,A,c0,0", "line 2, has 4 cells, and the header 5$"),
        ("1;A;c0;0;0.5", "line 2, has 1 cell, and the header 5$"),
    ],
)
def test_a_row_that_is_none_is_named(line: str, message: str, tmp_path: Path) -> None:
    lines = _lines()
    lines[1] = line
    with pytest.raises(InputError, match=rf"scores=\S+scores\.csv,? {message}"):
        read_scores(_write(tmp_path, lines))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("all too long", "line 2, has 6 cells, and the header 5"),
        ("all end in a comma", "line 2, has 6 cells, and the header 5"),
        ("later", "line 9, has 6 cells, and the header 5"),
        ("after a cell of two lines", "line 10, has 7 cells, and the header 6"),
        ("semicolons", "is not a table of cells between commas: it has semicolons"),
        ("tabs", "is not a table .* it has tabs"),
        ("twice", "has column rating twice"),
        ("empty", "is not a table: it is empty"),
        ("header alone", "has no rows"),
    ],
)
def test_a_table_that_would_be_shifted_is_refused_with_the_line(
    kind: str, message: str, tmp_path: Path
) -> None:
    lines = _lines()
    match kind:
        case "all too long":
            lines[1:] = [line.replace(",c", ",c,") for line in lines[1:]]
        case "all end in a comma":
            lines[1:] = [f"{line}," for line in lines[1:]]
        case "later":
            lines[8] = lines[8].replace(",c", ",c,")
        case "after a cell of two lines":
            lines = [f"{lines[0]},note", *(f"{line},a" for line in lines[1:])]
            lines[3] = lines[3].removesuffix("a") + '"a\nb"'
            lines[8] += ",c"
        case "semicolons" | "tabs":
            lines = [line.replace(",", ";" if kind == "semicolons" else "\t") for line in lines]
        case "twice":
            lines = [f"{lines[0]},rating", *(f"{line},0.5" for line in lines[1:])]
        case "empty":
            lines = ["", " "]
        case "header alone":
            lines = lines[:1]
    with pytest.raises(InputError, match=rf"scores=\S+scores\.csv,? {message}"):
        read_scores(_write(tmp_path, lines))


@pytest.mark.parametrize("kind", ["utf-16", "latin-1", "workbook", "folder"])
def test_a_file_that_is_no_text_is_refused(kind: str, tmp_path: Path) -> None:
    lines = _lines(treatments=("Müller", "B"))
    if kind == "workbook":
        (tmp_path / "scores.csv").write_bytes(b"PK\x03\x04" + bytes(range(256)))
    elif kind == "folder":
        (tmp_path / "scores.csv").mkdir()
    else:
        _write(tmp_path, lines, kind)
    message = {"workbook": "is not a table: it is a spreadsheet's workbook", "folder": "is not a file"}.get(
        kind, r"is not a table: line \d is no UTF-8 text"
    )
    with pytest.raises(InputError, match=rf"scores\.csv {message}"):
        read_scores(tmp_path / "scores.csv")


@pytest.mark.parametrize(
    "kind",
    ["mark", "blank", "cleared", "end", "spaces", "quotes", "unnamed", "unnamed left out", "windows", "mac"],
)
def test_the_same_table_in_another_dress_is_read_alike(kind: str, tmp_path: Path) -> None:
    expected = read_scores(_write(tmp_path, _lines()))
    lines, encoding, end = _lines(), "utf-8", "\n"
    match kind:
        case "mark":
            encoding = "utf-8-sig"
        case "blank":
            lines = ["", lines[0], "", *lines[1:4], "", "  ", *lines[4:], ""]
        case "cleared":  # as spreadsheets leave them
            lines = [*lines[:4], ",,,,", *lines[4:], ",,,,"]
        case "spaces":
            lines = [line.replace(",", " , ") for line in lines]
        case "quotes":
            lines = [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]
        case "unnamed":
            lines = [f"{line}," for line in lines]
        case "unnamed left out":
            lines[0] += ",,"
        case "windows" | "mac":
            end = "\r\n" if kind == "windows" else "\r"
    found = read_scores(_write(tmp_path, lines, encoding, end))
    assert (found.readers, found.treatments) == (expected.readers, expected.treatments)
    np.testing.assert_array_equal(found.rating, expected.rating)
    np.testing.assert_array_equal(found.truth, expected.truth)


def test_names_that_differ_in_capitals_alone_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = read_scores(_write(tmp_path, _lines(treatments=("ResNet50", "resnet50", "B"))))
    assert study.treatments == ("ResNet50", "resnet50", "B")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "treatments ResNet50 and resnet50 differ in capitals alone" in record.getMessage()


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    (tmp_path / "a.csv").write_text(f"name,value\nNA,{value!r}\n")
    table = read_csv_table(tmp_path / "a.csv", "a", ("name",))
    assert table["name"].tolist() == ["NA"]
    assert table["value"].tolist() == pytest.approx([value], rel=1e-15)


def test_a_patient_of_a_run_may_be_called_na(tmp_path: Path) -> None:
    pd.DataFrame({"name": ["a", "None"], "patient": ["NA", ""]}).to_csv(tmp_path / SPLIT, index=False)
    assert read_patients(tmp_path) == {"a": "NA"}
