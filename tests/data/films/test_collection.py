"""A data set is opened, or refused before anything is decoded where its listing shows why."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.films.radiograph_files import films, write_classes, write_dicom, write_png8, write_png16
from xray_tl.config import RadiographDataConfig
from xray_tl.data.films import reading as film_reading
from xray_tl.data.films.collection import open_collection
from xray_tl.data.films.names import PARTS
from xray_tl.data.films.radiographs import leaks
from xray_tl.errors import InputError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


def _config(root: Path, **options: object) -> RadiographDataConfig:
    return replace(RadiographDataConfig(name="folder", root=str(root), image_size=32), **options)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a file is decoded."""

    def refuse(*args: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(film_reading, "read_fitted", refuse)


def _parts(root: Path, *parts: str, per_patient: int = 1) -> Path:
    for seed, part in enumerate(parts):
        write_classes(root / part, 20, seed=seed, per_patient=per_patient)
    return root


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("train", "valid"), "the test split is empty: it was given so.*data.test_from=train draws it"),
        (("valid", "test"), "the train split is empty"),
    ],
)
def test_a_part_that_is_not_given_is_told_before_decoding(
    tmp_path: Path, parts: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_collection(_config(_parts(tmp_path / "films", *parts)), tuple(PARTS))


@pytest.mark.usefixtures("undecoded")
def test_a_class_that_is_in_test_alone_is_told_before_decoding(tmp_path: Path) -> None:
    root = _parts(tmp_path / "films", "train", "val", "test")
    (root / "test" / "covid").mkdir()
    write_png16(root / "test" / "covid" / "1", films(1)[0][0])
    with pytest.raises(InputError, match=r"covid has no training images \(0 val, 1 test\)"):
        open_collection(_config(root), tuple(PARTS))
    for path in (root / "train" / "opacity").iterdir():
        path.unlink()
    (root / "train" / "covid").mkdir()
    write_png16(root / "train" / "covid" / "1", films(1)[0][0])
    with pytest.raises(InputError, match="opacity has no training images"):
        open_collection(_config(root), tuple(PARTS))
    with pytest.raises(InputError, match="the train split has images of one class only"):
        open_collection(_config(root, labels=["normal", "opacity"]), tuple(PARTS))


def test_what_is_not_needed_is_not_asked_for(tmp_path: Path) -> None:
    root = _parts(tmp_path / "films", "train", "valid")
    assert set(open_collection(_config(root)).split) == {"train", "val"}
    assert set(open_collection(_config(root, test_fraction=1.0), ("test",)).split) == {"test"}


@pytest.mark.parametrize("part", ["train", "val"])
def test_test_images_are_drawn_from_a_given_part_by_patient(tmp_path: Path, part: str) -> None:
    root = tmp_path / "films"
    for seed, (name, count) in enumerate((("train", 60), ("valid", 40))):
        grey, label = films(count, seed=seed)
        for index in range(count):
            folder = root / name / ("opacity" if label[index] else "normal")
            folder.mkdir(parents=True, exist_ok=True)
            write_png16(folder / f"{name}{index // 4}_{index}", grey[index])
    config = _config(root, test_from=part, patient_regex="^(.*)_")
    found = open_collection(config, tuple(PARTS))
    assert not any(leaks(found).values())
    names = found.listing.table["name"].tolist()
    of = {name: {n for n, own in zip(names, found.split, strict=True) if own == name} for name in PARTS}
    source = {"train": "train/", "val": "valid/"}[part]
    assert of["test"]
    assert all(name.startswith(source) for name in of["test"])
    # Of 100 images 20 are asked for; a patient has four, so that no count is nearer than that.
    assert abs(len(of["test"]) - 20) <= 4
    other = {"train": "valid/", "val": "train/"}[part]
    assert {name for name in names if name.startswith(other)} == of[{"train": "val", "val": "train"}[part]]
    assert open_collection(config).split == found.split
    assert open_collection(replace(config, seed=1)).split != found.split


def test_patients_are_one_however_they_are_written(tmp_path: Path) -> None:
    grey = films(16)[0]
    rows = ["path,label,who"]
    for index in range(16):
        write_png8(tmp_path / f"{index}", grey[index])
        rows.append(f"{index}.png,{'ab'[index % 2]},{index // 4}{'.0' * (index % 2)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    table = _config(tmp_path, name="csv", layout="table", table="labels.csv", patient_column="who")
    found = open_collection(table)
    assert len(set(found.groups)) == 4
    assert found.listing.table["patient"].nunique() == 4
    assert found.listing.spellings[0] == "patient '0' = '0.0'"
    assert not any(leaks(found).values())


def test_patients_of_dicom_files_are_one_however_they_are_written(tmp_path: Path) -> None:
    grey = films(8)[0]
    for index, who in enumerate(("A-1", "a\u20111", "B 2", "b_2", "C3", "C3", "D4", "d4")):
        folder = tmp_path / "films" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_dicom(folder / str(index), grey[index], PatientID=who, SpecificCharacterSet="ISO_IR 192")
    found = open_collection(_config(tmp_path / "films", name="dicom", patient_tag=True))
    assert found.listing.table["patient"].nunique() == 4
    assert len(found.listing.spellings) == 3


def test_a_split_file_is_found_in_another_spelling(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 12)
    first = open_collection(_config(root))
    table = first.split_table()
    table.assign(name=table["name"].str.upper()).to_csv(tmp_path / "split.csv", index=False)
    again = open_collection(_config(root, seed=5, split_file=str(tmp_path / "split.csv")))
    assert again.split == first.split


def test_a_name_that_is_no_text_is_left_out_or_stops(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 12)
    one = sorted((root / "normal").iterdir())[0]
    one.rename(root / "normal" / b"caf\xe9.png".decode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"normal/caf\\udce9\.png: its name is not in UTF-8"):
        open_collection(_config(root))
    found = open_collection(_config(root, on_error="skip"))
    assert list(found.skipped) == ["normal/caf\\udce9.png"]
    found.split_table().to_csv(tmp_path / "split.csv", index=False)


def test_a_split_file_is_used_again_where_films_were_left_out(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 12)
    (root / "normal" / "broken.png").write_text("none")
    first = open_collection(_config(root, on_error="skip"))
    first.split_table().to_csv(tmp_path / "split.csv", index=False)
    stored = _config(root, on_error="skip", split_file=str(tmp_path / "split.csv"))
    assert open_collection(stored, tuple(PARTS)).split == first.split
    write_png16(root / "normal" / "new", films(1, seed=9)[0][0])
    with pytest.raises(InputError, match=r"has no split for normal/new\.png"):
        open_collection(stored)


def test_backslashes_hide_no_patient(tmp_path: Path) -> None:
    grey = films(8)[0]
    rows = ["path,label"]
    (tmp_path / "img").mkdir()
    for index in range(8):
        write_png8(tmp_path / "img" / f"{index // 2:05d}_{index}", grey[index])
        rows.append(f"img\\{index // 2:05d}_{index}.png,{'ab'[index % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    (tmp_path / "list.txt").write_text("img/00000_0.png\nimg/00000_1.png\n")
    table = _config(tmp_path, name="csv", layout="table", table="labels.csv", patient_regex="^([0-9]+)_")
    found = open_collection(replace(table, test_list="list.txt"))
    assert found.listing.table["patient"].nunique() == 4
    assert found.split.count("test") == 2
