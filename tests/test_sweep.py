"""The end of a sweep."""

from pathlib import Path

import pytest

from tests.evaluation.test_collect import write_run
from xray_tl.sweep import summarise


def test_all_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "a", seed=0)
    write_run(tmp_path, "b", seed=1)
    assert summarise(tmp_path)
    printed = capsys.readouterr().out
    assert "2 of 2 runs complete" in printed
    assert "resnet18 frozen" in printed
    assert (tmp_path / "summary.csv").is_file()


def test_what_failed_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, "good")
    write_run(tmp_path, "bad", status="failed", error="RunError: no space left")
    assert not summarise(tmp_path)
    assert "bad failed: RunError: no space left" in caplog.text


def test_nothing_ran(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not summarise(tmp_path)
    assert "has no run" in caplog.text
