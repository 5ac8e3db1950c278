"""Jobs side by side: each on its own cores or device, told about, and none lost with another."""

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
from xray_tl.sweeps import side_by_side
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.side_by_side import TRIES, Workers

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


def stand_in(job: Job) -> str | None:
    """Do what a job's name says."""
    folder = job.folder
    if folder.name.startswith("killed"):
        with folder.with_suffix(".tries").open("a") as notes:
            notes.write("x")
        if folder.name == "killed" or len(folder.with_suffix(".tries").read_text()) < TRIES:
            os.kill(os.getpid(), signal.SIGKILL)
    if folder.name == "slow":
        folder.with_suffix(".started").write_text(str(os.getpid()))
        time.sleep(SLOW_S)
        folder.touch()
    if folder.name == "broken":
        raise ValueError("no such thing")
    return {"refused": "wrong option", "threads": os.environ["OMP_NUM_THREADS"]}.get(folder.name)


def stand_in_for_weights(job: Job, present: list[int] | None) -> str | None:
    """Note that weights were made, and what was there by then."""
    jobs_ended = sorted(path.name for path in job.folder.parent.glob("*.ended"))
    with (job.folder.parent / "made").open("a") as notes:
        on = "own" if present is None else len(present)
        notes.write(f"{job.cfg.model.name} {on} {jobs_ended}\n")
    return "cannot be had" if job.cfg.model.name == "vgg16" else None


def note_end(job: Job) -> None:
    """Note that a job has ended."""
    job.folder.with_suffix(".ended").touch()


def meet(job: Job) -> str | None:
    """Tell of the cores of this job, once the other one of its name runs too."""
    folder = job.folder
    if folder.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    folder.touch()
    start = time.monotonic()
    while len(list(folder.parent.glob(f"{folder.stem}.*"))) < 2:
        assert time.monotonic() - start < SLOW_S
        time.sleep(0.02)
    told = [os.environ[name] for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")]
    return json.dumps([own_cores(), cores(), *told, os.getpid()])


def jobs_named(folder: Path, *names: str) -> list[Job]:
    """Return jobs that have nothing but a name, and are all different."""
    return [Job(OmegaConf.create({"seed": number}), folder / name, {}) for number, name in enumerate(names)]


def do_all(workers: Workers, jobs: list[Job]) -> dict[str, str | None]:
    """Do jobs; return what each gave back."""
    ended: dict[str, str | None] = {}
    failures = workers.do(jobs, lambda name, failure: ended.update({name: failure}))
    assert failures == {name: failure for name, failure in ended.items() if failure is not None}
    return ended


@pytest.fixture
def weights_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "do_elsewhere", note_end)
    monkeypatch.setattr(side_by_side, "make_weights", stand_in_for_weights)


@pytest.mark.usefixtures("weights_noted")
def test_weights_that_jobs_would_wait_for_are_made_first_on_all_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(side_by_side, "own_cores", lambda: list(range(6)))
    arms = [("vgg16", "source"), ("resnet50", "auto"), ("resnet50", "auto"), ("resnet18", "random")]
    done, refused = ("densenet121", "source"), ("vgg13", "source")
    jobs = []
    for number, (model, source) in enumerate([*arms, done, refused]):
        cfg = {"model": {"name": model}, "weights": {"source": source}, "trainer": {}, "seed": number}
        jobs.append(Job(OmegaConf.create(cfg), tmp_path / f"{number}", {}))
    for number in (1, 4):
        write_record(tmp_path / f"{number}", {"status": "complete"})
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "record.json").write_text("{")
    assert do_all(Workers(3), jobs) == dict.fromkeys("012345"), "what cannot be made, its own job says"
    made = (tmp_path / "made").read_text()
    assert made == "vgg16 6 []\nresnet50 6 []\n", "none for jobs that have nothing to do"


