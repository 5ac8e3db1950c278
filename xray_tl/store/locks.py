"""Locks that hold among the processes of one machine, and among machines that share a folder.

Two locks are taken, one after the other. `flock` on a file of this machine's own is for its processes: the
kernel releases it whatever ends a process, and keeps it for one that is stopped. Between machines it is not
relied on: a file system may lack it, may keep it to each machine, or may never release that of a machine
which is gone. There filelock's soft lock holds, made of hard links and a heartbeat: whoever gives no sign of
life for `STALE_S` loses it. Where a process of this machine was killed with the soft lock, its next one knows
from the first lock that it is dead, and does not wait.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, SoftFileLockProtocolError, SoftReadWriteLock, Timeout

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
"""Time between two signs of life of a process that holds a lock, seconds."""
STALE_S = 60.0
"""Time without a sign of life after which a process on another machine counts as dead, seconds."""
LONGEST_PAUSE_S = 5.0
"""Pauses between two attempts grow from 0.05 s to this: a server answers all who wait."""

_NO_FLOCK = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class BusyError(Exception):
    """Another process holds a lock."""


class Lock:
    """A lock that this process holds.

    Args:
        path: Its path.
        native: The lock among the processes of this machine; `None` where the file system has none.
        soft: The lock among machines; `None` if it is not needed, or the file system cannot have it.
    """

    def __init__(self, path: Path, native: FileLock | None, soft: SoftReadWriteLock | None) -> None:
        self._path, self._native, self._soft = path, native, soft

    def __enter__(self) -> None:
        """Hold it in a block."""

    def __exit__(self, *_: object) -> None:
        """Give it back at the block's end."""
        self.release()

    def release(self) -> None:
        """Give the lock back; no file of this machine stays behind."""
        with suppress(OSError):  # first: without flock, it may be the next holder's afterwards
            _own(self._path).unlink()
        if self._soft is not None:
            with suppress(OSError):  # no space left, or the folder is gone: it counts as dead after a while
                self._soft.close()
        if self._native is not None:
            self._native.release()


def take(
    path: Path,
    note: str,
    *,
    wait: bool,
    between_machines: bool = True,
    on_lost: Callable[[], None] = lambda: None,
) -> Lock:
    """Take a lock.

    Args:
        path: Its path; the files of the lock have names that begin with it.
        note: What to log, once, if this has to wait.
        wait: Wait until it is free; else only until a process that holds it on another machine shows that it
            lives, or turns out to be dead.
        between_machines: Lock against other machines too.
        on_lost: Called, in another thread, if this process gave no sign of life for so long that another
            machine took the lock.

    Raises:
        BusyError: Another process holds it, and `wait` is false.
        OSError: The folder cannot be written to, or its file system has no locks at all.
    """
    native = _take_native(path, note, wait=wait)
    try:
        soft = _take_soft(path, native, note, on_lost, wait=wait) if between_machines else None
    except BaseException as error:
        if native is not None:
            native.release()
        if isinstance(error, RuntimeError):  # of filelock: another user's folder, or a link to one
            raise OSError(str(error)) from error
        raise
    return Lock(path, native, soft)


def held_since(path: Path) -> float | None:
    """Return when a process took a lock that it holds, seconds; `None` if none does. Nothing is waited for.

    A process on another machine that died in the last `STALE_S` counts as holding it.
    """
    token, pid = _marker(path)
    alive = [changed for name, (_, changed) in _records(path).items() if name != token]
    here = pid is not None and _is_alive(pid) and _is_taken(path)
    if not here and not any(time.time() - changed < STALE_S for changed in alive):
        return None
    return left_since(path) or max(alive, default=time.time())


def left_since(path: Path) -> float | None:
    """Return when the lock was last taken that was not given back, seconds; `None` if all were."""
    taken = []
    for own in path.parent.glob(f"{path.name}-*"):
        with suppress(OSError):
            taken.append(own.stat().st_mtime)
    return max(taken, default=None)


