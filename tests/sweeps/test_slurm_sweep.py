"""A sweep on Slurm, seen from the command that submits it."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY, compose_config
from tests.study.test_run_table import write_run
from tests.sweeps.fake_slurm import FakeSlurm
from xray_tl.config import SlurmConfig
from xray_tl.config.cli import INTERRUPTED
from xray_tl.errors import InputError
from xray_tl.store.run_folder import CONFIG
from xray_tl.sweeps import shared_work, slurm_queue, slurm_sweep
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.slurm_jobs import NOT_AGAIN
from xray_tl.sweeps.slurm_queue import Queued
from xray_tl.sweeps.slurm_submission import error_log
from xray_tl.sweeps.slurm_sweep import SlurmSweep

OPTIONS = SlurmConfig(cpus_per_task=1, timeout_min=30)

Moment = Callable[[], dict[str, str] | None]
"""What is queued: id of a job -> why it waits."""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(slurm_sweep, "SETTLE_S", 0.0)
    monkeypatch.setattr(slurm_sweep, "SAY_S", 0.0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return FakeSlurm.install(tmp_path / "slurm", monkeypatch)


def _jobs(folder: Path, *names: str, options: Sequence[str] = ()) -> list[Job]:
    """Return runs, each in a job of its own: `1_0`, `1_1` and so on where they are submitted first."""
    return [
        Job(compose_config(*TINY, *options, f"seed={seed}"), folder / "sweep" / name, {})
        for seed, name in enumerate(names)
    ]


def _queue(monkeypatch: pytest.MonkeyPatch, *moments: Moment) -> None:
    """Let something happen at each look at the queue, and say what is queued then; the last stays."""
    left = list(moments)

    def queued(job_ids: Collection[str]) -> dict[str, Queued] | None:
        found = (left.pop(0) if len(left) > 1 else left[0])()
        if found is None:
            return None
        return {job_id: Queued("", reason) for job_id, reason in found.items() if job_id in job_ids}

    monkeypatch.setattr(slurm_queue, "queued", queued)


def _sweep(folder: Path, jobs: list[Job], options: SlurmConfig = OPTIONS) -> SlurmSweep:
    return SlurmSweep(options, folder / "sweep", jobs, {})


def _complete(folder: Path, *names: str) -> None:
    for name in names:
        write_run(folder / "sweep", name)


def test_what_is_complete_is_not_submitted(slurm: FakeSlurm, tmp_path: Path) -> None:
    _complete(tmp_path, "a", "b")
    assert _sweep(tmp_path, _jobs(tmp_path, "a", "b")).do() == {}
    assert not slurm.batches()


def test_it_waits_and_tells_how_far_it_is(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    queue = {"1_0": "", "1_1": "Priority", "1_2": "PartitionTimeLimit", "2": "Dependency"}

    def first() -> dict[str, str]:
        write_run(tmp_path / "sweep", "b", status="interrupted", error=None)
        return queue

    def second() -> None:
        _complete(tmp_path, "b")
        write_run(tmp_path / "sweep", "c", status="failed", error="RunError: loss is nan")

    def third() -> dict[str, str]:
        _complete(tmp_path, "d")
        return {"2": "Dependency", "7": ""}

    _complete(tmp_path, "a")
    write_run(tmp_path / "sweep", "c", status="failed", error="RunError: of an earlier command")
    _queue(monkeypatch, first, second, third)
    failures = _sweep(tmp_path, _jobs(tmp_path, "a", "b", "c", "d")).do()
    assert failures == {"c": "RunError: loss is nan"}
    said = [line for line in caplog.messages if line.startswith("sweep: ")]
    assert said == [
        "sweep: 1 of 4 done, 3 waiting",
        "sweep: 2 of 4 done, 1 failed, 1 waiting",
        "sweep: 3 of 4 done, 1 failed",
    ]
    others = [line for line in caplog.messages if not line.startswith("sweep: ")]
    assert others == [
        "3 runs are submitted in 3 jobs: 1",
        "job 1_2 does not start: Slurm says PartitionTimeLimit (hydra.launcher.partition, timeout_min, ...)",
        "squeue does not answer: waiting until it does",
    ]
    assert slurm.given("scancel") == "--state=PENDING 2\n", "this command makes the report"


def test_a_job_without_a_record_is_its_runs_failure_with_slurm_s_reason(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("killed", "cancelled", "never", "stopped", "forgotten", "failed before")
    write_run(tmp_path / "sweep", "failed before", status="failed", error="RunError: no space left")
    states = ("FAILED Reason=None ExitCode=137:0", "CANCELLED", "FAILED ExitCode=0:53", "FAILED")
    for number, state in enumerate(states):
        slurm.say(f"job.1_{number}", f"JobId=1 JobState={state}")

    def gone() -> dict[str, str]:
        for name, job_id in (("killed", "1_0"), ("stopped", "1_3"), ("forgotten", "1_4"), ("", "1_5")):
            (tmp_path / "sweep" / name / CONFIG).parent.mkdir(parents=True, exist_ok=True)
            error_log(tmp_path / "sweep", job_id).parent.mkdir(parents=True, exist_ok=True)
            error_log(tmp_path / "sweep", job_id).touch()
        write_run(tmp_path / "sweep", "stopped", status="interrupted", error=None)
        error_log(tmp_path / "sweep", "1_3").write_text(
            f"ERROR {NOT_AGAIN}: limits\nERROR {NOT_AGAIN}: enough\n"
        )
        return {}

    _queue(monkeypatch, gone)
    failures = _sweep(tmp_path, _jobs(tmp_path, *names)).do()
    log = {number: error_log(tmp_path / "sweep", f"1_{number}") for number in range(6)}
    on = "the same command goes on with the run"
    assert failures == {
        "killed": f"job 1_0 was killed (signal 9), {on} ({log[0]})",
        "cancelled": f"job 1_1 was cancelled (scancel), {on} ({log[1]})",
        "never": f"job 1_2 left nothing in {tmp_path / 'sweep'}: is it on a disk that the nodes see?",
        "stopped": f"interrupted: job 1_3 was {NOT_AGAIN}: enough ({log[3]})",
        "forgotten": f"job 1_4 is gone, {on} ({log[4]})",
        "failed before": f"job 1_5 is gone, {on} ({log[5]})",
    }


def test_a_run_that_was_interrupted_before_and_whose_job_is_cancelled_in_the_queue(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job left no log."""
    write_run(tmp_path / "sweep", "a", status="interrupted", error=None)
    slurm.say("job.1", "JobId=1 JobState=CANCELLED")
    _queue(monkeypatch, dict)
    failures = _sweep(tmp_path, _jobs(tmp_path, "a")).do()
    assert failures["a"].startswith("job 1 was cancelled (scancel), the same command goes on")