@pytest.mark.usefixtures("weights_noted")
def test_as_many_sets_of_weights_as_workers_are_made_side_by_side(tmp_path: Path) -> None:
    jobs = []
    for number in range(6):
        cfg = {"model": {"name": f"net{number % 2}"}, "weights": {"source": "source", "seed": "${seed}"}}
        jobs.append(
            Job(OmegaConf.create(cfg | {"trainer": {}, "seed": number // 2}), tmp_path / f"{number}", {})
        )
    assert do_all(Workers(min(2, len(own_cores()))), jobs) == dict.fromkeys("012345")
    made = sorted((tmp_path / "made").read_text().splitlines())
    on = "own" if len(own_cores()) > 1 else "1"
    assert made == [f"net0 {on} []"] * 3 + [f"net1 {on} []"] * 3, "one for every seed of weights"


@pytest.mark.usefixtures("weights_noted")
def test_arms_that_start_from_the_same_weights_ask_for_one_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else one worker would make it on its own cores, and the other wait for it."""
    monkeypatch.setattr(side_by_side, "own_cores", lambda: list(range(6)))
    jobs = []
    for number, model in enumerate([{"head_dropout": 0.5}, {"depth": 3}, {"dropout": 0.0}]):
        cfg = {"model": {"name": "net", **model}, "weights": {"source": "source"}, "trainer": {}}
        jobs.append(Job(OmegaConf.create(cfg), tmp_path / f"{number}", {}))
    assert do_all(Workers(2), jobs) == dict.fromkeys("012")
    assert (tmp_path / "made").read_text() == "net 6 []\n"


def note_run(job: Job) -> None:
    """Note that a job ran, and for which seed."""
    with (job.folder / "runs").open("a") as notes:
        notes.write(f"{job.cfg.seed} ")


def test_a_run_that_several_seeds_name_is_done_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(side_by_side, "do_elsewhere", note_run)
    jobs = []
    for folder, head in (("solved", "solved"), ("mixed", "trained")):
        (tmp_path / folder).mkdir()
        for seed in (0, 1, 2):
            cfg = compose_config("mode=frozen", f"mode.head={head}", f"seed={seed}", "weights=random")
            jobs.append(Job(cfg, tmp_path / folder, {}))
    jobs.append(
        Job(compose_config("mode=frozen", "shifts=[low_dose]", "weights=random"), tmp_path / "solved", {})
    )
    assert do_all(Workers(1), jobs) == {"solved": None, "mixed": None}
    assert (tmp_path / "solved" / "runs").read_text() == "0 0 ", "once, and once more for its shift"
    ran = (tmp_path / "mixed" / "runs").read_text()
    assert sorted(ran.split()) == ["0", "1", "2"], "other runs in one folder are for run() to refuse"


def test_a_killed_process_costs_its_own_job_which_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(side_by_side, "do_elsewhere", stand_in)
    monkeypatch.setattr(side_by_side, "own_cores", lambda: list(range(6)))
    names = ("killed", "killed once", "good", "refused", "broken", "also good", "threads")
    ended = do_all(Workers(2), jobs_named(tmp_path, *names))
    assert ended["good"] is None
    assert ended["also good"] is None
    assert ended["killed once"] is None
    assert "was killed, out of memory perhaps" in str(ended["killed"])
    assert (tmp_path / "killed.tries").read_text() == "x" * TRIES
    assert ended["refused"] == "wrong option"
    assert ended["broken"] == "ValueError: no such thing"
    assert ended["threads"] == "3", "the cores are shared out"


def test_ctrl_c_stops_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(side_by_side, "do_elsewhere", stand_in)
    workers = Workers(1)

    def interrupt(name: str, failure: str | None) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        workers.do(jobs_named(tmp_path, "good", "slow", "also good"), interrupt)
    assert time.monotonic() - start < SLOW_S
    assert not (tmp_path / "slow").exists()


def test_a_terminated_sweep_leaves_no_process(tmp_path: Path, subprocess_env: dict[str, str]) -> None:
    code = (
        "from pathlib import Path\n"
        "from tests.sweeps import test_side_by_side\n"
        "from xray_tl.config import cli\n"
        "from xray_tl.sweeps import side_by_side\n"
        "if __name__ == '__main__':\n"
        "    side_by_side.do_elsewhere = test_side_by_side.stand_in\n"
        f"    jobs = test_side_by_side.jobs_named(Path({str(tmp_path)!r}), 'slow')\n"
        "    with cli.clean_exit():\n"
        "        side_by_side.Workers(1).do(jobs, print)\n"
    )
    script = tmp_path / "sweep.py"
    script.write_text(code)
    sweep = subprocess.Popen([sys.executable, str(script)], env=subprocess_env, stderr=subprocess.DEVNULL)
    started = tmp_path / "slow.started"
    while not (started.exists() and started.read_text()):
        assert sweep.poll() is None
        time.sleep(0.05)
    sweep.terminate()
    assert sweep.wait(timeout=SLOW_S) == INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pinned
def test_jobs_run_on_places_of_their_own_which_a_replacement_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = own_cores()[:2]
    monkeypatch.setattr(side_by_side, "do_elsewhere", meet)
    monkeypatch.setattr(side_by_side, "own_cores", lambda: [first, second])
    monkeypatch.setattr(side_by_side, "TRIES", 1)
    environment, here = dict(os.environ), own_cores()
    workers = Workers(2, ["GPU-a", "GPU-b"])
    ended = do_all(workers, jobs_named(tmp_path, "before.a", "before.b", "killed", "after.a", "after.b"))
    assert "was killed" in str(ended["killed"])
    told = {name: json.loads(str(ended[name])) for name in ended if name != "killed"}
    for when in ("before", "after"):
        a, b = told[f"{when}.a"], told[f"{when}.b"]
        assert sorted([[a[0], a[3]], [b[0], b[3]]]) == [[[first], "GPU-a"], [[second], "GPU-b"]]
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
    monkeypatch.setattr(side_by_side, "own_cores", lambda: own_cores()[:2])
    cfg = tiny("trainer.threads=2", "weights=file", f"weights.path={tmp_path / 'nowhere'}")
    assert "nowhere" in str(do_all(Workers(2), [Job(cfg, tmp_path / "run", LOGGING)])["run"])
    assert (
        "run: trainer.threads=2, but jobs run side by side: this one gets its share, 1"
        in capfd.readouterr().err
    )


def test_jobs_import_no_torch_before_a_process_knows_its_threads(subprocess_env: dict[str, str]) -> None:
    code = (
        "import sys, xray_tl.sweeps.side_by_side; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=subprocess_env).returncode == 0
