"""The files of a data set, decoded once, in parallel, and kept under the hash of their contents; no torch."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xray_tl.cache import Arrays, remember
from xray_tl.config import DataConfig, RadiographDataConfig
from xray_tl.data.decode import Grey, UnreadableError, fit_film, read_film

log = logging.getLogger(__name__)

DECODER = 2
"""Version of decoding: raise it whenever a change moves a pixel."""

BLOCK = 1024
"""Files that are kept together: so many are decoded again if one changes, or decoding is interrupted."""
LIBRARIES = ("pillow", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
FEW = 24
"""So many files are decoded faster here than processes start."""
MODES = ("grey", "colour", "MONOCHROME1", "MONOCHROME2")


class Reading(NamedTuple):
    """How files are read: `size` pixels a side, `fit` and `intensity` as `fit_film` has them."""

    size: int
    fit: str
    intensity: str


def reading_of(config: DataConfig) -> Reading:
    """Return how a data set's files are read; films beside generated ones: padded, in their bits' range."""
    if isinstance(config, RadiographDataConfig):
        return Reading(config.image_size, config.fit, config.intensity)
    return Reading(config.image_size, "pad", "range")


@dataclass(frozen=True)
class Films:
    """Files as far as they are known after all of them have been decoded.

    Attributes:
        contents: A hash of each file's content [N, 4]; zero where it could not be read.
        readable: Which of them can be used [N].
        notes: Of each file [N]: why it cannot be used, or the patient that a DICOM file names.
        shape: Height and width of each file [N, 2], pixels.
        bits: Bits that it stores a pixel in [N].
        mode: Index of its kind in `MODES` [N].
        image: What a model sees of it [N, S, S], mapped into memory; `None` if all together are too large.
    """

    contents: NDArray[np.int64]
    readable: NDArray[np.bool_]
    notes: tuple[str, ...]
    shape: NDArray[np.int64]
    bits: NDArray[np.int64]
    mode: NDArray[np.int64]
    image: NDArray[np.float32] | None

    def take(self, rows: NDArray[np.int64]) -> Films:
        """Return some of the files."""
        return Films(
            contents=self.contents[rows],
            readable=self.readable[rows],
            notes=tuple(self.notes[row] for row in rows),
            shape=self.shape[rows],
            bits=self.bits[rows],
            mode=self.mode[rows],
            image=None if self.image is None else self.image[rows],
        )


def open_films(paths: Sequence[str], reading: Reading, workers: int | None, limit_gb: float) -> Films:
    """Decode files, or take what was decoded before.

    Args:
        paths: The files.
        reading: How they are read.
        workers: Processes; `None`: one a core.
        limit_gb: The images are kept up to this size.
    """
    contents = _contents(paths)
    keep = 4e-9 * reading.size**2 * len(paths) <= limit_gb
    blocks = []
    for start in range(0, len(paths), BLOCK):
        part, hashes = paths[start : start + BLOCK], contents[start : start + BLOCK]
        identity = {
            **decoder_identity(reading),
            "contents": hashlib.sha256(hashes.tobytes()).hexdigest(),
            "kept": keep,
        }
        decode = partial(_decode, part, reading, workers, keep=keep)
        whole = (hashes != 0).any(1).all()  # else a file could not be read now: that may pass
        blocks.append(remember("films", identity, decode) if whole else decode())
    alone = {"notes"} if len(blocks) > 1 else {"notes", "image"}
    joined = {
        name: np.concatenate([block[name] for block in blocks]) for name in blocks[0] if name not in alone
    }
    notes = tuple(note for block in blocks for note in _unpacked(block["notes"]))
    image = blocks[0].get("image") if len(blocks) == 1 else joined.get("image")  # one block stays mapped
    return Films(contents, joined["readable"], notes, joined["shape"], joined["bits"], joined["mode"], image)


def decoder_identity(reading: Reading) -> dict[str, Any]:
    """Return all that pixels follow from beside the files' contents."""
    return {"decoder": DECODER, "reading": list(reading), "libraries": [_version(name) for name in LIBRARIES]}


class Read(NamedTuple):
    """One file, read: the image [S, S], the file's height and width, bits, index of its mode, patient."""

    image: Grey
    shape: tuple[int, int]
    bits: int
    mode: int
    patient: str


