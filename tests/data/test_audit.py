"""A planted fault is found, and clean films raise no alarm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.radiograph_files import films, write_classes, write_jpeg, write_png8, write_png16
from xray_tl.config import RadiographDataConfig
from xray_tl.data.audit import Finding, audit, format_audit
from xray_tl.data.radiographs import open_collection


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


def _audit(root: Path, **options: object) -> list[Finding]:
    config = RadiographDataConfig(name="folder", root=str(root), image_size=64, on_leak="warn")
    return audit(open_collection(replace(config, **options)))


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
    assert "gives the label away" in found[0].text
    assert not found[1].serious


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
    found = _audit(root)
    assert {"blank", "copies"} <= _serious(found)
    (blank,) = (finding for finding in found if finding.kind == "blank")
    assert blank.cases == ("normal/blank.png",)
    different = next(finding for finding in found if finding.kind == "copies" and finding.serious)
    assert different.text.startswith("1 images stand under different labels")


def test_files_left_out_are_named(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 20)
    (root / "normal" / "empty.png").touch()
    found = _audit(root, on_error="skip")
    (left,) = (finding for finding in found if finding.kind == "unreadable")
    assert left.text == "1 files are left out, such as normal/empty.png: it is empty"


def test_patients_known_of_some_images_only_are_a_warning(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 30, size=64)
    assert "balance" not in _serious(_audit(root, patient_regex="^([0-9]+)_"))
    one = sorted((root / "normal").iterdir())[0]
    one.rename(one.with_name("unnamed.png"))
    found = _audit(root, patient_regex="^([0-9]+)_")
    (warned,) = (finding for finding in found if finding.kind == "balance" and finding.serious)
    assert warned.text == "29 patients, known of 29 of 30 images"
