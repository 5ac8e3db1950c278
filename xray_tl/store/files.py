"""Atomic writing of files: each is written next to its final path, then moved there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from xray_tl.errors import InputError, InUseError, RunError

LEFT_S = 600.0
"""Age, seconds, from which a half-written file in a shared folder counts as left by a killed process."""

_MARK = ".partial-"
_NAME_BYTES = 150
"""Longest part of a file's name in that of its half-written file: systems allow 255 bytes in all."""
_LEFT = (f"*{_MARK}*", ".tmp*")  # safetensors names its partial files in the second way
_ERRNO_TEXT = tuple(f"os error {code}" for code in (errno.ENOSPC, errno.EDQUOT))


_lost: set[Path] = set()
"""Folders that another process has taken over from this one."""


def fence(folder: Path) -> None:
    """Refuse to write below a folder from now on: another process has taken it over."""
    _lost.add(folder.resolve())


def unfence(folder: Path) -> None:
    """Write below a folder again: this process has taken it back."""
    _lost.discard(folder.resolve())


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; move the file to `path` if the block succeeds, else remove it.

    Raises:
        RunError: No space is left on the device.
        InUseError: Another process has taken over the folder.
    """
    _check_fence(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_partial_name(path.name))
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner can read
        _check_fence(path)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if out_of_space(error):
            raise RunError(f"no space left on the device while writing {path}") from error
        raise


def _check_fence(path: Path) -> None:
    if _lost and not _lost.isdisjoint(path.resolve().parents):
        raise InUseError(
            f"{path} is not written: this process gave no sign of life, and another one took the folder over"
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(path: Path, option: str) -> None:
    """Check that a file can be written, before its content is computed.

    Raises:
        InputError: It cannot be written; names the option.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        place = path.parent
        while not place.exists():  # missing folders are made later, when the file is written
            place = place.parent
        partial = place / _partial_name("")
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise InputError(f"{option}={path} cannot be written: {error.strerror or error}") from error


def remove_partials(folder: Path, least_s: float = 0.0) -> None:
    """Remove half-written files of killed processes below `folder`.

    Args:
        folder: By default a folder in which only this process writes.
        least_s: Time, seconds, for which nothing was written to them: in a folder where a process elsewhere
            may write, a younger one may be its.
    """
    for partial in partials(folder):
        with contextlib.suppress(FileNotFoundError):  # moved into place, or removed, by another process
            if time.time() - partial.stat().st_mtime >= least_s:
                partial.unlink()


def partials(folder: Path) -> list[Path]:
    """Return the half-written files below `folder`: of running processes, or left by killed ones."""
    return [path for pattern in _LEFT for path in folder.rglob(pattern)]


def _partial_name(name: str) -> str:
    """Return a name that no process on any machine uses: containers have process ids in common."""
    begin = os.fsencode(name)[:_NAME_BYTES].decode(errors="ignore")
    return f"{begin}{_MARK}{socket.gethostname()[:16]}-{os.getpid()}-{secrets.token_hex(4)}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def out_of_space(error: BaseException) -> bool:
    """Tell whether a write failed because the disk or quota is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch's zip writer and safetensors hide the errno in their messages.
    if type(error).__name__ == "SafetensorError":
        return any(sign in str(error) for sign in _ERRNO_TEXT)
    signs = ("PytorchStreamWriter", "inline_container", "No space left")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
