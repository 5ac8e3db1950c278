"""A run's folder: one process writes it, and it says how its run stands."""

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.conftest import TINY, compose_config
from xray_tl.errors import InUseError
from xray_tl.store import locks
from xray_tl.store.files import atomic_path, fence, unfence, write_text
from xray_tl.store.locks import machine, take
from xray_tl.store.records import RECORD, write_record
from xray_tl.store.run_folder import CONFIG, LOCK, RunState, begin, claim, shifted, standing, unfinished


@pytest.fixture
def cfg() -> DictConfig:
    return compose_config(*TINY)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(locks, "STALE_S", 0.5)


@pytest.mark.usefixtures("quick")
def test_two_machines_do_not_write_one_folder(
    tmp_path: Path, cfg: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claim(tmp_path, cfg), monkeypatch.context() as other:
        other.setattr(locks, "machine", lambda: "other")
        with pytest.raises(InUseError, match="in use by another process"), claim(tmp_path, cfg):
            pass


@pytest.mark.usefixtures("quick")
def test_who_lost_a_folder_writes_nothing_there_until_it_is_his_again(
    tmp_path: Path, cfg: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, beside = tmp_path / "run", tmp_path / "beside" / "file"
    lost = []
    whole = locks.take

    def noted(*args: object, **options: object) -> locks.Lock:
        lost.append(options["on_lost"])
        return whole(*args, **options)

    monkeypatch.setattr("xray_tl.store.run_folder.take", noted)
    with claim(run, cfg):
        begin(run, cfg)
        lost[0]()
        for path in (run / RECORD, run / "checkpoints" / "last.ckpt"):
            with pytest.raises(InUseError, match="another one took the folder over"):
                write_text(path, "late")
        write_text(beside, "another folder")
    assert not (run / RECORD).exists()
    assert not (run / "checkpoints").exists()
    with claim(run, cfg):
        write_record(run, {"status": "failed", "error": "later"})


def test_a_file_begun_before_a_folder_was_lost_is_not_moved_into_place(tmp_path: Path) -> None:
    def lose_half_way() -> None:
        with atomic_path(tmp_path / "last.ckpt") as partial:
            partial.touch()
            fence(tmp_path)

    with pytest.raises(InUseError):
        lose_half_way()
    unfence(tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_way_a_run_can_stand(tmp_path: Path, cfg: DictConfig) -> None:
    now = standing(tmp_path / "new")
    assert (now.state, now.since) == (RunState.WAITING, None)
    assert not (tmp_path / "new").exists()
    run = tmp_path / "run"
    with claim(run, cfg):
        begin(run, cfg)
        now = standing(run)
        assert (now.state, now.reason) == (RunState.RUNNING, "in use by another process")
        assert now.since == (run / f"{LOCK}-{machine()}").stat().st_mtime
    assert standing(run).state is RunState.KILLED, "it was begun, and nobody recorded its end"
    write_record(run, {"status": "interrupted", "error": None})
    os.utime(run / RECORD, (1000, 1000))
    now = standing(run)
    assert (now.state, now.reason, now.since) == (RunState.INTERRUPTED, "interrupted", 1000)
    left = run / f"{LOCK}-{machine()}"
    left.write_text("0123 999999999")
    assert standing(run).state is RunState.KILLED, "it went on after that, and was killed"
    left.unlink()
    write_record(run, {"status": "failed", "error": "RunError: loss is nan"})
    assert (standing(run).state, unfinished(run)) == (RunState.FAILED, "RunError: loss is nan")
    write_record(run, {"status": "complete", "error": None})
    assert (standing(run).state, unfinished(run)) == (RunState.COMPLETE, None)
    now = standing(run, ["no_grid"])
    assert (now.state, now.reason) == (RunState.INTERRUPTED, "it was not tested on no_grid")
    with take(run / LOCK, "", wait=False):
        assert standing(run).state is RunState.COMPLETE, "a process only looks at it"
        assert standing(run, ["no_grid"]).state is RunState.RUNNING
    write_record(shifted(run, "no_grid"), {"status": "complete"})
    assert standing(run, ["no_grid"]).state is RunState.COMPLETE
    (run / RECORD).write_text("{")
    now = standing(run)
    assert now.state is RunState.FAILED
    assert "is not a run record" in str(now.reason)
    assert (run / CONFIG).is_file()
