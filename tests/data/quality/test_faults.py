"""A planted fault is found, and clean films raise no alarm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.films.radiograph_files import films, write_classes, write_jpeg, write_png8, write_png16
from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.collection import open_collection
from xray_tl.data.quality.faults import Finding, _give_aways, audit, format_audit


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


def _config(root: Path) -> RadiographDataConfig:
    return RadiographDataConfig(name="folder", root=str(root), image_size=64, on_leak="warn")


def _audit(root: Path, **options: object) -> list[Finding]:
    return audit(open_collection(replace(_config(root), **options)))


def _serious(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found if finding.serious}


def test_generated_films_raise_no_alarm(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 120, size=64)
    found = _audit(root)
    assert not _serious(found), format_audit(found)
    kinds = {finding.kind for finding in found}
    assert kinds == {"give-away", "balance", "files"}
    (files,) = (finding for finding in found if finding.kind == "files")
    assert files.text == "64 to 64 x 64 to 64 pixels; 120 grey 16 bit"


def test_a_patient_on_both_sides_is_found(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_classes(tmp_path / "films" / split, 20, seed=seed, per_patient=4)
    found = _audit(tmp_path / "films", patient_regex="^([0-9]+)_")
    (leak,) = (finding for finding in found if finding.kind == "leak")
    assert leak.serious
    assert leak.text.startswith("5 patients in more than one split: ")
    assert found[0].serious, "serious ones come first"


def test_a_copy_on_the_other_side_is_found_however_it_was_saved(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_classes(tmp_path / "films" / split, 20, size=64, seed=seed)
    grey = films(1, 64, seed=0)[0][0]
    test = tmp_path / "films" / "test" / "normal"
    write_png16(test / "exact", grey)
    found = _audit(tmp_path / "films")
    assert next(finding.text for finding in found if finding.kind == "leak").startswith(
        "1 images in more than"
    )
    (test / "exact.png").unlink()
    assert not _serious(_audit(tmp_path / "films"))
    write_jpeg(test / "jpeg", grey)
    write_png8(test / "brighter", np.clip(0.8 * grey + 0.15, 0, 1))
    larger = Image.fromarray(grey).resize((96, 96), Image.Resampling.BICUBIC)
    write_png8(test / "larger", np.clip(np.asarray(larger), 0, 1))
    near = next(f for f in _audit(tmp_path / "films") if f.kind == "near copies" and f.serious)
    assert all(" and " in detail and detail.split(": ")[1] < "0.06" for detail in near.details)
    copies = {"test/normal/jpeg.jpg", "test/normal/brighter.png", "test/normal/larger.png"}
    assert copies <= set(near.cases)


def test_a_scanner_that_gives_the_label_away_is_found(tmp_path: Path) -> None:
    grey, label = films(80, 64)
    for index in range(80):
        folder = tmp_path / "films" / ("opacity" if label[index] else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(grey[index])
        side = 64 if label[index] == (index % 10 > 0) else 72  # nine of ten positives come from one scanner
        write_png8(folder / f"{index:03d}", np.clip(np.asarray(image.resize((side, side))), 0, 1))
    found = [finding for finding in _audit(tmp_path / "films") if finding.kind == "give-away"]
    assert "size, bit depth and kind of the file alone" in found[0].text
    assert found[0].serious
    assert "what is no finding gives the label away" in found[0].text
    assert not found[1].serious


def test_a_covariate_that_gives_the_label_away_is_found_and_kept(tmp_path: Path) -> None:
    grey, label = films(60, 64)
    rows = ["path,label,age,ward"]
    for index in range(60):
        write_png8(tmp_path / f"{index:03d}", grey[index])
        ward = "intensive" if label[index] and index % 8 else "clinic"
        rows.append(f"{index:03d}.png,{'opacity' if label[index] else 'normal'},{40 + index % 30},{ward}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    table = replace(_config(tmp_path), name="csv", layout="table", table="labels.csv")
    for columns, serious in ((["age"], False), (["age", "ward"], True)):
        collection = open_collection(replace(table, covariate_columns=columns))
        found = [finding for finding in audit(collection) if finding.text.startswith("covariates (age")]
        assert [finding.serious for finding in found] == [serious]
    kept = collection.split_table()
    assert kept.columns.tolist() == ["name", "split", "patient", "content", "pixels", "age", "ward"]
    assert set(kept["ward"]) == {"intensive", "clinic"}


def test_brightness_that_gives_the_label_away_is_found(tmp_path: Path) -> None:
    grey, label = films(80, 64)
    for index in range(80):
        folder = tmp_path / "films" / ("opacity" if label[index] else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        write_png8(folder / f"{index:03d}", grey[index] * (0.9 if label[index] else 1.0))
    found = [
        finding for finding in _audit(tmp_path / "films") if finding.kind == "give-away" and finding.serious
    ]
    assert found
    assert "histogram and moments of the image alone" in found[0].text


def test_blank_images_and_copies_under_two_labels_are_found(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 30, size=64)
    write_png16(root / "normal" / "blank", np.full((64, 64), 0.5, dtype=np.float32))
    one = sorted((root / "normal").iterdir())[0]
    (root / "opacity" / "copy.png").write_bytes(one.read_bytes())
    write_png16(root / "normal" / "oblong", np.full((64, 48), 0.5, dtype=np.float32))
    found = _audit(root)
    assert {"blank", "copies"} <= _serious(found)
    (blank,) = (finding for finding in found if finding.kind == "blank")
    assert blank.text == "2 of 33 images show nothing, such as normal/blank.png"
    assert blank.cases == ("normal/blank.png", "normal/oblong.png"), "black borders are no content"
    different = next(finding for finding in found if finding.kind == "copies" and finding.serious)
    assert different.text.startswith("1 images stand under different labels")


def test_files_left_out_are_named(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 20)
    (root / "normal" / "empty.png").touch()
    found = _audit(root, on_error="skip")
    (left,) = (finding for finding in found if finding.kind == "unreadable")
    assert left.text == "1 files are left out, such as normal/empty.png: it is empty"
    assert left.details == ("it is empty",)


def test_films_that_look_wrong_are_named_one_by_one(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 20, size=64)
    assert not {"dark", "two-valued", "blank"} & _serious(_audit(root))
    grey = films(3, 64, seed=1)[0]
    write_png16(root / "normal" / "dark", grey[0] * np.float32(4095 / 65535))
    write_png8(root / "opacity" / "mask", (grey[1] > 0.5).astype(np.float32))
    found = {finding.kind: finding for finding in _audit(root) if finding.serious}
    assert found["dark"].cases == ("normal/dark.png",)
    assert "data.intensity=percentile" in found["dark"].text
    assert found["two-valued"].cases == ("opacity/mask.png",)
    assert found["two-valued"].text.startswith("1 of 22 images have two values alone, as masks have")
    assert "dark" not in _serious(_audit(root, intensity="percentile"))


def test_a_target_that_is_surely_given_away_is_named_before_one_that_may_be(tmp_path: Path) -> None:
    collection = open_collection(_config(write_classes(tmp_path, 20)))
    three = replace(collection.listing, targets=("rare", "common", "other"))
    areas = np.array([[[0.9, 0.2], [0.8, 0.01], [0.5, 0.01]]] * 2)
    found = _give_aways(replace(collection, listing=three), {"area": areas})
    assert all(finding.serious and "AUROC of common 0.800" in finding.text for finding in found)


def test_patients_known_of_some_images_only_are_a_warning(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 30, size=64)
    assert "balance" not in _serious(_audit(root, patient_regex="^([0-9]+)_"))
    one = sorted((root / "normal").iterdir())[0]
    one.rename(one.with_name("unnamed.png"))
    found = _audit(root, patient_regex="^([0-9]+)_")
    (warned,) = (finding for finding in found if finding.kind == "balance" and finding.serious)
    assert warned.text == "29 patients, known of 29 of 30 images"


def test_names_in_several_spellings_are_found(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 20)
    (root / "Opacity").mkdir()
    one = sorted((root / "opacity").iterdir())[0]
    one.rename(root / "Opacity" / one.name)
    (found,) = (finding for finding in _audit(root) if finding.kind == "spelling")
    assert found.serious
    assert found.text == "names that differ in spelling are taken for one: label 'Opacity' = 'opacity'"


def test_what_training_would_refuse_is_found(tmp_path: Path) -> None:
    root = tmp_path / "films"
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        write_classes(root / split, 20, seed=seed)
    assert "split" not in _serious(_audit(root))
    for path in (root / "test" / "opacity").iterdir():
        path.write_text("damaged")
    found = _audit(root, on_error="skip")
    (split,) = (finding for finding in found if finding.kind == "split")
    assert split.serious
    assert split.text == "the test split has images of one class only"
