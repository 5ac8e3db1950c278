"""Which folder is a class, which a part of a split, which neither; two readings are never guessed between."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import compose_config
from tests.data.films.radiograph_files import films, touch, write_dicom, write_png8
from xray_tl.config import RadiographDataConfig, typed
from xray_tl.data.films.folders import list_folder
from xray_tl.data.films.listing import Listing
from xray_tl.data.films.names import as_option, stated_parts
from xray_tl.errors import InputError

BASE = RadiographDataConfig(name="folder", root="")


def _list(root: Path, *names: str, **options: object) -> Listing:
    return list_folder(replace(BASE, root=str(touch(root, *names)), **options))


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
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "valid/a/3.png", "test/b/4.png", "other/c/5.png")
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


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Training", "dev", "Testing"), ("trainset", "validate", "testset"), ("TRAIN", "Valid", "tests")],
)
def test_parts_of_a_split_have_many_names(tmp_path: Path, train: str, val: str, test: str) -> None:
    names = [f"{part}/{label}/{part}{label}.png" for part in (train, val, test) for label in ("a", "b")]
    found = _list(tmp_path, *names)
    assert set(zip(found.table["name"].str.split("/").str[0], found.table["split"], strict=True)) == {
        (train, "train"),
        (val, "val"),
        (test, "test"),
    }
    assert found.targets == ("b",)


def test_parts_may_lie_below_the_classes(tmp_path: Path) -> None:
    found = _list(tmp_path, "a/train/1.png", "a/test/2.png", "b/train/3.png", "b/test/4.png")
    assert found.table["split"].tolist() == ["test", "train", "test", "train"]
    assert found.truth[:, 0].tolist() == [0, 0, 1, 1]


def test_folders_that_may_be_parts_or_classes_are_not_guessed(tmp_path: Path) -> None:
    names = [f"{cohort}/{label}/1.png" for cohort in ("Boston", "Basel") for label in ("TB", "normal")]
    with pytest.raises(
        InputError,
        match=r"Boston hold TB and normal.*=\[Basel:PART,Boston:PART\] says",
    ):
        _list(tmp_path, *names)
    stated = _list(tmp_path, split_names=["boston:train", "basel:test"])
    assert stated.table["split"].tolist() == ["test", "test", "train", "train"]
    assert stated.targets == ("TB",)
    every = _list(tmp_path, subfolders=["*"])
    assert (every.targets, set(every.table["split"])) == (("Boston",), {""})
    with pytest.raises(InputError, match=r"data\.split_names has Bern, which is no folder"):
        _list(tmp_path, split_names=["Bern:test"])


@pytest.mark.parametrize("masks", ["masks", "Mask", "lung_masks", "Segmentation", "annotations", "GT"])
def test_masks_are_no_films_unless_so_said(tmp_path: Path, masks: str) -> None:
    names = [f"{label}/{kind}/1.png" for label in ("COVID", "Normal") for kind in ("images", masks)]
    with pytest.raises(InputError, match=rf"hold .*{masks}.*data\.subfolders=\[images\]"):
        _list(tmp_path, *names)
    assert len(_list(tmp_path, subfolders=["images"]).table) == 2
    assert len(_list(tmp_path, subfolders=["*"]).table) == 4
    with pytest.raises(InputError, match=r"no folder of COVID, Normal fits; choose from"):
        _list(tmp_path, subfolders=["films"])


def test_masks_beside_the_classes_are_no_class(tmp_path: Path) -> None:
    names = ["COVID/1.png", "normal/2.png", "masks/1.png"]
    with pytest.raises(InputError, match=r"is masks a class.*data\.labels=\[COVID,normal\] leaves it"):
        _list(tmp_path, *names)
    assert _list(tmp_path, labels=["COVID", "normal"]).targets == ("COVID",)
    assert len(_list(tmp_path, labels=["COVID", "normal", "masks"]).targets) == 3


def test_other_sub_folders_are_films_as_before(tmp_path: Path) -> None:
    one = _list(tmp_path / "one", "a/images/1.png", "b/images/2.png")
    patients = _list(tmp_path / "two", *(f"{c}/patient{k}/1.png" for c in "ab" for k in range(3)))
    assert (len(one.table), len(patients.table)) == (2, 6)


def test_classes_spelt_differently_are_one_and_said(tmp_path: Path) -> None:
    names = ["train/Normal/1.png", "train/TB/2.png", "train/TB/3.png", "test/NORMAL/4.png", "test/tb/5.png"]
    found = _list(tmp_path, *names)
    assert (found.kind, found.targets, found.negative) == ("binary", ("TB",), "NORMAL")
    assert found.truth[:, 0].tolist() == [0, 1, 0, 1, 1]
    assert found.spellings == ("label 'NORMAL' = 'Normal'", "label 'TB' = 'tb'")
    stated = _list(tmp_path, labels=["Tb", "normal"], negative="TB")
    assert stated.targets == ("NORMAL",)


def test_a_name_that_is_no_text_is_the_films_own_problem(tmp_path: Path) -> None:
    bad = (b"a/caf\xe9.png").decode("utf-8", "surrogateescape")
    found = _list(tmp_path, "a/1.png", "b/2.png", bad)
    assert found.problems == {"a/caf\\udce9.png": "its name is not in UTF-8: rename it"}


def test_a_directory_of_dicom_files_is_passed_over(tmp_path: Path) -> None:
    grey = films(1)[0][0]
    for name in ("a/DICOMDIR", "a/IM1", "b/IM2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_dicom(tmp_path / name, grey)
        (tmp_path / f"{name}.dcm").rename(tmp_path / name)
    assert _list(tmp_path).table["name"].tolist() == ["a/IM1", "b/IM2"]


def test_the_folder_of_the_classes_is_hinted_at(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found only films \(is data\.root=\S+films the folder of"):
        _list(tmp_path, "films/a/1.png", "films/b/2.png")


@pytest.mark.parametrize(
    ("classes", "parts"),
    [
        ("01234", ("hospital_a", "hospital_b")),
        (("COVID19", "NON COVID19"), ("A", "B")),
        ("01", ("x", "train")),
    ],
)
def test_classes_with_numbers_below_unknown_parts_are_doubted(
    tmp_path: Path, classes: tuple[str, ...], parts: tuple[str, str]
) -> None:
    names = [f"{part}/{label}/1.png" for part in parts for label in classes]
    with pytest.raises(InputError, match=r"are parts of a split, data\.split_names="):
        _list(tmp_path, *names)


def test_a_part_under_another_name_is_not_dropped(tmp_path: Path) -> None:
    names = [f"{part}/{label}/1.png" for part in ("train", "test", "evaluation") for label in "ab"]
    with pytest.raises(InputError, match=r"is evaluation a part.*data\.split_names=\[evaluation:PART\]"):
        _list(tmp_path, *names)
    assert set(_list(tmp_path, split_names=["evaluation:val"]).table["split"]) == {"train", "val", "test"}
    assert len(_list(tmp_path, split_names=["evaluation:none"]).table) == 4


def test_masks_beside_their_films_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = _list(tmp_path, "a/1.png", "a/1_mask.png", "a/1_mask_1.png", "b/x (1).png", "b/x (1)_mask.png")
    assert found.table["name"].tolist() == ["a/1.png", "b/x (1).png"]
    assert "3 masks beside their films" in caplog.text
    alone = _list(tmp_path / "alone", "a/no_mask.png", "b/2.png")
    assert len(alone.table) == 2, "a film is no mask where there is no film of its name"


def test_masks_are_found_at_any_depth(tmp_path: Path) -> None:
    names = [
        f"{label}/patient{k}/{kind}/1.png" for label in "ab" for k in (1, 2) for kind in ("image", "mask")
    ]
    with pytest.raises(InputError, match=r"hold mask"):
        _list(tmp_path, *names)
    assert len(_list(tmp_path, subfolders=["image"]).table) == 4


def test_films_in_the_class_folder_itself_can_be_chosen(tmp_path: Path) -> None:
    names = ["a/1.png", "a/masks/1.png", "b/2.png", "b/Masks/2.png"]
    with pytest.raises(InputError, match=r"data\.subfolders=\[\.\] names those"):
        _list(tmp_path, *names)
    assert _list(tmp_path, subfolders=["."]).table["name"].tolist() == ["a/1.png", "b/2.png"]


def test_sub_folders_are_known_in_any_spelling(tmp_path: Path) -> None:
    names = ["a/Images/1.png", "b/images/2.png", "a/masks/1.png", "b/masks/2.png", "c/IMAGES/3.png"]
    assert len(_list(tmp_path, *names, subfolders=["images"]).table) == 3
    touch(tmp_path, "d/films/4.png")
    with pytest.raises(InputError, match=r"no folder of d fits; choose from \[films\]"):
        _list(tmp_path, subfolders=["images"])


@pytest.mark.parametrize("name", ["COVID-19 (pos)", "it's", "Normal: none", "PCR,neg", "a b"])
def test_what_a_message_proposes_is_taken_by_the_command_line(name: str) -> None:
    parsed = OverridesParser.create().parse_override(f"data.labels={as_option([name, 'x'])}")
    assert parsed.value() == [name, "x"]
    pair = as_option([f"{name}:test"])
    cfg = compose_config("data=folder", "data.root=films", f"data.split_names={pair}")
    assert stated_parts(typed(cfg).data.split_names) == {name: "test"}
