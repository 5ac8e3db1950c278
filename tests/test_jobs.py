"""Jobs side by side: counted, told about, and none lost with another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from tests.conftest import compose_config
from xray_tl import jobs
from xray_tl.errors import InputError
from xray_tl.jobs import Progress, Workers, count_jobs, jobs_at_once

SLOW_S = 30.0
"""How long a job takes that must not come to its end."""


def stand_in(cfg: DictConfig, folder: Path, logging_config: dict[str, object]) -> str | None:
    """Do what a job's name says."""
    if folder.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if folder.name == "slow":
        folder.with_suffix(".started").write_text(str(os.getpid()))
        time.sleep(SLOW_S)
        folder.touch()
    if folder.name == "broken":
        raise ValueError("no such thing")
    return {"refused": "wrong option", "threads": os.environ["OMP_NUM_THREADS"]}.get(folder.name)


def stand_in_for_weights(
    cfg: DictConfig, folder: Path, logging_config: dict[str, object], cores: int, share: int
) -> str | None:
    """Note that weights were made, and what was there by then."""
    jobs_ended = sorted(path.name for path in folder.parent.glob("*.ended"))
    with (folder.parent / "made").open("a") as notes:
        notes.write(f"{cfg.model.name} {cores} {share} {jobs_ended}\n")
    return "cannot be had" if cfg.model.name == "vgg16" else None


def note_end(cfg: DictConfig, folder: Path, logging_config: dict[str, object]) -> None:
    """Note that a job has ended."""
    folder.with_suffix(".ended").touch()


def test_weights_that_jobs_would_wait_for_are_made_first_on_all_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "_work", note_end)
    monkeypatch.setattr(jobs, "_make_weights", stand_in_for_weights)
    monkeypatch.setattr(jobs, "_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    workers = Workers(2)
    arms = [("vgg16", "source"), ("resnet50", "auto"), ("resnet50", "auto"), ("resnet18", "random")]
    for number, (model, source) in enumerate(arms):
        cfg = {"model": {"name": model}, "weights": {"source": source}, "trainer": {}, "seed": number}
        workers.submit(OmegaConf.create(cfg), tmp_path / f"{number}", {})
    ended: dict[str, str | None] = {}
    workers.prepare()
    workers.wait(lambda name, failure: ended.update({name: failure}))
    assert ended == dict.fromkeys("0123"), "what cannot be made is for its own job to say"
    assert (tmp_path / "made").read_text() == "vgg16 6 3 []\nresnet50 6 3 []\n"


def test_the_first_job_of_every_arm_and_data_set_comes_first() -> None:
    queued: list[jobs.Job] = []
    for arm in ("resnet50_frozen", "vgg16_frozen"):
        for place in ("0-0", "0-1", "1-0", "1-1"):
            data, seed = place.split("-")
            cfg = compose_config(f"arm={arm}", f"data.seed={data}", f"seed={seed}")
            queued.append((cfg, Path(f"{arm}-{place}"), {}))
    assert [str(folder) for _, folder, _ in jobs.in_turn(queued)] == [
        "resnet50_frozen-0-0",
        "resnet50_frozen-1-0",
        "vgg16_frozen-0-0",
        "vgg16_frozen-1-0",
        "resnet50_frozen-0-1",
        "resnet50_frozen-1-1",
        "vgg16_frozen-0-1",
        "vgg16_frozen-1-1",
    ]


def test_a_killed_process_costs_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_work", stand_in)
    monkeypatch.setattr(jobs, "_cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    workers = Workers(2)
    for name in ("killed", "good", "refused", "broken", "also good", "threads"):
        workers.submit(OmegaConf.create(), Path(name), {})
    ended: dict[str, str | None] = {}
    workers.wait(lambda name, failure: ended.update({name: failure}))
    assert ended["good"] is None
    assert ended["also good"] is None
    assert "was killed, out of memory perhaps" in str(ended["killed"])
    assert ended["refused"] == "wrong option"
    assert ended["broken"] == "ValueError: no such thing"
    assert ended["threads"] == "3", "the cores are shared out"


def test_ctrl_c_stops_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs, "_work", stand_in)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    workers = Workers(1)
    for name in ("good", str(tmp_path / "slow"), "also good"):
        workers.submit(OmegaConf.create(), Path(name), {})

    def interrupt(name: str, failure: str | None) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        workers.wait(interrupt)
    assert time.monotonic() - start < SLOW_S
    assert not (tmp_path / "slow").exists()


def test_a_terminated_sweep_leaves_no_process(tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    code = (
        "from pathlib import Path\n"
        "from omegaconf import OmegaConf\n"
        "from tests import test_jobs\n"
        "from xray_tl import jobs\n"
        "if __name__ == '__main__':\n"
        "    jobs._work = test_jobs.stand_in\n"
        "    workers = jobs.Workers(1)\n"
        f"    workers.submit(OmegaConf.create(), Path({str(tmp_path / 'slow')!r}), {{}})\n"
        "    workers.wait(print)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    sweep = subprocess.Popen([sys.executable, str(script)], env=subprocess_env, stderr=subprocess.DEVNULL)
    started = tmp_path / "slow.started"
    while not started.exists():
        assert sweep.poll() is None
        time.sleep(0.05)
    sweep.terminate()
    assert sweep.wait(timeout=SLOW_S) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


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
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    progress = Progress(4, at_once=2)
    assert progress.job_ended(failed=False) == "sweep: 1 of 4 jobs done, 2 running, about 3 min left"
    second = "sweep: 2 of 4 jobs done, 1 of them failed, 2 running, about 2 min left"
    assert progress.job_ended(failed=True) == second
    third = "sweep: 3 of 4 jobs done, 1 of them failed, 1 running, about 60 s left"
    assert progress.job_ended(failed=False) == third
    assert progress.job_ended(failed=False) == "sweep: 4 of 4 jobs done, 1 of them failed"
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
    for name, value in {"_cores": cores, "_memory_gb": memory, "_accelerated": accelerated}.items():
        monkeypatch.setattr(jobs, name, lambda value=value: value)
    assert jobs_at_once("auto") == expected
    assert jobs_at_once(3) == 3


@pytest.mark.parametrize("asked", [0, -1, "many", 1.5])
def test_a_wrong_number_of_jobs_is_refused(asked: int | str) -> None:
    with pytest.raises(InputError, match=r"hydra\.callbacks\.summary\.jobs=.* auto or a number from 1"):
        jobs_at_once(asked)
