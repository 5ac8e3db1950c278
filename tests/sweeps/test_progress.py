"""A sweep in progress: what is done, and what is left."""

from pathlib import Path

import pytest

from tests.study.test_run_table import write_run
from xray_tl.sweeps.progress import Progress


def test_progress_names_done_failed_and_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter((0.0, 0.0, 60.0, 120.0, 180.0, 240.0))
    monkeypatch.setattr("xray_tl.sweeps.progress.time.monotonic", lambda: next(clock))
    sweep = Progress(tmp_path, dict.fromkeys("abcd", ()))
    sweep.restart(at_once=2)
    assert sweep.job_ended("a", failed=False) == "sweep: 1 of 4 runs done, 2 running, about 3 min left"
    second = "sweep: 2 of 4 runs done, 1 of them failed, 2 running, about 2 min left"
    assert sweep.job_ended("b", failed=True) == second
    third = "sweep: 3 of 4 runs done, 1 of them failed, 1 running, about 60 s left"
    assert sweep.job_ended("c", failed=False) == third
    assert sweep.job_ended("d", failed=False) == "sweep: 4 of 4 runs done, 1 of them failed"
    clock = iter((0.0, 0.1, 0.2, 60.0))
    resumed = Progress(tmp_path, dict.fromkeys("abcd", ()))
    assert resumed.job_ended("a", failed=False) == "sweep: 1 of 4 runs done", "it was complete already"
    assert resumed.job_ended("a", failed=False) == "sweep: 1 of 4 runs done", "one run for every seed"
    assert resumed.job_ended("b", failed=False) == "sweep: 2 of 4 runs done, about 2 min left"
    write_run(tmp_path, "a", status="complete")
    clock = iter((0.0, 60.0))
    later = Progress(tmp_path, dict.fromkeys("abcd", ()))
    assert later.job_ended("b", failed=False) == "sweep: 2 of 4 runs done, about 2 min left", "one was there"
    clock = iter((0.0, 0.0, 60.0, 60.3))
    together = Progress(tmp_path / "none", dict.fromkeys("abcdefghij", ()))
    together.restart(at_once=2)
    together.job_ended("a", failed=False)
    assert together.job_ended("b", failed=False) == "sweep: 2 of 10 runs done, 2 running, about 4 min left"


def test_each_rung_counts_its_own_time_and_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter((0.0, 0.0, 60.0, 120.0, 500.0, 560.0))
    monkeypatch.setattr("xray_tl.sweeps.progress.time.monotonic", lambda: next(clock))
    sweep = Progress(tmp_path, dict.fromkeys("abcd", ()))
    sweep.restart()
    sweep.job_ended("a", failed=False)
    sweep.job_ended("b", failed=False)
    sweep.restart()
    assert sweep.job_ended("c", failed=False) == "sweep: 3 of 4 runs done, about 60 s left"
