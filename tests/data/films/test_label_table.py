"""Radiographs that a CSV lists."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.films.radiograph_files import touch
from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.label_table import list_table
from xray_tl.errors import InputError

BASE = RadiographDataConfig(name="folder", root="")


def _table(root: Path, text: str, **options: object) -> RadiographDataConfig:
    (root / "labels.csv").write_text(text)
    return replace(BASE, name="csv", layout="table", root=str(root), table="labels.csv", **options)


def test_a_table_with_one_label_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "images/2.png", "images/3.png")
    rows = ["images/1.png,A,Healthy,train", "images/2.png,A,TB,train", "images/3.png,B,TB,test"]
    text = "\n".join(["file,who,diagnosis,part", *rows])
    columns = {
        "path_column": "file",
        "label_column": "diagnosis",
        "patient_column": "who",
        "split_column": "part",
    }
    found = list_table(_table(tmp_path, text, **columns))
    assert (found.kind, found.targets, found.negative) == ("binary", ("TB",), "Healthy")
    assert found.table["patient"].tolist() == ["A", "A", "B"]
    assert found.table["split"].tolist() == ["train", "train", "test"]
    assert not found.problems


def test_the_layout_of_chest_x_ray_14(tmp_path: Path) -> None:
    names = ["00000001_000.png", "00000001_001.png", "00000002_000.png", "00000003_000.png"]
    touch(tmp_path, *(f"images_00{1 + k % 2}/images/{name}" for k, name in enumerate(names)))
    findings = ["Cardiomegaly|Effusion", "No Finding", "Effusion", "Hernia"]
    rows = [f"{name},{found},{int(name[:8])}" for name, found in zip(names, findings, strict=True)]
    (tmp_path / "test_list.txt").write_text("00000003_000.png\n")
    nih = {
        "path_column": "Image Index",
        "search": True,
        "label_column": "Finding Labels",
        "label_separator": "|",
        "negative": "No Finding",
        "patient_column": "Patient ID",
        "test_list": "test_list.txt",
    }
    text = "\n".join(["Image Index,Finding Labels,Patient ID", *rows])
    found = list_table(_table(tmp_path, text, **nih))
    assert (found.kind, found.targets) == ("multilabel", ("Cardiomegaly", "Effusion", "Hernia"))
    assert found.truth.tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found.table["split"].tolist() == ["", "", "", "test"]
    assert found.table["path"].iloc[1] == str(tmp_path / "images_002" / "images" / names[1])
    one = list_table(_table(tmp_path, text, **nih, labels=["Effusion"]))
    assert (one.kind, one.truth[:, 0].tolist()) == ("binary", [1, 0, 1, 0])


def test_what_programs_write_for_nothing_is_nothing(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(4)))
    text = "path,label,who\n0.png,a,nan\n1.png,b,NA\n2.png,nan,x\n3.png,none,y\n"
    found = list_table(_table(tmp_path, text, patient_column="who"))
    assert found.table["patient"].tolist() == ["", "", "x", "y"]
    assert found.problems == {"2.png": "no label in column label"}
    assert set(found.targets) == {"a", "b", "none"}, "none is a label"


def test_one_column_of_labels_is_binary(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    found = list_table(_table(tmp_path, "path,Edema\n1.png,1\n2.png,0\n", label_columns=["Edema"]))
    assert (found.kind, found.targets) == ("binary", ("Edema",))


def test_a_link_to_itself_spoils_no_other_file(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    found = list_table(_table(tmp_path, "path,label\n1.png,a\n2.png,b\nloop.png,a\n"))
    assert found.problems == {"loop.png": "no such file"}


def test_a_list_of_test_images_may_begin_with_a_mark(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    (tmp_path / "list.txt").write_bytes("\ufeff1.png\n".encode())
    found = list_table(_table(tmp_path, "path,label\n1.png,a\n2.png,b\n", test_list="list.txt"))
    assert found.table["split"].tolist() == ["test", ""]


def test_columns_of_labels_may_be_uncertain(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    text = "path,Edema,Mass\n1.png,1.0,\n2.png,-1,0\n3.png,0,1\n"
    found = list_table(_table(tmp_path, text, label_columns=["Edema", "Mass"]))
    assert found.kind == "multilabel"
    assert np.array_equal(found.truth, [[1, np.nan], [np.nan, 0], [0, 1]], equal_nan=True)
    wrong = text.replace("-1,0", "2,0")
    with pytest.raises(InputError, match=r"has '2' in line 3 of column Edema: 0, 1, -1"):
        list_table(_table(tmp_path, wrong, label_columns=["Edema", "Mass"]))


def test_rows_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "1.png", "2.png", "3.png")
    touch(tmp_path, "secret.png")
    text = "path,label\n1.png,a\n2.png,\n../secret.png,b\n/etc/hostname,b\ngone.png,b\n3.png,b\n"
    found = list_table(_table(root, text))
    assert found.problems == {
        "2.png": "no label in column label",
        "../secret.png": "its path lies outside data.root",
        "/etc/hostname": "its path lies outside data.root",
        "gone.png": "no such file",
    }


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("path,class\n1.png,a\n", {}, "has no column label; it has path, class"),
        ("path,label\n1.png,a\n1.png,b\n", {}, r"has 1\.png in more than one row"),
        ("path,label\n1.png,a\n", {}, "found only a"),
        (
            "path,label,split\n1.png,a,train\n2.png,b,holdout\n",
            {"split_column": "split"},
            "'holdout' in column split",
        ),
        (
            "path,label\n1.png,a\n2.png,b\n",
            {"negative": "c"},
            r"data\.negative=c is no label: choose from a, b",
        ),
        ("", {}, "is not a table"),
    ],
)
def test_a_wrong_table_is_said(tmp_path: Path, text: str, options: dict[str, object], message: str) -> None:
    touch(tmp_path, "1.png", "2.png")
    with pytest.raises(InputError, match=message):
        list_table(_table(tmp_path, text, **options))


def test_an_absent_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.table=.*labels\.csv does not exist"):
        list_table(replace(BASE, root=str(tmp_path), layout="table", table="labels.csv"))


@pytest.mark.parametrize(
    "cells",
    [
        ("['nodule', 'mass']", "['normal']", "['nodule']"),
        ('["nodule", "mass"]', "['normal']", "('nodule', 'nodule')"),
        ("['nodule' 'mass']", "[normal]", "[nodule]"),
        ("[nodule, mass]", "[normal]", "[nodule]"),
        ("nodule, mass", "normal", "nodule"),
        ("['Nodule', ' mass ']", "['NORMAL']", "['nodule']"),
    ],
)
def test_a_list_in_a_cell_is_several_labels(tmp_path: Path, cells: tuple[str, ...]) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    rows = [f'{k}.png,"{cell.replace(chr(34), chr(34) * 2)}"' for k, cell in enumerate(cells, 1)]
    text = "\n".join(["path,label", *rows])
    found = list_table(_table(tmp_path, text, label_separator=","))
    order = np.argsort([name.lower() for name in found.targets])
    assert [found.targets[place].lower() for place in order] == ["mass", "nodule"]
    assert found.truth[:, order].tolist() == [[1, 1], [0, 0], [0, 1]]
    if cells[0].startswith("["):
        with pytest.raises(InputError, match=r"has a list in column label, .*data\.label_separator=','"):
            list_table(_table(tmp_path, text))


def test_an_empty_list_is_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    text = "path,label\n1.png,['a']\n2.png,['b']\n3.png,[]\n"
    found = list_table(_table(tmp_path, text, label_separator=","))
    assert found.problems == {"3.png": "no label in column label"}


@pytest.mark.parametrize("values", [("-1", "0", "1"), ("-1.0", "0.0", "1.0"), ("-1.0", "", "1.0")])
def test_uncertain_labels_are_no_class(tmp_path: Path, values: tuple[str, ...]) -> None:
    touch(tmp_path, "0.png", "1.png", "2.png")
    text = "path,Edema\n" + "".join(f"{k}.png,{value}\n" for k, value in enumerate(values))
    hint = r"in column Edema: data\.label_columns=\[Edema\] takes -1 for uncertain"
    with pytest.raises(InputError, match=hint):
        list_table(_table(tmp_path, text, label_column="Edema"))
    if "" not in values:
        chosen = list_table(_table(tmp_path, text, label_column="Edema", labels=["0", "1"]))
        assert len(chosen.table) == 2


def test_numbers_in_several_spellings_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png", "4.png")
    found = list_table(_table(tmp_path, "path,label\n1.png,0\n2.png,0.0\n3.png,1\n4.png,1.0\n"))
    assert (found.kind, found.truth[:, 0].tolist()) == ("binary", [0, 0, 1, 1])
    assert found.spellings == ("label '0' = '0.0'", "label '1' = '1.0'")


def test_rows_of_nothing_are_passed_over_and_one_without_a_path_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    found = list_table(_table(tmp_path, "path,label\n1.png,a\n,\n,\n\n2.png,b\n ,b\n"))
    assert found.table["name"].tolist() == ["1.png", "2.png", "line 7"]
    assert found.problems == {"line 7": "no path in column path"}


def test_one_file_under_two_spellings_is_in_two_rows(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/2.png")
    with pytest.raises(InputError, match=r"in more than one row \(lines 2 and 4\)"):
        list_table(_table(tmp_path, "path,label\na/1.png,a\na/2.png,b\nA\\1.PNG,b\n"))


def test_values_of_the_split_are_known_in_many_spellings_or_stated(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    text = "path,label,part\n1.png,a,Training\n2.png,b,dev\n3.png,b,holdout\n"
    found = list_table(_table(tmp_path, text, split_column="part", split_names=["Holdout:test"]))
    assert found.table["split"].tolist() == ["train", "val", "test"]
    with pytest.raises(InputError, match=r"data\.split_names=\[holdout:PART\] says which PART"):
        list_table(_table(tmp_path, text, split_column="part"))
    empty = text.replace("dev", "")
    with pytest.raises(InputError, match=r"has nothing in column part of line 3"):
        list_table(_table(tmp_path, empty, split_column="part", split_names=["Holdout:test"]))
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=r"data\.split_names has x, which is no value of column part"):
        list_table(_table(tmp_path, text, split_column="part", split_names=["x:test"]))


@pytest.mark.parametrize("line", ["3.png,b,extra", "3.png,b, with a comma,"])
def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path: Path, line: str) -> None:
    touch(tmp_path, "1.png", "2.png", "3.png")
    with pytest.raises(InputError, match=r"line 4, has [34] cells, and the header 2"):
        list_table(_table(tmp_path, f"path,label\n1.png,a\n2.png,b\n{line}\n"))