def read_fitted(path: str, reading: Reading) -> Read:
    """Decode one file.

    Raises:
        UnreadableError: It cannot be used.
    """
    film = read_film(Path(path))
    fitted = fit_film(film.grey, reading.size, reading.fit, reading.intensity)
    height, width = film.grey.shape
    return Read(fitted, (height, width), film.bits, MODES.index(film.mode), film.patient)


def try_reading(path: str, reading: Reading) -> Read | str:
    """Decode one file, or return why it cannot be used."""
    try:
        return read_fitted(path, reading)
    except UnreadableError as error:
        return str(error)
    except MemoryError:
        return "it does not fit into memory"


def _decode(paths: Sequence[str], reading: Reading, workers: int | None, *, keep: bool) -> Arrays:
    log.info("decoding %d files", len(paths))
    count = len(paths)
    found: Arrays = {
        "readable": np.zeros(count, dtype=bool),
        "shape": np.zeros((count, 2), dtype=np.int64),
        "bits": np.zeros(count, dtype=np.int64),
        "mode": np.zeros(count, dtype=np.int64),
    }
    if keep:
        found["image"] = np.zeros((count, reading.size, reading.size), dtype=np.float32)
    notes: list[str] = []
    bar = tqdm(total=count, unit="file", desc="decoding", disable=not sys.stderr.isatty() or count <= FEW)
    with bar, mapping(count, workers) as do:
        for index, read in enumerate(do(partial(_facts, keep=keep), paths, [reading] * count)):
            bar.update()
            if isinstance(read, str):
                notes.append(read)
                continue
            notes.append(read.patient)
            found["shape"][index], found["bits"][index], found["mode"][index] = (
                read.shape,
                read.bits,
                read.mode,
            )
            found["readable"][index] = True
            if keep:
                found["image"][index] = read.image
    return found | {"notes": _packed(notes)}


def cores() -> int:
    """Count the cores that this process may use: its share of them, where jobs run side by side."""
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(present, int(share)) if share.isdecimal() and int(share) else present


@contextmanager
def mapping(count: int, workers: int | None) -> Iterator[Any]:
    """Give a `map` that works in processes of its own, or in this one where there is little to do."""
    wanted = cores() if workers is None else workers
    if count <= FEW or wanted < 2:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(wanted, context, initializer=_end_with_parent)
    try:
        yield partial(pool.map, chunksize=8)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Leave no process behind, however the one that started it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _facts(path: str, reading: Reading, *, keep: bool) -> Read | str:
    """Decode one file; without its image where that is not kept, and need not cross to another process."""
    read = try_reading(path, reading)
    if isinstance(read, str) or keep:
        return read
    return read._replace(image=np.empty(0, dtype=np.float32))


def _packed(notes: list[str]) -> NDArray[np.int64]:
    """Pack texts into numbers: the cache keeps arrays."""
    text = json.dumps(notes).encode()
    return np.frombuffer(text + b" " * (-len(text) % 8), dtype="<i8").astype(np.int64)


def _unpacked(packed: NDArray[np.int64]) -> list[str]:
    return [str(note) for note in json.loads(packed.astype("<i8").tobytes())]


def _contents(paths: Sequence[str]) -> NDArray[np.int64]:
    """Hash every file's content [N, 4]; those whose size and times have not changed are not read again."""
    seen = [_stat(path) for path in paths]
    identity = {"contents": hashlib.sha256(repr(list(zip(paths, seen, strict=True))).encode()).hexdigest()}

    def compute() -> Arrays:
        with ThreadPoolExecutor() as pool:
            contents = np.stack(list(pool.map(_content, paths)))
        if not contents.any(1).all():
            raise _UnreadNow(contents)
        return {"sha256": contents}

    try:
        return remember("contents", identity, compute)["sha256"]
    except _UnreadNow as unread:
        return unread.contents


class _UnreadNow(Exception):  # noqa: N818  (no error: nothing is kept)
    """A file could not be read just now, which is nothing to remember."""

    def __init__(self, contents: NDArray[np.int64]) -> None:
        super().__init__()
        self.contents = contents


def _stat(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  (a hundred thousand times)
    except OSError:
        return (0, 0, 0)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _content(path: str) -> NDArray[np.int64]:
    try:
        with Path(path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return np.zeros(4, dtype=np.int64)
    return np.frombuffer(digest, dtype="<i8").astype(np.int64)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