@cache
def machine() -> str:
    """Return a name of this machine since it was started, 8 hex digits; a container is one of its own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        boot += str(Path("/proc/self/ns/pid").stat().st_ino)  # process ids mean the same within one
    except OSError:
        boot = socket.gethostname()
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


def _own(path: Path) -> Path:
    """Return the file of a lock that only processes of this machine use."""
    return path.with_name(f"{path.name}-{machine()}")


def _attempts(note: str) -> Iterator[None]:
    """Yield for each attempt, with a pause before each but the first; log the note before the second."""
    yield
    log.info("%s", note)
    pause = 0.05
    while True:
        time.sleep(pause)
        yield
        pause = min(1.5 * pause, LONGEST_PAUSE_S)


def _take_native(path: Path, note: str, *, wait: bool) -> FileLock | None:
    """Take the lock among the processes of this machine; `None` where the file system has none."""
    lock = FileLock(_own(path), timeout=0, fallback_to_soft=False)
    for _ in _attempts(note):
        try:
            lock.acquire()
            break
        except Timeout:
            if not wait:
                raise BusyError(path) from None
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            return None
    return lock


def _take_soft(
    path: Path, native: FileLock | None, note: str, on_lost: Callable[[], None], *, wait: bool
) -> SoftReadWriteLock | None:
    """Take the lock between machines, and note whose it is; `None` where only flock can be had."""
    soft = SoftReadWriteLock(
        path,
        is_singleton=False,
        heartbeat_interval=HEARTBEAT_S,
        stale_threshold=STALE_S,
        poll_interval=0.05,
        on_compromise=lambda _: on_lost(),
    )
    _bury(path, native)
    seen: dict[str, bytes] = {}
    for _ in _attempts(note):
        try:
            soft.acquire_write(blocking=False)
            break
        except Timeout:
            now = {name: record for name, (record, _) in _records(path).items()}
            if not wait and any(seen.get(name, record) != record for name, record in now.items()):
                raise BusyError(path) from None  # it gave a sign of life
            seen |= now
        except SoftFileLockProtocolError as error:
            if native is None or error.__cause__ is None:  # the cause: no hard links
                raise
            log.debug("%s: no hard links, so it is locked among the processes of this machine alone", path)
            return None
    _mark(path, soft)
    return soft


def _mark(path: Path, soft: SoftReadWriteLock) -> None:
    """Note in this machine's file under which name this process holds the lock between machines."""
    with suppress(OSError):
        snapshot = _root(path) / "gen" / f"{soft.generation:020d}"
        found = re.search(r"writer=(\w+)", snapshot.read_text(encoding="ascii"))
        if found is not None:
            _own(path).write_text(f"{found[1]} {os.getpid()}", encoding="ascii")


def _marker(path: Path) -> tuple[str | None, int | None]:
    """Return what a holder on this machine noted that did not give the lock back: its name, its process."""
    try:
        token, pid = _own(path).read_text(encoding="ascii").split()
        return token, int(pid)
    except (OSError, ValueError):
        return None, None


def _bury(path: Path, native: FileLock | None) -> None:
    """Remove a killed process of this machine from the lock between machines.

    Its record alone is removed, by name; a lock that takes whoever has no record for dead at once then takes
    it out of the log, and nobody else.
    """
    token, pid = _marker(path)
    if token is None or pid is None or (native is None and _is_alive(pid)):
        return
    with suppress(OSError):
        (_root(path) / "holders" / token).unlink()
        last = SoftReadWriteLock(
            path, is_singleton=False, heartbeat_interval=0.05, stale_threshold=0.2, poll_interval=0.05
        )
        with last.write_lock(timeout=2):
            pass


def _root(path: Path) -> Path:
    """Return the folder of the lock between machines, as filelock names it."""
    return path.with_name(f"{path.name}.rw")


def _records(path: Path) -> dict[str, tuple[bytes, float]]:
    """Return the records of all who hold the lock between machines or try to: content, time of last change.

    A sign of life changes both. Opening a file makes NFS ask its server for the time.
    """
    found = {}
    with suppress(OSError):
        for record in (_root(path) / "holders").iterdir():
            with suppress(OSError), record.open("rb") as stream:  # else given back meanwhile
                found[record.name] = stream.read(), os.fstat(stream.fileno()).st_mtime
    return found


def _is_taken(path: Path) -> bool:
    """Tell whether a process of this machine holds a lock; where there is no flock, its living is enough."""
    try:
        with FileLock(_own(path), timeout=0, fallback_to_soft=False):
            return False
    except OSError:
        return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True
