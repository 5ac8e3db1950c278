"""Cache of computed arrays on disk: each has a key, is checked by its hash, and may be shared by jobs.

The folder is `XRAY_TL_CACHE`, by default `xray_tl` in the user's cache folder; `XRAY_TL_CACHE_GB` limits its
size. Everything in it can be computed again: if the cache cannot be used, a run warns and takes longer, but
does not fail.
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

from safetensors import SafetensorError

from xray_tl.errors import InputError, RunError
from xray_tl.store.array_file import Arrays, read_arrays, sha256, write_arrays
from xray_tl.store.files import LEFT_S, partials
from xray_tl.store.locks import Lock, take
from xray_tl.store.mounts import is_local

log = logging.getLogger(__name__)

LIMIT_GB = 20.0
"""Default limit of the cache's size, GB."""

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
    "quality",
    "rates",
    "source",
)
"""Subfolders of the cache. Other folders next to them do not belong to it and are left alone."""

_KEY = "[0-9a-f]" * 64
"""Pattern of an entry's name."""

IN_USE_S = 86400.0
"""Time, seconds, for which an entry on a shared disk that was read or made is not removed."""

_checked: dict[Path, tuple[int, int, int]] = {}
"""Entries whose hash this process has checked, with the state of their file; hashing can take seconds."""

_corrupt: dict[Path, tuple[int, int, int]] = {}
"""Entries that this process found corrupt, with the state of their file."""

_unusable: set[Path] = set()
"""Cache folders for which this process has given a warning."""

_too_large: set[Path] = set()
"""Subfolders for which this process has warned of an entry larger than the limit."""


def cache_folder() -> Path:
    """Return the cache folder, which holds everything that is kept between runs."""
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
    """Return the arrays that `make` computes, from the cache if they were computed before.

    While one process computes an entry, other processes that need the same entry wait.

    Args:
        kind: Kind of the arrays, one of `KINDS`.
        identity: Everything that the arrays depend on, as JSON values; its hash is the key.
        make: Computes the arrays.
        worth_keeping: Tells whether computed arrays stay valid, and so are stored.

    Raises:
        InputError: `XRAY_TL_CACHE_GB` is not a valid size.
    """
    limit()  # raises on a wrong value before anything is computed
    path = _entry(kind, identity)
    kept = _read(path)
    if kept is not None:
        return kept
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path)
    except OSError as error:
        _warn("written to", error)
        return make()
    with lock:
        kept = _read(path)  # another process may have made it meanwhile
        if kept is not None:
            return kept
        made = make()
        if not worth_keeping(made) or _exceeds_limit(path, made):
            return made
        try:
            write_arrays(path, made)
            _trim(path)
            if not is_local(path.parent):
                return made
            return read_arrays(path, mapped=True)[0]  # frees the computed arrays
        except (OSError, RunError, SafetensorError) as error:
            _warn("written to", error)
        return made


def refresh(kind: str, identities: Iterable[Mapping[str, Any]]) -> None:
    """Mark entries as just used: storing one of them then does not remove another."""
    for identity in identities:
        _touch(_entry(kind, identity))


def _entry(kind: str, identity: Mapping[str, Any]) -> Path:
    if kind not in KINDS:
        raise ValueError(f"kind={kind} is unknown: choose from {', '.join(KINDS)}")
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / kind / f"{key}.safetensors"


def _touch(path: Path) -> None:
    """Record the use of an entry in a file beside it: touching the entry would have it hashed again."""
    with contextlib.suppress(OSError):  # a read-only folder
        if path.exists():
            _use(path).touch()


def _use(path: Path) -> Path:
    """Return the file whose time is that of an entry's last use."""
    return path.with_suffix(".used")


def _used(path: Path) -> float:
    """Return the time of an entry's last use, seconds; if none was recorded, the time it was written."""
    use = _use(path)
    return (use if use.exists() else path).stat().st_mtime


def _state(path: Path) -> tuple[int, int, int]:
    """Return inode, size and modification time, which change with a file's content."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def acquire(entry: Path) -> Lock:
    """Return the acquired lock of a file that can be made again; wait while another process makes it.

    On a local disk it holds among the processes of this machine. If another machine makes the file meanwhile
    after all, then the same one, whole.

    Raises:
        OSError: The folder cannot be written to.
    """
    note = f"another process makes {entry}: waiting for it"
    lock = entry.with_name(f".{entry.stem}")
    return take(lock, note, wait=True, between_machines=not is_local(entry.parent))


def _warn(used: str, error: Exception) -> None:
    """Warn, once per process, that the cache cannot be read or written to."""
    folder = cache_folder()
    if folder not in _unusable:
        _unusable.add(folder)
        log.warning("the cache %s cannot be %s, the run goes on without it: %s", folder, used, error)


def _exceeds_limit(path: Path, arrays: Arrays) -> bool:
    """Tell whether an entry alone exceeds the limit of the cache; warn once per process and kind."""
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
    """Read a file of arrays and record its use; `None` if it is missing, or is corrupt, which is logged.

    On a local disk it is mapped into memory. Elsewhere it is copied: another machine may remove the file.
    """
    wrong = None
    try:
        state = _state(path)
        if _corrupt.get(path) == state:
            return None
        arrays, stated = read_arrays(path, mapped=is_local(path.parent))
        if _checked.get(path) != state and stated != sha256(arrays):
            wrong = "its hash differs"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _warn("read", error)
        return None
    except (ValueError, KeyError, TypeError) as error:
        wrong = str(error)
    if wrong is not None:
        _corrupt[path] = state
        log.warning("%s is corrupt (%s): it is made again", path, wrong)
        return None
    _checked[path] = state
    _touch(path)
    return arrays


def _trim(newest: Path) -> None:
    """Remove the least recently used entries until the cache is within its limit.

    On a shared disk entries that were used within a day stay: a run on another machine may read them. Source
    weights are not counted and not removed: they take minutes to train.
    """
    most = limit()
    folders = [cache_folder() / kind for kind in KINDS]
    for left in (left for folder in folders for left in partials(folder) if left.parent == folder):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_S:
                left.unlink()
    entries = []
    for path in (path for folder in folders for path in folder.glob(f"{_KEY}.safetensors")):
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            entries.append((_used(path), path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    unused_s = 0.0 if is_local(newest.parent) else IN_USE_S
    for used, size, path in sorted(entries):
        if total <= most or time.time() - used < unused_s:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
            log.info("the cache exceeds %.3g GB (XRAY_TL_CACHE_GB): %s is removed", most / 1e9, path)


def limit() -> float:
    """Return the size limit of the cache, bytes.

    Raises:
        InputError: `XRAY_TL_CACHE_GB` is not a valid size.
    """
    text = os.environ.get("XRAY_TL_CACHE_GB") or str(LIMIT_GB)
    try:
        most = float(text)
    except ValueError:
        most = math.nan
    if not most > 0:
        raise InputError(f"XRAY_TL_CACHE_GB={text} is not valid: choose a size in GB, more than 0")
    return 1e9 * most
