"""A sweep in progress: its jobs counted as Hydra makes them, how many at once, and what is left."""

from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from xray_tl.errors import InputError
from xray_tl.sweeps import progress
from xray_tl.sweeps.progress import Progress, count_jobs, jobs_at_once


@pytest.mark.parametrize(
    ("params", "task"),
    [
        ({}, ["seed=0,1,2", "mode=frozen"]),
        ({"arm": "a,b", "seed": "0,1,2"}, ["study=quick"]),
        ({"arm": "a,b", "seed": "0,1,2"}, ["seed=5", "data.d0=range(10,30,10)"]),
        (None, []),
    ],
)
def test_jobs_are_counted_as_hydra_makes_them(params: dict[str, str] | None, task: list[str]) -> None:
    target = f"{BasicSweeper.__module__}.BasicSweeper"
    config = OmegaConf.create(
        {"hydra": {"sweeper": {"_target_": target, "params": params}, "overrides": {"task": task}}}
    )
    lines = [f"{key}={value}" for key, value in (params or {}).items()] + task
    (batch,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(lines), None)
    assert count_jobs(config) == len(batch)
    config.hydra.sweeper._target_ = "another.Sweeper"
    assert count_jobs(config) is None


def test_a_glob_is_not_counted_and_does_not_stop_the_sweep() -> None:
    target = f"{BasicSweeper.__module__}.BasicSweeper"
    sweep = {"sweeper": {"_target_": target, "params": None}, "overrides": {"task": ["mode=glob(*)"]}}
    assert count_jobs(OmegaConf.create({"hydra": sweep})) is None


def test_progress_names_done_failed_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((0.0, 60.0, 120.0, 180.0, 240.0))
    monkeypatch.setattr("xray_tl.sweeps.progress.time.monotonic", lambda: next(clock))
    sweep = Progress(4, at_once=2)
    assert sweep.job_ended(failed=False) == "sweep: 1 of 4 jobs done, 2 running, about 3 min left"
    second = "sweep: 2 of 4 jobs done, 1 of them failed, 2 running, about 2 min left"
    assert sweep.job_ended(failed=True) == second
    third = "sweep: 3 of 4 jobs done, 1 of them failed, 1 running, about 60 s left"
    assert sweep.job_ended(failed=False) == third
    assert sweep.job_ended(failed=False) == "sweep: 4 of 4 jobs done, 1 of them failed"
    clock = iter((0.0, 0.1, 60.0))
    resumed = Progress(4)
    assert resumed.job_ended(failed=False) == "sweep: 1 of 4 jobs done", "it was complete already"
    assert resumed.job_ended(failed=False) == "sweep: 2 of 4 jobs done, about 2 min left"
    clock = iter((0.0, 60.0, 60.3))
    together = Progress(10, at_once=2)
    together.job_ended(failed=False)
    assert together.job_ended(failed=False) == ("sweep: 2 of 10 jobs done, 2 running, about 4 min left")
    clock = iter((0.0, 60.0))
    assert Progress(None).job_ended(failed=False) == "sweep: 1 of ? jobs done"


@pytest.mark.parametrize(
    ("cores", "memory", "accelerated", "expected"),
    [(1, 64, False, 1), (2, 24, False, 2), (16, 24, False, 6), (4, 2, False, 1), (16, 512, True, 1)],
)
def test_auto_is_one_job_a_core_as_far_as_memory_lasts(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: float, accelerated: bool, expected: int
) -> None:
    present = list(range(cores))
    for name, value in {"own_cores": present, "_memory_gb": memory, "_accelerated": accelerated}.items():
        monkeypatch.setattr(progress, name, lambda value=value: value)
    assert jobs_at_once("auto") == expected


def test_no_more_jobs_than_cores(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "own_cores", lambda: [0, 1])
    assert jobs_at_once(2) == 2
    assert not caplog.messages
    assert jobs_at_once(4) == 2
    assert caplog.messages == ["hydra.callbacks.summary.jobs=4 is more than there are cores: 2 at once"]


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/memory.max": "3000000000", "memory.max": "max"}, 3.0),
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max", "slurm/memory.max": "2000000000"}, 2.0),
        ("0::/slurm/job_7\n", {"slurm/job_8/memory.max": "1000000000"}, None),
        ("0::/\n", {"memory.max": "200000000\n"}, 0.2),
        ("9:cpu:/a\n4:memory:/a/b\n0::/\n", {"memory/a/b/memory.limit_in_bytes": "300000000"}, 0.3),
        ("4:cpu,memory:/b:c\n", {"memory/b:c/memory.limit_in_bytes": "400000000"}, 0.4),
        ("4:memory:/docker/seen/from/outside\n", {"memory/memory.limit_in_bytes": "500000000"}, 0.5),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        (None, {"memory.max": "100000000"}, None),
    ],
)
def test_memory_is_what_the_process_s_own_control_group_may_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str | None,
    limits: dict[str, str],
    expected: float | None,
) -> None:
    monkeypatch.setattr(progress, "OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(progress, "GROUPS", tmp_path / "sys")
    machine = progress._memory_gb()
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups)
    for name, text in limits.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(text)
    assert progress._memory_gb() == (machine if expected is None else expected)


@pytest.mark.parametrize("asked", [0, -1, "many", 1.5])
def test_a_wrong_number_of_jobs_is_refused(asked: int | str) -> None:
    with pytest.raises(InputError, match=r"hydra\.callbacks\.summary\.jobs=.* auto or a number from 1"):
        jobs_at_once(asked)
