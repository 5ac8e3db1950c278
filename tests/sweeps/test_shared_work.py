"""What jobs share, and which of them come first."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY, compose_config
from tests.study.test_run_table import write_run
from xray_tl.store import locks
from xray_tl.store.locks import take
from xray_tl.store.run_folder import CONFIG, LOCK
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.shared_work import has_work, in_turn, lacks_weights


def test_the_first_job_of_every_arm_and_data_set_comes_first() -> None:
    queued = []
    for arm in ("resnet50_frozen", "vgg16_frozen"):
        for place in ("0-0", "0-1", "1-0", "1-1"):
            data, seed = place.split("-")
            cfg = compose_config(f"arm={arm}", f"data.seed={data}", f"seed={seed}")
            queued.append(Job(cfg, Path(f"{arm}-{place}"), {}))
    assert [str(job.folder) for job in in_turn(queued)] == [
        "resnet50_frozen-0-0",
        "resnet50_frozen-1-0",
        "vgg16_frozen-0-0",
        "vgg16_frozen-1-0",
        "resnet50_frozen-0-1",
        "resnet50_frozen-1-1",
        "vgg16_frozen-0-1",
        "vgg16_frozen-1-1",
    ]


def test_weights_of_a_run_that_will_be_refused_are_not_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path))
    for budget, lacks in (("small", True), ("huge", False)):
        cfg = compose_config(*TINY, "weights=source", f"weights.budget={budget}")
        assert lacks_weights(Job(cfg, tmp_path / "run", {}), "cpu") == lacks


def test_whether_a_job_has_work_is_seen_in_its_folder_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {
        name: Job(compose_config(*TINY), tmp_path / name, {})
        for name in ("new", "failed", "complete", "another run", "damaged", "in use", "lost elsewhere")
    }
    write_run(tmp_path, "failed", status="failed", error="RunError: loss is nan")
    write_run(tmp_path, "complete")
    other = tmp_path / "another run" / CONFIG
    other.parent.mkdir(parents=True)
    other.write_text(OmegaConf.to_yaml(compose_config(*TINY, "optim.lr=0.5")))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "record.json").write_text("{")
    held = []
    for name, machine in (("in use", locks.machine()), ("lost elsewhere", "another")):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(locks, "machine", lambda machine=machine: machine)
            held.append(take(tmp_path / name / LOCK, "", wait=False))
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waits"))
    assert [name for name, job in jobs.items() if has_work(job)] == ["new", "failed"]
    assert not (tmp_path / "new").exists(), "nothing is written"
    monkeypatch.undo()
    for lock in held:
        lock.release()
