"""Atomic writing of files: each is written next to its final path, then moved there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from xray_tl.errors import InputError, RunError

_MARK = ".partial-"
_LEFT = (f"*{_MARK}*", ".tmp*")  # safetensors names its partial files in the second way
_ERRNO_TEXT = tuple(f"os error {code}" for code in (errno.ENOSPC, errno.EDQUOT))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; move the file to `path` if the block succeeds, else remove it.

    Raises:
        RunError: No space is left on the device.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{_MARK}{os.getpid()}")
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())  # safetensors makes files that only their owner can read
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if out_of_space(error):
            raise RunError(f"no space left on the device while writing {path}") from error
        raise


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
        partial = place / f"{_MARK}{os.getpid()}"
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise InputError(f"{option}={path} cannot be written: {error.strerror or error}") from error


def remove_partials(folder: Path) -> None:
    """Remove half-written files of killed processes below `folder`."""
    for partial in partials(folder):
        partial.unlink(missing_ok=True)


def partials(folder: Path) -> list[Path]:
    """Return the half-written files below `folder`: of running processes, or left by killed ones."""
    return [path for pattern in _LEFT for path in folder.rglob(pattern)]


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