def test_ctrl_c_leaves_the_jobs_alone_and_says_how_to_end_them(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    _queue(monkeypatch, interrupt)
    with pytest.raises(SystemExit) as stop:
        _sweep(tmp_path, _jobs(tmp_path, "a", "b")).do()
    assert stop.value.code == INTERRUPTED
    assert capsys.readouterr().err == (
        "interrupted: the jobs of Slurm go on. squeue --me shows them, the same command waits for them, "
        "scancel 1 2 ends them\n"
    )
    assert not slurm.given("scancel")
    monkeypatch.setattr(slurm_sweep, "batches", lambda *_: interrupt())
    with pytest.raises(KeyboardInterrupt):  # nothing was submitted
        _sweep(tmp_path, _jobs(tmp_path, "c")).do()


def test_without_waiting_it_leaves_the_report_to_the_last_job(
    slurm: FakeSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        _sweep(tmp_path, _jobs(tmp_path, "a", "b"), replace(OPTIONS, wait=False)).do()
    assert stop.value.code == 0
    assert capsys.readouterr().out == "2 runs are queued: jobs 1; job 2 makes the report\n"
    assert not slurm.given("scancel")


def test_a_second_command_does_not_submit_what_is_queued(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(SystemExit):
        _sweep(tmp_path, _jobs(tmp_path, "a", "b"), replace(OPTIONS, wait=False)).do()
    (tmp_path / "sweep" / "b").mkdir()

    def done() -> dict[str, str]:
        _complete(tmp_path, "a", "b", "c")
        return {}

    _queue(monkeypatch, lambda: {"1_0": "", "2": "Dependency"}, lambda: {"1_0": ""}, done)
    assert _sweep(tmp_path, _jobs(tmp_path, "a", "b", "c")).do() == {}
    assert "1 runs are queued already (jobs 1): they are not submitted again" in caplog.text
    assert "2 runs are submitted in 2 jobs: 3" in caplog.text
    assert len(slurm.batches()) == 4, "job 1_1 is gone: its run is submitted again, with the new one"
    assert slurm.asked()[3]["dependency"] == "afterany:1:3", "the report waits for all"
    (tmp_path / "sweep" / "a" / "record.json").unlink()
    _queue(monkeypatch, lambda: None)
    with pytest.raises(InputError, match="squeue does not answer"):
        _sweep(tmp_path, _jobs(tmp_path, "a")).do()


def test_source_weights_are_made_first_where_they_are_missing(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def lacks(job: Job, device: str) -> bool:
        asked.append((job.folder.name, device))
        return job.folder.name == "a"

    monkeypatch.setattr(slurm_sweep, "lacks_weights", lacks)
    jobs = _jobs(tmp_path, "a", options=["weights=source", "trainer=auto"])
    jobs += _jobs(tmp_path, "b", options=["weights=source", "model=vgg16"])
    with pytest.raises(SystemExit):
        _sweep(tmp_path, jobs, replace(OPTIONS, wait=False)).do()
    assert asked == [("a", "cuda"), ("b", "cuda")]
    assert [each.get("dependency") for each in slurm.asked()] == [None, "afterany:1_0", "afterany:1:2"]
    assert slurm.asked()[0]["gpus-per-node"] == "1"


def test_files_that_have_changed_are_noticed_without_a_job(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _complete(tmp_path, "a", "b")
    films = ["data=folder", "data.root=films"]
    jobs = [
        Job(compose_config(*films, f"seed={seed}"), tmp_path / "sweep" / name, {})
        for seed, name in enumerate("ab")
    ]
    monkeypatch.setattr(
        slurm_sweep, "do_job", lambda cfg, folder: "the images have changed" if folder.name == "b" else None
    )
    assert _sweep(tmp_path, jobs).do() == {"b": "the images have changed"}
    assert not slurm.batches()


@pytest.mark.usefixtures("slurm")
def test_a_complete_run_of_another_configuration_is_no_run_of_this_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _complete(tmp_path, "a")
    path = tmp_path / "sweep" / "a" / CONFIG
    path.parent.mkdir(exist_ok=True)
    path.write_text(OmegaConf.to_yaml(compose_config(*TINY, "optim.lr=0.5")))
    failures = _sweep(tmp_path, _jobs(tmp_path, "a")).do()
    assert "holds a run with another configuration" in failures["a"]
    with pytest.raises(SystemExit) as stop:
        _sweep(tmp_path, _jobs(tmp_path, "a", "b"), replace(OPTIONS, wait=False)).do()
    assert stop.value.code == 1
    assert "failed: a: " in caplog.text


@pytest.mark.parametrize("option", ["cpus_per_task", "timeout_min", "runs_per_job", "array_parallelism"])
@pytest.mark.usefixtures("slurm")
def test_numbers_are_from_one(tmp_path: Path, option: str) -> None:
    with pytest.raises(InputError, match=rf"hydra\.launcher\.{option}=0 is not valid"):
        _sweep(tmp_path, [], replace(OPTIONS, **{option: 0}))


@pytest.mark.usefixtures("slurm")
def test_a_time_limit_outlasts_the_signal_before_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"signal_delay_s=90 leaves nothing of .*timeout_min=1:"):
        _sweep(tmp_path, [], replace(OPTIONS, timeout_min=1))


@pytest.mark.usefixtures("slurm")
def test_wrong_options_of_the_report_s_job_are_told_before_the_runs_are_submitted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'partiton' not in 'SlurmConfig'"):
        _sweep(tmp_path, [], replace(OPTIONS, report={"partiton": "cpu"}))


@pytest.mark.parametrize("option", ["additional_parameters", "report"])
@pytest.mark.usefixtures("slurm")
def test_options_of_others_are_given_by_name(tmp_path: Path, option: str) -> None:
    with pytest.raises(
        InputError, match=rf"hydra\.launcher\.{option}=cpu is not valid: give {{OPTION: VALUE}}"
    ):
        _sweep(tmp_path, [], replace(OPTIONS, **{option: "cpu"}))


def test_sets_of_weights_are_asked_for_once(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path, "a", "b", options=["weights=source"])
    assert shared_work.sets_of_weights(jobs, lambda job: job.folder.name == "b") == jobs[1:]
