"""The end of a sweep."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from tests.conftest import compose_config
from tests.evaluation.test_collect import write_run
from xray_tl.sweep import SweepSummary, compose_once


def _sweep(folder: Path, *returned: str | None) -> SweepSummary:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "runtime": {"output_dir": "job"}}})
    summary = SweepSummary()
    for value in returned:
        job = JobReturn(status=JobStatus.COMPLETED)
        job.return_value = value
        summary.on_job_end(config, job)
    summary.on_multirun_end(config)
    return summary


def test_a_job_is_composed_once_to_be_checked_and_launched() -> None:
    composed: list[list[str]] = []

    def compose(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        composed.append(sweep_overrides)
        return compose_config(*sweep_overrides)

    loader = cast("Any", SimpleNamespace(load_sweep_config=compose))
    compose_once(loader)
    jobs, master = (["seed=0"], ["seed=1"]), OmegaConf.create()
    for job in jobs:  # as Hydra checks a batch
        loader.load_sweep_config(master, job)
    launched = [loader.load_sweep_config(master_config=master, sweep_overrides=list(job)) for job in jobs]
    assert [cfg.seed for cfg in launched] == [0, 1]
    assert composed == [["seed=0"], ["seed=1"]]
    loader.load_sweep_config(master, jobs[0])
    assert len(composed) == 3, "a job that comes again is composed again: the launched one was changed"


def test_jobs_that_are_the_same_run_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    loader = cast(
        "Any", SimpleNamespace(load_sweep_config=lambda master, overrides: compose_config(*overrides))
    )
    compose_once(loader)
    jobs = ("arm=resnet50_frozen weights=source", "arm=resnet50_frozen weights=random")
    for job in (*jobs, "arm=resnet50_frozen_random weights=random"):
        loader.load_sweep_config(OmegaConf.create(), job.split())
    for seed in (0, 1):  # refused later: nothing can be said of them
        loader.load_sweep_config(OmegaConf.create(), ["model=timm", f"seed={seed}"])
    (said,) = caplog.messages
    assert said.startswith("arm=resnet50_frozen_random is the same run as arm=resnet50_frozen:")


def test_all_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "a", seed=0)
    write_run(tmp_path, "b", seed=1)
    _sweep(tmp_path, None, None)
    printed = capsys.readouterr().out
    assert "2 of 2 runs complete" in printed
    assert "resnet18 frozen" in printed
    assert (tmp_path / "summary.csv").is_file()


def test_a_job_that_failed_is_named_and_sets_the_exit_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where it could not leave a record."""
    write_run(tmp_path, "good")
    with pytest.raises(SystemExit) as stop:
        _sweep(tmp_path, None, "no space left on the device")
    assert stop.value.code == 1
    assert "failed: job: no space left on the device" in caplog.text


def test_an_old_failure_is_named_but_is_not_this_sweep_s(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path, "good")
    write_run(tmp_path, "bad", status="failed", error="RunError: no space left")
    _sweep(tmp_path, None)
    assert "bad is failed" in caplog.text


def test_a_damaged_record_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path, "good")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{")
    _sweep(tmp_path, None)
    assert "1 of 1 runs complete" in capsys.readouterr().out
    assert "left out" in caplog.text


def test_nothing_ran(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _sweep(tmp_path)
    assert "has no run" in caplog.text


def test_a_summary_that_cannot_be_written_is_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Hydra turns an exception of a callback into a warning and ends with exit code 0."""
    write_run(tmp_path, "good")
    (tmp_path / "summary.csv").mkdir()
    for job in (None, "it broke"):
        with pytest.raises(SystemExit) as stop:
            _sweep(tmp_path, job)
        assert stop.value.code == 1
    assert "the summary could not be made" in caplog.text
    assert "failed: job: it broke" in caplog.text
