"""Jobs side by side: each on its own cores, told about, and none lost with another."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from tests.conftest import compose_config
from xray_tl.config.cli import INTERRUPTED
from xray_tl.data.films.processes import cores, own_cores
from xray_tl.store.records import write_record
from xray_tl.sweeps import jobs
from xray_tl.sweeps.jobs import Workers

SLOW_S = 30.0
"""How long a job takes that must not come to its end."""

LOGGING: dict[str, Any] = {
    "version": 1,
    "formatters": {"simple": {"format": "%(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "simple"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}

pinned = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(own_cores()) < 2, reason="needs two cores and a way to choose"
)


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
    cfg: DictConfig, folder: Path, logging_config: dict[str, object], present: list[int] | None
) -> str | None:
    """Note that weights were made, and what was there by then."""
    jobs_ended = sorted(path.name for path in folder.parent.glob("*.ended"))
    with (folder.parent / "made").open("a") as notes:
        on = "own" if present is None else len(present)
        notes.write(f"{cfg.model.name} {on} {jobs_ended}\n")
    return "cannot be had" if cfg.model.name == "vgg16" else None


def note_end(cfg: DictConfig, folder: Path, logging_config: dict[str, object]) -> None:
    """Note that a job has ended."""
    folder.with_suffix(".ended").touch()


def meet(cfg: DictConfig, folder: Path, logging_config: dict[str, object]) -> str | None:
    """Tell of the cores of this job, once the other one of its name runs too."""
    if folder.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    folder.touch()
    start = time.monotonic()
    while len(list(folder.parent.glob(f"{folder.stem}.*"))) < 2:
        assert time.monotonic() - start < SLOW_S
        time.sleep(0.02)
    return json.dumps([own_cores(), cores(), os.environ["OMP_NUM_THREADS"], os.getpid()])


def do_all(workers: Workers) -> dict[str, str | None]:
    """Do the jobs of a pool; return what each gave back."""
    ended: dict[str, str | None] = {}
    workers.wait(lambda name, failure: ended.update({name: failure}))
    return ended


def test_weights_that_jobs_would_wait_for_are_made_first_on_all_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "_work", note_end)
    monkeypatch.setattr(jobs, "_make_weights", stand_in_for_weights)
    monkeypatch.setattr(jobs, "own_cores", lambda: list(range(6)))
    workers = Workers(3)
    arms = [("vgg16", "source"), ("resnet50", "auto"), ("resnet50", "auto"), ("resnet18", "random")]
    done, refused = ("densenet121", "source"), ("vgg13", "source")
    for number, (model, source) in enumerate([*arms, done, refused]):
        cfg = {"model": {"name": model}, "weights": {"source": source}, "trainer": {}, "seed": number}
        workers.submit(OmegaConf.create(cfg), tmp_path / f"{number}", {})
    for number in (1, 4):
        write_record(tmp_path / f"{number}", {"status": "complete"})
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "record.json").write_text("{")
    workers.prepare()
    assert do_all(workers) == dict.fromkeys("012345"), "what cannot be made is for its own job to say"
    made = (tmp_path / "made").read_text()
    assert made == "vgg16 6 []\nresnet50 6 []\n", "none for jobs that have nothing to do"


def test_as_many_sets_of_weights_as_workers_are_made_side_by_side(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "_work", note_end)
    monkeypatch.setattr(jobs, "_make_weights", stand_in_for_weights)
    workers = Workers(min(2, len(own_cores())))
    for number in range(6):
        cfg = {"model": {"name": f"net{number % 2}"}, "weights": {"source": "source", "seed": "${seed}"}}
        workers.submit(
            OmegaConf.create(cfg | {"trainer": {}, "seed": number // 2}), tmp_path / f"{number}", {}
        )
    workers.prepare()
    made = sorted((tmp_path / "made").read_text().splitlines())
    on = "own" if len(own_cores()) > 1 else "1"
    assert made == [f"net0 {on} []"] * 3 + [f"net1 {on} []"] * 3, "one for every seed of weights"
    assert do_all(workers) == dict.fromkeys("012345")


def test_arms_that_start_from_the_same_weights_ask_for_one_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else one worker would make it on its own cores, and the other wait for it."""
    monkeypatch.setattr(jobs, "_work", note_end)
    monkeypatch.setattr(jobs, "_make_weights", stand_in_for_weights)
    monkeypatch.setattr(jobs, "own_cores", lambda: list(range(6)))
    workers = Workers(2)
    for number, model in enumerate([{"head_dropout": 0.5}, {"depth": 3}, {"dropout": 0.0}]):
        cfg = {"model": {"name": "net", **model}, "weights": {"source": "source"}, "trainer": {}}
        workers.submit(OmegaConf.create(cfg), tmp_path / f"{number}", {})
    workers.prepare()
    assert do_all(workers) == dict.fromkeys("012")
    assert (tmp_path / "made").read_text() == "net 6 []\n"


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


