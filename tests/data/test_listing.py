"""Which radiographs a data set has."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.radiograph_files import films, touch, write_dicom, write_png8
from xray_tl.config import RadiographDataConfig
from xray_tl.data.folders import list_folder
from xray_tl.data.listing import walk
from xray_tl.errors import InputError

BASE = RadiographDataConfig(name="folder", root="")


def test_class_folders_are_a_binary_target_whose_positive_is_not_normal(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "TB/1_0.png",
        "TB/2_0.JPG",
        "normal/3_0.tif",
        "normal/notes.txt",
        "normal/.DS_Store",
        "top.png",
    )
    found = list_folder(replace(BASE, root=str(tmp_path), patient_regex="^([0-9]+)_"))
    assert (found.kind, found.targets, found.negative) == ("binary", ("TB",), "normal")
    assert found.table["name"].tolist() == ["TB/1_0.png", "TB/2_0.JPG", "normal/3_0.tif"]
    assert found.truth[:, 0].tolist() == [1, 1, 0]
    assert found.table["patient"].tolist() == ["1", "2", "3"]
    assert set(found.table["split"]) == {""}
    turned = list_folder(replace(BASE, root=str(tmp_path), negative="TB"))
    assert turned.targets == ("normal",)


def test_a_patient_may_be_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/patient01/view1.png", "b/patient02/view1.png")
    found = list_folder(replace(BASE, root=str(tmp_path), patient_regex="patient([0-9]+)"))
    assert found.table["patient"].tolist() == ["01", "02"]


def test_folders_of_splits_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "valid/a/3.png", "test/b/4.png", "other/a/5.png")
    touch(tmp_path, "train/7.png", "train/a/notes.txt")
    with caplog.at_level("WARNING"):
        found = list_folder(replace(BASE, root=str(tmp_path)))
    assert found.table["split"].tolist() == ["test", "train", "train", "val"]
    assert found.targets == ("b",)
    said, _ = caplog.messages
    counts = {"1 of other kinds", "1 outside the folders of the split", "1 in no class folder"}
    assert set(said.split("passed over: ")[1].split(", ")) == counts


def test_more_classes_are_one_hot_and_can_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    found = list_folder(replace(BASE, root=str(tmp_path)))
    assert (found.kind, found.targets) == ("multiclass", ("a", "b", "c"))
    assert np.array_equal(found.truth, np.eye(3))
    two = list_folder(replace(BASE, root=str(tmp_path), labels=["c", "a"], negative="c"))
    assert (two.kind, two.targets, len(two.table)) == ("binary", ("a",), 2)
    with pytest.raises(InputError, match=r"data\.labels=\['d'\]: .* has no d; it has a, b, c"):
        list_folder(replace(BASE, root=str(tmp_path), labels=["d"]))


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.png")
    root = touch(tmp_path / "root", "b/2.png")
    (root / "a").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "loop").symlink_to(root)
    found = list_folder(replace(BASE, root=str(root)))
    assert found.table["name"].tolist() == ["a/1.png", "b/2.png"]


def test_names_may_be_long_and_in_any_script(tmp_path: Path) -> None:
    long = "胸部レントゲン" * 10 + " \"quoted\", 'too'.png"
    touch(tmp_path, f"Ö/{long}", "normal/1.png")
    assert f"Ö/{long}" in list_folder(replace(BASE, root=str(tmp_path))).table["name"].tolist()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.png"], "two classes at least, in one folder a class: found only a"),
        (["1.png"], "found none"),
        ([], "found none"),
    ],
)
def test_too_few_classes_are_said(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list_folder(replace(BASE, root=str(touch(tmp_path, *names))))


def test_a_root_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root=.*no is not a folder"):
        list_folder(replace(BASE, root=str(tmp_path / "no")))


def test_a_dicom_file_needs_no_suffix(tmp_path: Path) -> None:
    grey = films(1)[0][0]
    for place in ("a/1.2.840.1", "b/IM0001"):
        (tmp_path / place).parent.mkdir()
        write_dicom(tmp_path / place, grey)
        next((tmp_path / place).parent.glob("*.dcm")).rename(tmp_path / place)
    (tmp_path / "b" / "README").write_text("none")
    assert list_folder(replace(BASE, root=str(tmp_path))).table["name"].tolist() == [
        "a/1.2.840.1",
        "b/IM0001",
    ]


def test_pictures_are_not_read_to_be_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_png8(tmp_path / name / "1", films(1)[0][0])
        (tmp_path / name / "broken.png").write_text("none")
    assert len(list_folder(replace(BASE, root=str(tmp_path))).table) == 4


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    scandir = os.scandir

    def refuse(place: str) -> object:
        if str(place).endswith("b"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    problems: dict[str, str] = {}
    assert [path.name for path in walk(tmp_path, problems)] == ["1.png"]
    assert problems == {str(tmp_path / "b"): "Permission denied"}
