"""How often a sweep was looked at."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.study.sweeps import write_scored
from xray_tl.report import looks
from xray_tl.report.looks import LOOKS, note_look
from xray_tl.report.page import write_report
from xray_tl.study.analysis import analyse


def _add(folder: Path, *seeds: int) -> None:
    for seed in seeds:
        for mode in ("finetune", "frozen"):
            write_scored(folder, 1.0, seed, mode=mode)


def _look(folder: Path) -> list[str]:
    return note_look(folder, analyse(folder))


def test_a_look_with_more_seeds_is_another_and_the_report_says_so(tmp_path: Path) -> None:
    _add(tmp_path, *range(5))
    assert "looked at" not in write_report(tmp_path).read_text()
    (first,) = pd.read_csv(tmp_path / LOOKS).to_dict("records")
    assert (first["seeds"], first["images"], first["runs"]) == (5, 60, 10)
    _add(tmp_path, *range(5, 10))
    page = write_report(tmp_path).read_text()
    when = first["time"][:16].replace("T", " ")
    assert f"looked at 2 times with different numbers: 5 seeds, 60 images ({when} UTC); 10 seeds, " in page
    assert page.count("is a second look, and raises the error above 5 %") >= 2
    assert list(pd.read_csv(tmp_path / LOOKS)["runs"]) == [10, 20]


def test_more_seeds_of_each_pretraining_are_another_look(tmp_path: Path) -> None:
    def add(seed: int) -> None:
        for number in range(5):
            weights = {"source": "source", "name": f"seed {number}", "sha256": f"sha{number}"}
            for mode in ("finetune", "frozen"):
                changes = {"weights": weights, "weights_seed": number}
                write_scored(tmp_path, 1.0, 5 * seed + number, mode=mode, **changes)

    add(0)
    assert _look(tmp_path) == []
    add(1)
    (said,) = _look(tmp_path)
    assert said.startswith("looked at 2 times with different numbers: 5 trainings, 60 images (")
    assert "; 10 trainings, 60 images (" in said


def test_the_same_records_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _add(tmp_path, 0, 1)
    assert _look(tmp_path) == []
    before = (tmp_path / LOOKS).read_bytes()
    moved = shutil.copytree(tmp_path, tmp_path.with_name("moved"))
    assert _look(moved) == []
    assert (moved / LOOKS).read_bytes() == before, "its first time is kept"
    write_scored(tmp_path, 1.0, 0, mode="last_stage")
    assert _look(tmp_path) == [], "another arm, as many seeds: nothing to tell"
    assert list(pd.read_csv(tmp_path / LOOKS)["seeds"]) == [2, 2]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00\x01",
        b"time,seeds\n2026-01-01,5\n",
        b"time,seeds,images,runs,records\nsome day,5,60,10,a\n",
        b"time,seeds,images,runs,records\n2026-01-01,many,60,10,a\n",
    ],
)
def test_a_damaged_file_is_told_in_one_line_and_stops_nothing(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _add(tmp_path, 0)
    (tmp_path / LOOKS).write_bytes(damage)
    (said,) = _look(tmp_path)
    assert said.startswith(f"{LOOKS} cannot be read, so how often this sweep was looked at is not known: ")
    assert "\n" not in said
    assert caplog.messages == [said]
    assert (tmp_path / LOOKS).read_bytes() == damage, "what it held is not lost"


def test_a_folder_that_cannot_be_written_to_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _add(tmp_path, 0)

    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(looks, "write_text", refuse)
    assert _look(tmp_path) == []
    (said,) = caplog.messages
    assert "looks.csv cannot be written: " in said
    (tmp_path / LOOKS).mkdir()
    assert _look(tmp_path)[0].startswith(f"{LOOKS} cannot be read")
