"""Locks that hold whatever `flock` is worth: none, one for each machine, one that a dead machine keeps."""

import errno
import fcntl
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import pytest

from xray_tl.store import locks
from xray_tl.store.locks import BusyError, held_since, machine, take

LOST = 3
"""Exit code of a process that lost its lock."""
Kill = Callable[[BaseProcess], None]


def no_flock(descriptor: int, operation: int) -> None:
    """Lustre, mounted without `flock`."""
    raise OSError(errno.ENOSYS, "Function not implemented")


def own_flock(descriptor: int, operation: int) -> None:
    """NFS, mounted with `local_lock`: another machine's lock is not seen."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(locks, "STALE_S", 0.8)


@pytest.fixture(params=[None, no_flock, own_flock])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `flock` work, be missing, or see no other machine."""
    if request.param is not None:
        monkeypatch.setattr(fcntl, "flock", request.param)


def hold(folder: Path, name: str, flock: Callable[[int, int], None] | None) -> None:
    """Hold a lock in another process, until it is killed or another one takes the lock."""
    locks.HEARTBEAT_S, locks.STALE_S = 0.1, 0.8
    if name:
        locks.machine = lambda: name
    if flock is not None:
        fcntl.flock = flock
    with take(folder / ".lock", "", wait=False, on_lost=lambda: os._exit(LOST)):
        (folder / "taken").touch()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., BaseProcess]]:
    """Start processes that hold the lock of the test's folder."""
    started: list[BaseProcess] = []

    def start(name: str = "", flock: Callable[[int, int], None] | None = None) -> BaseProcess:
        (tmp_path / "taken").unlink(missing_ok=True)
        process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, name, flock))
        started.append(process)
        process.start()
        while not (tmp_path / "taken").exists():
            assert process.is_alive()
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("missing", [None, no_flock])
def test_a_process_killed_on_this_machine_frees_its_lock_at_once(
    tmp_path: Path,
    holder: Callable[..., BaseProcess],
    missing: Callable[[int, int], None] | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if missing is not None:
        monkeypatch.setattr(fcntl, "flock", missing)
    caplog.set_level(logging.INFO)
    for _ in range(2):  # the second one takes it from a dead process, too
        process = holder(flock=missing)
        with pytest.raises(BusyError):
            take(tmp_path / ".lock", "", wait=False)
        assert held_since(tmp_path / ".lock") is not None
        kill(process)
        assert held_since(tmp_path / ".lock") is None
    caplog.clear()
    with take(tmp_path / ".lock", "waited", wait=False):
        assert not caplog.messages, "nothing was waited for"


@pytest.mark.usefixtures("flock")
def test_a_process_that_lives_on_another_machine_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes hold no folder at once, even with one process id."""
    with take(tmp_path / ".lock", "", wait=False):
        monkeypatch.setattr(locks, "machine", lambda: "other")
        assert held_since(tmp_path / ".lock") is not None
        with pytest.raises(BusyError):
            take(tmp_path / ".lock", "", wait=False)
        monkeypatch.undo()
    with take(tmp_path / ".lock", "", wait=False):
        pass


@pytest.mark.usefixtures("flock")
@pytest.mark.parametrize("wait", [False, True])
def test_nothing_waits_for_ever_for_a_process_that_died_on_another_machine(
    tmp_path: Path, holder: Callable[..., BaseProcess], wait: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    kill(holder("other", own_flock))
    assert held_since(tmp_path / ".lock") is not None, "nobody can know yet"
    with take(tmp_path / ".lock", "no sign of life", wait=wait):
        assert caplog.messages == ["no sign of life"]


def test_a_process_that_slept_learns_that_its_lock_was_taken(
    tmp_path: Path, holder: Callable[..., BaseProcess]
) -> None:
    """A suspended job, whose node gave no sign of life: it must not write any more."""
    process = holder("other")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    with take(tmp_path / ".lock", "", wait=False):
        os.kill(process.pid, signal.SIGCONT)
        process.join()
    assert process.exitcode == LOST


def test_a_process_that_is_stopped_on_this_machine_keeps_its_lock(
    tmp_path: Path, holder: Callable[..., BaseProcess]
) -> None:
    """Ctrl-Z, and the same command again."""
    process = holder()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2 * locks.STALE_S)
    with pytest.raises(BusyError):
        take(tmp_path / ".lock", "", wait=False)
    os.kill(process.pid, signal.SIGCONT)


def test_pauses_grow_to_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pauses: list[float] = []
    first = take(tmp_path / ".lock", "", wait=False)

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 60:
            first.release()

    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=sleep, time=time.time))
    take(tmp_path / ".lock", "waiting", wait=True).release()
    assert caplog.messages == ["waiting"]
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.1
    assert pauses[-1] == locks.LONGEST_PAUSE_S == 5
    assert len(pauses) < 30, "600 in a minute with a fixed pause"


def test_a_file_system_without_hard_links_has_flock_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with take(tmp_path / ".lock", "", wait=False), pytest.raises(BusyError):
        take(tmp_path / ".lock", "", wait=False)
    monkeypatch.setattr(fcntl, "flock", no_flock)
    with pytest.raises(OSError, match="hard-link"):
        take(tmp_path / ".lock", "", wait=False)


def test_a_lock_that_was_given_back_leaves_no_file_of_the_machine(tmp_path: Path) -> None:
    with take(tmp_path / ".lock", "", wait=False):
        assert (tmp_path / f".lock-{machine()}").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [".lock.rw"]
    assert held_since(tmp_path / ".lock") is None
    entry = tmp_path / "cache" / "entry"
    entry.parent.mkdir()
    take(entry, "", wait=True, between_machines=False).release()
    assert not list(entry.parent.iterdir())


def test_what_a_live_process_on_another_machine_makes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take(tmp_path / ".entry", "", wait=True)
    signs = 0

    def sleep(seconds: float) -> None:
        nonlocal signs
        signs += 1
        time.sleep(2 * locks.HEARTBEAT_S)
        if signs == 3:
            first.release()

    monkeypatch.setattr(locks, "machine", lambda: "other")
    monkeypatch.setattr(locks, "time", SimpleNamespace(sleep=sleep, time=time.time))
    take(tmp_path / ".entry", "", wait=True).release()
    assert signs == 3