def note_run(cfg: DictConfig, folder: Path, logging_config: dict[str, object]) -> None:
    """Note that a job ran, and for which seed."""
    with (folder / "runs").open("a") as notes:
        notes.write(f"{cfg.seed} ")


def test_a_run_that_several_seeds_name_is_done_once_and_counts_for_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "_work", note_run)
    workers, told = Workers(1), []
    for folder, head in (("solved", "solved"), ("mixed", "trained")):
        (tmp_path / folder).mkdir()
        for seed in (0, 1, 2):
            cfg = compose_config("mode=frozen", f"mode.head={head}", f"seed={seed}")
            workers.submit(cfg, tmp_path / folder, {})
    cfg = compose_config("mode=frozen", "shifts=[low_dose]")
    workers.submit(cfg, tmp_path / "solved", {})
    workers.wait(lambda name, failure: told.append((name, failure)))
    assert sorted(told) == [("mixed", None)] * 3 + [("solved", None)] * 4
    assert (tmp_path / "solved" / "runs").read_text() == "0 0 ", "once, and once more for its shift"
    ran = (tmp_path / "mixed" / "runs").read_text()
    assert sorted(ran.split()) == ["0", "1", "2"], "other runs in one folder are for run() to refuse"


def test_a_killed_process_costs_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_work", stand_in)
    monkeypatch.setattr(jobs, "own_cores", lambda: list(range(6)))
    workers = Workers(2)
    for name in ("killed", "good", "refused", "broken", "also good", "threads"):
        workers.submit(OmegaConf.create(), Path(name), {})
    ended = do_all(workers)
    assert ended["good"] is None
    assert ended["also good"] is None
    assert "was killed, out of memory perhaps" in str(ended["killed"])
    assert ended["refused"] == "wrong option"
    assert ended["broken"] == "ValueError: no such thing"
    assert ended["threads"] == "3", "the cores are shared out"


def test_ctrl_c_stops_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobs, "_work", stand_in)
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
        "from tests.sweeps import test_jobs\n"
        "from xray_tl.config import cli\n"
        "from xray_tl.sweeps import jobs\n"
        "if __name__ == '__main__':\n"
        "    jobs._work = test_jobs.stand_in\n"
        "    workers = jobs.Workers(1)\n"
        f"    workers.submit(OmegaConf.create(), Path({str(tmp_path / 'slow')!r}), {{}})\n"
        "    with cli.clean_exit():\n"
        "        workers.wait(print)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    sweep = subprocess.Popen([sys.executable, str(script)], env=subprocess_env, stderr=subprocess.DEVNULL)
    started = tmp_path / "slow.started"
    while not started.exists():
        assert sweep.poll() is None
        time.sleep(0.05)
    sweep.terminate()
    assert sweep.wait(timeout=SLOW_S) == INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pinned
def test_jobs_run_on_cores_of_their_own_which_a_replacement_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = own_cores()[:2]
    monkeypatch.setattr(jobs, "_work", meet)
    monkeypatch.setattr(jobs, "own_cores", lambda: [first, second])
    environment, here = dict(os.environ), own_cores()
    workers = Workers(2)
    for name in ("before.a", "before.b", "killed", "after.a", "after.b"):
        workers.submit(OmegaConf.create(), tmp_path / name, {})
    ended = do_all(workers)
    assert "was killed" in str(ended["killed"])
    told = {name: json.loads(str(ended[name])) for name in ended if name != "killed"}
    for when in ("before", "after"):
        a, b = told[f"{when}.a"], told[f"{when}.b"]
        assert sorted([a[0], b[0]]) == [[first], [second]]
        assert (a[1:3], b[1:3]) == ([1, "1"], [1, "1"]), "threads and decoding processes follow"
    assert len({pid for *_, pid in told.values()}) == 3, "one was replaced"
    assert dict(os.environ) == environment, "the report has all cores"
    assert own_cores() == here


@pinned
def test_a_job_has_the_threads_of_its_group_at_most(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: Callable[..., DictConfig],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One that ends soon after its threads are set: its weights are not there."""
    monkeypatch.setattr(jobs, "own_cores", lambda: own_cores()[:2])
    workers = Workers(2)
    cfg = tiny("trainer.threads=2", "weights=file", f"weights.path={tmp_path / 'nowhere'}")
    workers.submit(cfg, tmp_path / "run", LOGGING)
    assert "nowhere" in str(do_all(workers)["run"])
    assert (
        "run: trainer.threads=2, but jobs run side by side: this one gets its share, 1"
        in capfd.readouterr().err
    )


def test_jobs_import_no_torch_before_a_process_knows_its_threads(subprocess_env: dict[str, str]) -> None:
    code = "import sys, xray_tl.sweeps.jobs; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=subprocess_env).returncode == 0
