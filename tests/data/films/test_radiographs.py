"""Real radiographs through listing, decoding, cache and split, by index like generated ones."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.data.films.radiograph_files import (
    films,
    write_classes,
    write_dicom,
    write_jpeg,
    write_png8,
    write_png16,
)
from xray_tl.config import RadiographDataConfig
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.films import decoded, processes
from xray_tl.data.films import reading as film_reading
from xray_tl.data.films.collection import open_collection
from xray_tl.errors import InputError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


def _config(root: Path, **options: object) -> RadiographDataConfig:
    return replace(RadiographDataConfig(name="folder", root=str(root), image_size=32), **options)


def test_a_folder_is_split_and_gives_the_images_as_written(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40)
    data = XrayDataModule(_config(root), seed=0)
    assert sum(data.sizes.values()) == 40
    assert data.targets.names == ("opacity",)
    grey, label = films(40)
    seen = set()
    for split, source in data.sources.items():
        batch = next(data.image_batches(split, 100))
        names = source.names
        assert names is not None
        for name, image, truth in zip(names, batch.image, batch.truth, strict=True):
            index = int(name.split("/")[1][:5])
            seen.add(index)
            assert np.abs(image[0].numpy() - grey[index]).max() < 1e-5
            assert float(truth) == label[index]
    assert seen == set(range(40))


def test_16_bits_jpeg_and_dicom_are_one_data_set_within_their_steps(tmp_path: Path) -> None:
    images = {}
    for name, write in (("png", write_png16), ("jpeg", write_jpeg), ("dicom", write_dicom)):
        collection = open_collection(_config(write_classes(tmp_path / name, 12, write)))
        images[name] = collection.images()
    assert np.abs(images["png"] - images["dicom"]).max() <= 0.5 / 4095 + 1e-5
    assert np.abs(images["png"] - images["jpeg"]).max() <= 12 / 255


def test_a_second_job_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "films", 12)
    first = open_collection(_config(root)).images()

    def refuse(*args: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(film_reading, "read_fitted", refuse)
    assert np.array_equal(open_collection(_config(root, seed=1)).images(), first)
    moved = root.rename(tmp_path / "elsewhere")
    assert np.array_equal(open_collection(_config(moved)).images(), first), "by content, not by path"


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 12)
    before = open_collection(_config(root))
    path = Path(before.listing.table["path"].iloc[0])
    write_png16(path.with_suffix(""), 1 - films(1)[0][0])
    after = open_collection(_config(root))
    assert np.abs(after.images()[0] - before.images()[0]).max() > 0.1
    assert np.array_equal(after.images()[1:], before.images()[1:])
    hashes = [XrayDataModule(_config(root, seed=seed), seed=0).data_hash() for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def _facts_elsewhere(path: str, reading: film_reading.Reading, *, keep: bool) -> object:
    """Decode as ever, but not in the process that runs the tests."""
    assert multiprocessing.parent_process() is not None
    return decoded._facts(path, reading, keep=keep)


def test_many_files_are_decoded_in_processes_to_the_same_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_classes(tmp_path / "films", 12)
    here = open_collection(_config(root)).images()
    monkeypatch.setattr(processes, "FEW", 4)
    monkeypatch.setattr(decoded, "_facts", _facts_elsewhere)
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "other"))
    assert np.array_equal(open_collection(_config(root, num_workers=2)).images(), here)


def test_files_that_cannot_be_used_stop_or_are_counted(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 20)
    (root / "normal" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "opacity" / "empty.png").touch()
    with pytest.raises(InputError) as caught:
        open_collection(_config(root))
    message = str(caught.value)
    assert message.startswith("2 of 22 files cannot be used: normal/cut.png: ")
    assert "opacity/empty.png: it is empty" in message
    assert "data.on_error=skip" in message
    assert "\n" not in message
    found = open_collection(_config(root, on_error="skip"))
    assert len(found.split) == 20
    assert set(found.skipped) == {"normal/cut.png", "opacity/empty.png"}
    assert np.array_equal(found.images(), open_collection(_config(root, on_error="skip")).images())


def test_own_splits_keep_patients_and_copies_together(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40, per_patient=2)
    copied = sorted((root / "normal").iterdir())[0]
    (root / "normal" / "copy.png").write_bytes(copied.read_bytes())
    found = open_collection(_config(root, patient_regex="^([0-9]+)_"))
    by_patient: dict[str, set[str]] = {}
    for name, patient, split in zip(
        found.listing.table["name"], found.listing.table["patient"], found.split, strict=True
    ):
        by_patient.setdefault(patient, set()).add(split)
        if name == "normal/copy.png":
            copy_split = split
        if name == f"normal/{copied.name}":
            original_split = split
    assert all(len(splits) == 1 for patient, splits in by_patient.items() if patient)
    assert copy_split == original_split


def test_one_film_in_two_files_is_one_image_but_blank_films_are_not(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40)
    original = sorted((root / "normal").iterdir())[0]
    with Image.open(original) as image:
        image.save(root / "normal" / "again.tif")
    assert (root / "normal" / "again.tif").read_bytes() != original.read_bytes()
    for level in (0.25, 0.5):
        for name, width in (("square", 32), ("oblong", 24)):
            flat = np.full((32, width), level, dtype=np.float32)
            write_png16(root / "normal" / f"{name}{level}", flat)
            write_png8(root / "opacity" / f"{name}{level}", flat)
    found = open_collection(_config(root, intensity="percentile"))  # makes every blank film black
    sizes = np.bincount(found.groups)[found.groups]
    together = {name for name, size in zip(found.listing.table["name"], sizes, strict=True) if size > 1}
    assert together == {f"normal/{original.name}", "normal/again.tif"}


def test_a_given_split_that_leaks_stops_unless_told_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_classes(tmp_path / "films" / split, 12, seed=seed)
    config = _config(tmp_path / "films", patient_regex="^([0-9]+)_")
    with pytest.raises(InputError, match=r"patients in more than one split: .*data\.on_leak=warn"):
        open_collection(config)
    open_collection(replace(config, on_leak="warn"))
    assert "results on this split are too good" in caplog.text
    clean = open_collection(replace(config, patient_regex=None))
    assert set(clean.split) == {"train", "val", "test"}
    one = sorted((tmp_path / "films" / "train" / "normal").iterdir())[0]
    (tmp_path / "films" / "test" / "normal" / "again.png").write_bytes(one.read_bytes())
    with pytest.raises(InputError, match=r"1 images in more than one split: .*again\.png"):
        open_collection(replace(config, patient_regex=None))


def test_a_written_split_can_be_used_again(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 30)
    first = open_collection(_config(root, seed=3))
    stored = tmp_path / "split.csv"
    stored.write_text(first.split_table().to_csv(index=False))
    assert open_collection(_config(root, split_file=str(stored))).split == first.split
    write_png8(root / "normal" / "new", films(1, seed=9)[0][0])
    with pytest.raises(InputError, match=r"has no split for normal/new\.png"):
        open_collection(_config(root, split_file=str(stored)))


def test_patients_from_dicom(tmp_path: Path) -> None:
    grey, label = films(12)
    for index in range(12):
        folder = tmp_path / "films" / ("opacity" if label[index] else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        write_dicom(folder / f"{index}", grey[index], PatientID=f"P{index // 3}")
    found = open_collection(_config(tmp_path / "films", patient_tag=True))
    assert set(found.listing.table["patient"]) == {"P0", "P1", "P2", "P3"}
    table = found.split_table()
    assert (table.groupby("patient")["split"].nunique() == 1).all()


def test_n_train_takes_fewer_training_images_of_the_same_split(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40)
    whole, some, other = (
        XrayDataModule(_config(root, **options), seed=0)
        for options in ({}, {"n_train": 8}, {"n_train": 8, "train_seed": 5})
    )
    assert some.sizes == {**whole.sizes, "train": 8}
    assert set(some.sources["train"].names or ()) < set(whole.sources["train"].names or ())
    assert some.sources["test"].names == other.sources["test"].names
    assert some.sources["train"].names != other.sources["train"].names


def test_every_image_is_tested_on_in_one_fold_by_networks_that_never_saw_its_patient(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 40, per_patient=2)
    config = _config(root, patient_regex="^([0-9]+)_", folds=3)
    found = [open_collection(replace(config, fold=fold)) for fold in range(3)]
    tests = [set(collection.source("test").names) for collection in found]
    assert sorted(name for names in tests for name in names) == sorted(found[0].listing.table["name"])
    for collection in found:
        assert (collection.split_table().groupby("patient")["split"].nunique() == 1).all()
        assert set(collection.split) == {"train", "val", "test"}
    assert len({collection.folds_id() for collection in found}) == 1
    assert open_collection(replace(config, fold=0, seed=1)).folds_id() != found[0].folds_id()
    data = [XrayDataModule(replace(config, fold=fold), seed=0) for fold in range(2)]
    assert data[0].data_hash() != data[1].data_hash()
    assert data[0].describe()["folds_id"] == data[1].describe()["folds_id"]


def test_a_data_set_with_a_split_of_its_own_has_no_folds(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_classes(tmp_path / "films" / split, 12, seed=len(split))
    with pytest.raises(InputError, match=r"data\.folds=3: this data set has a split of its own"):
        open_collection(_config(tmp_path / "films", folds=3, fold=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "squash"}, r"data\.fit=squash is not valid for data=folder: choose pad or crop or stretch"),
        ({"intensity": "log"}, r"data\.intensity=log"),
        ({"on_error": "ignore"}, r"data\.on_error=ignore .*: choose stop or skip"),
        ({"shift": "blur"}, r"data\.shift=blur is not valid for data=folder"),
        ({"image_size": 100}, r"data\.image_size=100 is not a multiple of 16"),
        ({"test_fraction": 0.9, "val_fraction": 0.2}, r"data\.test_fraction=0\.9"),
        ({"patient_regex": "["}, "is no regular expression"),
        ({"patient_regex": "^[0-9]+_"}, "needs a group"),
        ({"n_train": 0}, r"data\.n_train=0"),
        ({"folds": 1, "fold": 0}, r"data\.folds=1 is not valid: choose at least 2"),
        ({"folds": 3}, r"data\.folds=3 needs data\.fold, 0 to 2, not None: .* data\.fold=0,1,2"),
        ({"folds": 3, "fold": 3}, r"data\.fold, 0 to 2, not 3"),
        ({"fold": 0}, r"data\.fold=0 needs data\.folds"),
        ({"folds": 3, "fold": 0, "test_fraction": 1.0}, r"data\.folds=3 and data\.test_fraction=1"),
        ({"folds": 3, "fold": 0, "split_file": "s.csv"}, r"data\.folds=3 and data\.split_file=s\.csv"),
    ],
)
def test_a_wrong_option_is_said(tmp_path: Path, options: dict[str, object], message: str) -> None:
    root = write_classes(tmp_path / "films", 6)
    with pytest.raises(InputError, match=message):
        XrayDataModule(_config(root, **options), seed=0)


def test_a_fixed_order_mixes_classes_and_follows_from_the_images_alone(tmp_path: Path) -> None:
    """Class folders lie one after the other; other names of the same files change no batch."""
    root = write_classes(tmp_path / "films", 40)
    data = XrayDataModule(_config(root), seed=0)
    batches = list(data.mixed_image_batches("train", 10))
    shares = [float(batch.truth.mean()) for batch in batches]
    assert all(0 < share < 1 for share in shares), "batches of one class have statistics of one class"
    split = tmp_path / "split.csv"
    split.write_text(data.collection.split_table().to_csv(index=False), encoding="utf-8")
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_name(f"{99999 - int(path.name[:5]):05d}{path.name[5:]}"))
    renamed = pd.read_csv(split, dtype=str)
    renamed["name"] = [
        f"{n.split('/')[0]}/{99999 - int(n.split('/')[1][:5]):05d}{n.split('/')[1][5:]}"
        for n in renamed["name"]
    ]
    renamed["patient"] = ""
    renamed.to_csv(split, index=False)
    other = XrayDataModule(_config(root, split_file=str(split)), seed=0)
    again = list(other.mixed_image_batches("train", 10))
    assert other.sources["train"].names != data.sources["train"].names
    for one, two in zip(batches, again, strict=True):
        assert torch.equal(one.image, two.image)
