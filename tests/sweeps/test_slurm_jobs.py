"""What happens inside a job of Slurm, as submitit starts it."""

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from submitit.core.submission import process_job
from submitit.core.utils import DelayedSubmission, JobPaths

from tests.conftest import compose_config
from tests.sweeps.fake_slurm import FakeSlurm
from xray_tl.config.cli import INTERRUPTED
from xray_tl.store.run_folder import LAST
from xray_tl.sweeps import slurm_jobs
from xray_tl.sweeps.batches import Batch
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.slurm_jobs import MARK, Report, Terms, Work

ENDLESS = 100_000
"""Minutes of a time limit that no test reaches."""
SIGNALS = (signal.SIGTERM, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2)

Do = Callable[[Job], str | None]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlurm]:
    """Be inside job 41."""
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SUBMITIT_FOLDER", "restored after the test")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield FakeSlurm.install(tmp_path / "slurm", monkeypatch)
    for number, handler in before.items():
        signal.signal(number, handler)


def _terms(cache: Path, timeout_min: int = ENDLESS, git: str | None = None, mark: str | None = None) -> Terms:
    return Terms(1, timeout_min, 60, git, cache, mark)


def _submit(folder: Path, *names: str, timeout_min: int = ENDLESS, countdown: int = 5) -> None:
    jobs = tuple(Job(OmegaConf.create(), folder / name, {}) for name in names)
    delayed = DelayedSubmission(Work(Batch(jobs), _terms(folder, timeout_min)))
    delayed.set_timeout(timeout_min, countdown)
    delayed.dump(JobPaths(folder, "41").submitted_pickle)


def _start(folder: Path, monkeypatch: pytest.MonkeyPatch, do: Do) -> int | str | None:
    """Start the job, with a stand-in for its runs; return its exit code."""
    monkeypatch.setattr(Work, "_do", lambda _, job: do(job))
    try:
        process_job(folder)
    except SystemExit as stop:
        return stop.code
    return 0


def _stopped_by(number: signal.Signals, at: str, done: list[str]) -> Do:
    def do(job: Job) -> str | None:
        if job.folder.name == at:
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                done.append(f"{at} interrupted")
                raise
        done.append(job.folder.name)
        return None

    return do


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_job_that_is_told_to_stop_is_queued_again_and_goes_on(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    _submit(tmp_path, "a", "b", "c")
    done: list[str] = []
    assert _start(tmp_path, monkeypatch, _stopped_by(number, "b", done)) == INTERRUPTED
    assert done == ["a", "b interrupted"]
    assert slurm.given("scontrol") == "requeue 41\n"
    assert _start(tmp_path, monkeypatch, _stopped_by(number, "none", done)) == 0, (
        "as submitit pickled it then"
    )
    assert done[2:] == ["a", "b", "c"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGCONT])
def test_what_slurm_sends_before_it_ends_a_job_does_not_end_it(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A job that it preempts has to be running still when Slurm ends it: else it is not queued again."""
    _submit(tmp_path, "a", "b")
    done: list[str] = []
    assert _start(tmp_path, monkeypatch, _stopped_by(number, "a", done)) == 0
    assert done == ["a", "b"]
    assert not slurm.given("scontrol")


def test_a_job_that_cannot_be_queued_again_interrupts_its_run_and_says_why(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.say("no_requeue", "")
    _submit(tmp_path, "a", "b")
    done: list[str] = []
    assert _start(tmp_path, monkeypatch, _stopped_by(signal.SIGUSR2, "a", done)) == INTERRUPTED
    assert done == ["a interrupted"]
    assert "not queued again: Command '['scontrol', 'requeue', '41']' returned non-zero" in caplog.text


def test_time_limits_are_counted(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _submit(tmp_path, "a", timeout_min=1, countdown=1)
    for requeued in (True, False):
        (tmp_path / "slurm" / "scontrol.given").unlink(missing_ok=True)

        def do(job: Job, epoch: str = str(requeued)) -> str | None:
            (job.folder / LAST).parent.mkdir(parents=True, exist_ok=True)
            (job.folder / LAST).write_text(epoch)
            signal.raise_signal(signal.SIGUSR2)
            return None

        assert _start(tmp_path, monkeypatch, do) == INTERRUPTED
        assert bool(slurm.given("scontrol")) == requeued
    assert "not queued again: its time limits are used up (hydra.launcher.max_num_timeout)" in caplog.text


def test_a_time_limit_in_which_nothing_comes_to_its_end_is_too_short(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _submit(tmp_path, "a", timeout_min=1)
    assert _start(tmp_path, monkeypatch, _stopped_by(signal.SIGUSR2, "a", [])) == INTERRUPTED
    assert "no epoch and no run came to its end within hydra.launcher.timeout_min=1" in caplog.text
    assert not slurm.given("scontrol")


@pytest.mark.usefixtures("slurm")
def test_a_run_that_fails_does_not_keep_the_others_and_shows_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _submit(tmp_path, "a", "b", "c")
    done = []

    def do(job: Job) -> str | None:
        done.append(job.folder.name)
        return "it broke" if job.folder.name == "b" else None

    assert _start(tmp_path, monkeypatch, do) == 1
    assert done == ["a", "b", "c"]


def test_edited_code_and_another_cache_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path))
    monkeypatch.setattr(slurm_jobs, "git_revision", lambda: "b")
    work = Batch(())
    for told in (_terms(tmp_path), _terms(tmp_path, git="b"), _terms(tmp_path / "own on purpose", mark="1")):
        Work(work, told)._compare()
    assert not caplog.messages
    Work(work, _terms(tmp_path, git="a", mark="1"))._compare()
    code, cache = caplog.messages
    assert code == "the code was edited: submitted at revision a, runs b"
    assert cache.startswith(f"the cache {tmp_path} (XRAY_TL_CACHE) of ")
    (tmp_path / MARK).write_text("1")
    Work(work, _terms(tmp_path, git="b", mark="1"))._compare()
    assert len(caplog.messages) == 2


def test_a_run_in_a_job_has_the_threads_that_it_was_submitted_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    monkeypatch.setattr("xray_tl.training.device.limit_threads", limits.append)
    monkeypatch.setattr(slurm_jobs, "set_up", lambda job, prefix: None)
    monkeypatch.setattr(slurm_jobs, "do_job", lambda cfg, folder: f"did {folder.name}")
    monkeypatch.setattr(slurm_jobs, "make_weights", lambda job: f"weights of {job.folder.name}")
    job = Job(compose_config(), tmp_path / "run", {})
    for weights in (False, True):
        done = Work(Batch((job,), weights=weights), Terms(3, 10, 60, None, tmp_path, None))._do(job)
        assert done == ("weights of run" if weights else "did run")
    assert limits == [3]


def test_the_last_job_makes_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("xray_tl.sweeps.sweep.summarise", asked.append)
    monkeypatch.setattr(logging.config, "dictConfig", lambda given: None)
    Report(tmp_path, {})()
    assert asked == [tmp_path]
