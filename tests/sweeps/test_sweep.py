"""The end of a sweep."""

import logging
from contextlib import nullcontext
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from tests.study.test_run_table import write_run
from xray_tl.errors import InUseError
from xray_tl.store.locks import take
from xray_tl.store.run_folder import shifted
from xray_tl.store.sweep_file import Job, read_sweep
from xray_tl.sweeps import sweep
from xray_tl.sweeps.job import do_job
from xray_tl.sweeps.progress import Progress
from xray_tl.sweeps.sweep import SweepSummary, summarised


class Composed:
    """Stands for what Hydra composed: the names of the jobs' folders, and the shifts of each."""

    def __init__(self, shifts: dict[str, list[str]]) -> None:
        self.shifts = shifts

    def forget(self, name: str) -> None:
        """Forget a job."""
        del self.shifts[name]

    def jobs(self) -> dict[str, Job]:
        """Return what is noted of each job."""
        return {name: Job(shifts=tuple(names)) for name, names in self.shifts.items()}


def _summary(folder: Path, *names: str, shifts: tuple[str, ...] = ()) -> SweepSummary:
    summary = SweepSummary()
    summary.folder, summary.progress = folder, Progress(folder, dict.fromkeys(names, ()))
    summary.composed = Composed({name: list(shifts) for name in names})  # type: ignore[assignment]  # a stand-in
    return summary


def _sweep(folder: Path, *returned: str | None) -> SweepSummary:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "runtime": {"output_dir": "job"}}})
    summary = _summary(folder)
    for value in returned:
        summary.on_job_end(config, _returned(value))
    summary.on_multirun_end(config)
    return summary


def _returned(value: str | None) -> JobReturn:
    job = JobReturn(status=JobStatus.COMPLETED)
    job.return_value = value
    return job


def test_the_exit_code_follows_from_the_folders_of_this_sweep_s_jobs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever they were done: no job was seen to end here."""
    write_run(tmp_path, "good")
    assert _summary(tmp_path, "good").end()
    noted = read_sweep(tmp_path)
    assert noted
    assert noted.jobs == {"good": Job()}
    write_run(tmp_path, "of another sweep", status="failed", error="RunError: loss is nan")
    assert _summary(tmp_path, "good").end()
    write_run(tmp_path, "broken", status="failed", error="RunError: loss is nan")
    write_run(tmp_path, "stopped", status="interrupted", error=None)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{")
    (tmp_path / "held").mkdir()
    summary = _summary(tmp_path, "good", "broken", "stopped", "damaged", "killed", "held")
    caplog.clear()
    with take(tmp_path / "held" / ".lock", "", wait=False):
        assert not summary.end()
    failed = [line.removeprefix("failed: ") for line in caplog.messages if line.startswith("failed: ")]
    damaged = failed.pop(2)
    assert damaged.startswith("damaged: ")
    assert "is not a run record" in damaged
    assert failed == [
        "broken: RunError: loss is nan",
        "stopped: interrupted",
        "killed: no record: it never began",
    ]
    elsewhere = "running elsewhere: held; the same command later makes the report of all"
    assert caplog.messages[-1] == elsewhere
    assert not (tmp_path / "killed").exists()


def test_a_sweep_whose_runs_go_on_elsewhere_is_not_complete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path, "good")
    (tmp_path / "held").mkdir()
    with take(tmp_path / "held" / ".lock", "", wait=False):
        assert not _summary(tmp_path, "good", "held").end()
    assert not [line for line in caplog.messages if line.startswith("failed")]


def test_a_run_that_was_not_tested_on_a_shift_is_not_complete(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path, "run")
    write_run(shifted(tmp_path / "run", "low_dose").parent, "shift=low_dose")
    assert _summary(tmp_path, "run", shifts=("low_dose",)).end()
    assert not _summary(tmp_path, "run", shifts=("low_dose", "no_grid")).end()
    assert "failed: run: it was not tested on no_grid" in caplog.messages


def test_a_failure_that_was_seen_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path, "job", status="failed", error="RunError: it broke")
    summary = _summary(tmp_path, "job")
    summary.on_job_end(OmegaConf.create({"hydra": {"runtime": {"output_dir": "job"}}}), _returned("it broke"))
    assert not summary.end()
    assert [line for line in caplog.messages if line.startswith("failed")] == ["failed: job: it broke"]


def test_a_run_in_use_is_no_failure_if_it_is_complete_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def in_use(cfg: DictConfig, folder: Path, beside: Path) -> None:
        raise InUseError(f"{folder} is in use by another process")

    monkeypatch.setattr("xray_tl.runs.run.run", in_use)
    assert do_job(OmegaConf.create(), tmp_path / "run") is None
    assert "in use by another process" in caplog.text
    write_run(tmp_path, "run")
    assert _summary(tmp_path, "run").end()


def test_only_the_process_that_began_a_sweep_counts(caplog: pytest.LogCaptureFixture) -> None:
    """A single run, and what a launcher pickles with a job, began none."""
    config = OmegaConf.create({"hydra": {"runtime": {"output_dir": "job"}}})
    began = _summary(Path(), "job")
    kind, arguments = began.__reduce__()
    with caplog.at_level(logging.INFO):
        for summary in (kind(*arguments), SweepSummary()):
            summary.on_job_end(config, _returned(None))
        assert not caplog.messages
        began.on_job_end(config, _returned(None))
    assert caplog.messages == ["sweep: 1 of 1 runs done"]


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: the same command goes on with the sweep"),
        (SystemExit(1), 1, ""),  # Hydra's, where a launcher broke
        (None, 1, ""),  # Hydra has warned of a callback that broke
    ],
)
def test_a_sweep_that_does_not_come_to_its_end_is_summarised(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    stop: BaseException | None,
    code: int,
    said: str,
) -> None:
    def leave() -> None:
        if stop is not None:
            raise stop

    with nullcontext() if stop is None else pytest.raises(type(stop)), summarised():
        leave()
    assert not capsys.readouterr().out, "no sweep was begun, or it has ended"
    write_run(tmp_path, "done")
    monkeypatch.setattr(sweep, "begun", _summary(tmp_path, "done", "killed"))
    with pytest.raises(SystemExit) as left, summarised():
        leave()
    assert left.value.code == code
    printed = capsys.readouterr()
    assert "1 of 1 runs complete" in printed.out
    assert printed.err.strip() == said
    assert ("failed: killed: no record" in caplog.text) == (code == 1)


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


def test_a_run_that_is_not_asked_for_after_all_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a budget ends before its rung."""
    write_run(tmp_path, "good")
    summary = _summary(tmp_path, "good", "beyond the budget")
    monkeypatch.setattr(sweep, "begun", summary)
    sweep.not_asked_for(["beyond the budget"])
    assert summary.end()
    noted = read_sweep(tmp_path)
    assert noted is not None
    assert list(noted.jobs) == ["good"]
