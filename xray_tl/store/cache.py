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
from xray_tl.store.files import atomic_path, partials

log = logging.getLogger(__name__)

LIMIT_GB = 20.0
"""Size that the cache is held to, GB."""

KINDS = (
    "audit",
    "batchnorm",
    "contents",
    "difficulty",
    "features",
    "films",
    "floors",
    "ideal",
    "images",
    "rates",
    "source",
)
"""Folders in the cache. Others beside them are not its own and stay as they are."""

Arrays = dict[str, NDArray[Any]]

_KEY = "[0-9a-f]" * 64
"""Pattern of an entry's name."""

_LEFT_S = 3600.0
"""What is half-written for longer than this was left by a process that was killed."""

_checked: dict[Path, tuple[int, int, int]] = {}
"""Entries whose hash this process has checked, and their files' state: large ones take seconds to hash."""

_unusable: set[Path] = set()
"""Folders that were said to be so."""

_too_large: set[Path] = set()
"""Kinds, as folders, of which an entry was said to be so."""

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
        kind: What they are, one of `KINDS`.
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
        lock = acquire(path.with_suffix(".lock"), path)
    except OSError as error:
        kept = _read(path)  # a folder that can only be read
        if kept is None:
            _warn("written to", error)
        return make() if kept is None else kept
    try:
        kept = _read(path)
        if kept is not None:
            _touch(path)
            return kept
        made = make()
        if not worth_keeping(made) or _exceeds_limit(path, made):
            return made
        try:
            _write(path, made)
            _trim(path)
            return _map(path)[0]  # what was made need not stay in memory
        except (OSError, RunError, SafetensorError) as error:
            _warn("written to", error)
        return made
    finally:
        lock.release()


def refresh(kind: str, identities: Iterable[Mapping[str, Any]]) -> None:
    """Note that entries are about to be used, so that making one of them does not remove another."""
    for identity in identities:
        _touch(_entry(kind, identity))


def _entry(kind: str, identity: Mapping[str, Any]) -> Path:
    if kind not in KINDS:
        raise ValueError(f"kind={kind} is unknown: choose from {', '.join(KINDS)}")
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / f"{key}.safetensors"


def _touch(path: Path) -> None:
    """Note on its lock that an entry is used: a change of the entry itself would have it hashed again."""
    with contextlib.suppress(OSError):  # there is none, or a folder that can only be read
        os.utime(path.with_suffix(".lock"))


def _used(path: Path) -> float:
    """Return when an entry was used, seconds; one without a lock: when it was made."""
    lock = path.with_suffix(".lock")
    return (lock if lock.exists() else path).stat().st_mtime


def _state(path: Path) -> tuple[int, int, int]:
    """Return what changes with a file's content."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def acquire(lock: Path, entry: Path) -> FileLock:
    """Hold an entry of the cache by its lock file, waiting for a process that makes it."""
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        log.info("another process makes %s: waiting for it", entry)
        held.acquire(timeout=-1)
    return held


def _warn(used: str, error: Exception) -> None:
    """Say, once a process, that the cache cannot be read or written to."""
    folder = cache_folder()
    if folder not in _unusable:
        _unusable.add(folder)
        log.warning("the cache %s cannot be %s, the run goes on without it: %s", folder, used, error)


def _exceeds_limit(path: Path, arrays: Arrays) -> bool:
    """Tell whether an entry alone is larger than the cache may be; say so once a process and kind."""
    size, most = sum(array.nbytes for array in arrays.values()), limit()
    if size > most and path.parent not in _too_large:
        _too_large.add(path.parent)
        log.warning(
            "%s: an entry of %.3g GB is not kept, all together may take %.3g GB (XRAY_TL_CACHE_GB)",
            path.parent,
            size / 1e9,
            most / 1e9,
        )
    return size > most


def _read(path: Path) -> Arrays | None:
    """Map a file of arrays into memory; `None` where there is none, or a corrupt one, which is mentioned.

    Processes that read the same file share its pages, and what is written to an array stays in its process.
    """
    try:
        state = _state(path)
        arrays, stated = _map(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _warn("read", error)
        return None
    except (ValueError, KeyError, TypeError) as error:
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
    folders = [cache_folder() / kind for kind in KINDS]
    for left in (left for folder in folders for left in partials(folder) if left.parent == folder):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_S:
                left.unlink()
    entries = []
    for path in (path for folder in folders for path in folder.glob(f"{_KEY}.safetensors")):
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            entries.append((_used(path), path.stat().st_size, path))
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
