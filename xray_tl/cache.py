"""Results that are made once and kept: arrays under a key, hash-checked, safe under parallel jobs; no torch.

The folder is `XRAY_TL_CACHE`, by default `xray_tl` in the user's cache folder, held to `XRAY_TL_CACHE_GB`.
Whatever is in it can be made again: a cache that cannot be used costs time and a warning, never a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from xray_tl.errors import InputError, RunError
from xray_tl.files import atomic_path, partials

log = logging.getLogger(__name__)

LIMIT_GB = 20.0
"""Size that the cache is held to, GB."""

Arrays = dict[str, NDArray[Any]]

_LEFT_S = 3600.0
"""What is half-written for longer than this was left by a process that was killed."""

_checked: dict[Path, tuple[int, int, int]] = {}
"""Entries whose hash this process has checked, and their files' state: large ones take seconds to hash."""

_unwritable: set[Path] = set()
"""Folders that were said to be so."""

_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "?"}
"""safetensors' names of the types that are kept."""


def cache_folder() -> Path:
    """Return the folder of everything that is kept between runs."""
    chosen = os.environ.get("XRAY_TL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xray_tl"


def remember(
    kind: str,
    identity: Mapping[str, Any],
    make: Callable[[], Arrays],
    worth_keeping: Callable[[Arrays], bool] = lambda _: True,
) -> Arrays:
    """Return the arrays that `make` makes, from the cache if they were made before.

    While one process makes them, others that ask for the same wait for it.

    Args:
        kind: What they are: a folder in the cache.
        identity: All that they follow from, as JSON values; its hash is the key.
        make: Makes them.
        worth_keeping: Whether what was made holds for longer than now.

    Raises:
        InputError: `XRAY_TL_CACHE_GB` is no size.
    """
    limit()  # a wrong one is said before anything is computed
    path = _entry(kind, identity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path)
    except OSError as error:
        kept = _read(path)  # a folder that can only be read
        if kept is None:
            _warn(error)
        return make() if kept is None else kept
    try:
        kept = _read(path)
        if kept is not None:
            _touch(path)
            return kept
        made = make()
        if not worth_keeping(made):
            return made
        try:
            _write(path, made)
            _trim(path)
            return _map(path)[0]  # what was made need not stay in memory
        except (OSError, RunError, SafetensorError) as error:
            _warn(error)
        return made
    finally:
        lock.release()


def refresh(kind: str, identities: Iterable[Mapping[str, Any]]) -> None:
    """Note that entries are about to be used, so that making one of them does not remove another."""
    for identity in identities:
        _touch(_entry(kind, identity))


def _entry(kind: str, identity: Mapping[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / f"{key}.safetensors"


def _touch(path: Path) -> None:
    """Note that an entry is used; it stays as checked as it was."""
    with contextlib.suppress(OSError):  # there is none, or a folder that can only be read
        checked = _checked.get(path) == _state(path)
        os.utime(path)
        if checked:
            _checked[path] = _state(path)


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes with a file's content."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _acquire(path: Path) -> FileLock:
    """Hold an entry, waiting for a process that makes it."""
    lock = FileLock(path.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        log.info("another process makes %s: waiting for it", path)
        lock.acquire(timeout=-1)
    return lock


def _warn(error: Exception) -> None:
    """Say, once a process, that the cache cannot be written to."""
    folder = cache_folder()
    if folder not in _unwritable:
        _unwritable.add(folder)
        log.warning("the cache %s cannot be written to, the run goes on without it: %s", folder, error)


def _read(path: Path) -> Arrays | None:
    """Map a file of arrays into memory; `None` where there is none, or a corrupt one, which is mentioned.

    Processes that read the same file share its pages, and what is written to an array stays in its process.
    """
    try:
        state = _state(path)
        arrays, stated = _map(path)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        log.warning("%s cannot be read: %s", path, error)
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("%s is corrupt (%s): it is made again", path, error)
        return None
    if _checked.get(path) == state:
        return arrays
    if stated != _sha256(arrays):
        log.warning("%s is corrupt (its hash differs): it is made again", path)
        return None
    _checked[path] = state
    return arrays


def _map(path: Path) -> tuple[Arrays, str | None]:
    """Map a safetensors file: the length of its header (8 bytes), the header (JSON), the arrays."""
    content = np.memmap(path, np.uint8, mode="c")
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(content[8:start].tobytes())
    stated = header.pop("__metadata__", {}).get("sha256")
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        part = content[start + first : start + last]
        arrays[name] = part.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, stated


def _write(path: Path, arrays: Arrays) -> None:
    with atomic_path(path) as partial:
        save_file(arrays, partial, metadata={"sha256": _sha256(arrays)})


def _trim(newest: Path) -> None:
    """Remove the entries that were not used for longest, until the cache is within its limit.

    Source weights do not count: they take minutes to make.
    """
    most = limit()
    for left in partials(cache_folder()):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_S:
                left.unlink()
    entries = []
    for path in cache_folder().glob("*/*.safetensors"):
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
            log.info("the cache exceeds %.3g GB (XRAY_TL_CACHE_GB): %s is removed", most / 1e9, path)


def limit() -> float:
    """Return the size that the cache is held to, bytes.

    Raises:
        InputError: `XRAY_TL_CACHE_GB` is no size.
    """
    text = os.environ.get("XRAY_TL_CACHE_GB") or str(LIMIT_GB)
    try:
        most = float(text)
    except ValueError:
        most = math.nan
    if not most > 0:
        raise InputError(f"XRAY_TL_CACHE_GB={text} is not valid: choose a size in GB, more than 0")
    return 1e9 * most


def _sha256(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
