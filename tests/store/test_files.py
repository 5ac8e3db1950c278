"""Files are whole or not there."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest

from xray_tl.errors import InputError, RunError
from xray_tl.store.files import atomic_path, check_writable, remove_partials, write_text
from xray_tl.store.records import SCHEMA, read_record, write_record


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(ValueError, match="broken"), atomic_path(path) as partial:
        _write_half(partial)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise ValueError("broken")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(RunError, match="no space left"), atomic_path(tmp_path / "file"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "scores.csv", "output")
    assert not list(tmp_path.iterdir()), "nothing is left of the trial"
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "scores.csv", "Not a directory"),
    ):
        with pytest.raises(InputError, match=rf"^output={path} cannot be written: {why}$"):
            check_writable(path, "output")


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    leftover = tmp_path / "checkpoints" / "last.ckpt.partial-123"
    leftover.touch()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    remove_partials(tmp_path)
    assert not leftover.exists()
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_a_partial_of_a_process_elsewhere_is_left_to_it(tmp_path: Path) -> None:
    young, old = tmp_path / "a.partial-1", tmp_path / "b.partial-2"
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 700,) * 2)
    remove_partials(tmp_path, 600)
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial-1"]


def test_two_processes_with_one_id_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers on two machines: the same process id, the same host name, one shared folder."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(socket, "gethostname", lambda: "worker")
    path = tmp_path / "record.json"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("second")
            assert first != second
        assert path.read_text() == "second", "the second one's text, not a part of the first one's"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_that_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    write_text(path, "text")
    check_writable(path, "output")
    assert list(tmp_path.iterdir()) == [path]


def test_record_round_trip_and_numbers_that_are_none(tmp_path: Path) -> None:
    write_record(tmp_path, {"status": "complete", "metrics": {"loss": float("nan"), "auroc": 0.1 + 0.2}})
    record = read_record(tmp_path)
    assert record == {"schema": SCHEMA, "status": "complete", "metrics": {"loss": None, "auroc": 0.1 + 0.2}}
    assert read_record(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not a run record"), ("{}", "is not a run record"), ('{"schema": 99}', "newer")],
)
def test_records_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_record(tmp_path)
