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
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xray_tl.cache import Arrays, ForNow, remember
from xray_tl.config import DataConfig, RadiographDataConfig
from xray_tl.data.contents import hash_contents
from xray_tl.data.decode import Grey, UnreadableError, fit_film, inside, read_film
from xray_tl.data.mapped import MappedImages, block_length, can_be_kept, gigabytes_of, is_held

log = logging.getLogger(__name__)

DECODER = 2
"""Version of decoding: raise it whenever a change moves a pixel."""
FACTS = 2
"""Version of what is kept beside the images: raise it whenever that changes."""

LIBRARIES = ("pillow", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
FEW = 24
"""So many files are decoded faster here than processes start."""
NO_MEMORY = "it does not fit into memory"
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
        pixels: A hash of what a model sees of each [N, 4], by which copies are known: a film in two files has
            one. Of an image that is constant: its content's.
        image: What a model sees of it [N, S, S]; `None` if all together are too large to keep.
    """

    contents: NDArray[np.int64]
    readable: NDArray[np.bool_]
    notes: tuple[str, ...]
    shape: NDArray[np.int64]
    bits: NDArray[np.int64]
    mode: NDArray[np.int64]
    pixels: NDArray[np.int64]
    image: MappedImages | None

    def take(self, rows: NDArray[np.int64]) -> Films:
        """Return some of the files."""
        return Films(
            contents=self.contents[rows],
            readable=self.readable[rows],
            notes=tuple(self.notes[row] for row in rows),
            shape=self.shape[rows],
            bits=self.bits[rows],
            mode=self.mode[rows],
            pixels=self.pixels[rows],
            image=None if self.image is None else self.image.take(rows),
        )


def open_films(paths: Sequence[str], reading: Reading, workers: int | None, memory_gb: float) -> Films:
    """Decode files, or take what was decoded before.

    The images stay in the cache's files, whatever they take; where these cannot hold them, in memory.

    Args:
        paths: The files.
        reading: How they are read.
        workers: Processes; `None`: one a core.
        memory_gb: What the images may take of memory.
    """
    contents = hash_contents(paths)
    gigabytes = gigabytes_of(len(paths), reading.size)
    keep = can_be_kept(gigabytes, memory_gb)
    facts = _no_facts(len(paths))
    notes = [""] * len(paths)
    images: list[NDArray[np.float32]] = []
    there = contents.any(1)  # else a file could not be read now: that may pass, and is not kept
    for row in np.flatnonzero(~there).tolist():
        read = try_reading(paths[row], reading)
        notes[row] = read if isinstance(read, str) else "it could not be read a moment ago"
    present, length = np.flatnonzero(there), block_length(reading.size)
    for start in range(0, len(present), length):
        rows = present[start : start + length]
        identity = {
            **decoder_identity(reading),
            "facts": FACTS,
            "contents": hashlib.sha256(contents[rows].tobytes()).hexdigest(),
            "kept": keep,
        }
        decode = partial(_decode, [paths[row] for row in rows], reading, workers, keep=keep)
        block = remember("films", identity, decode)
        for name, values in facts.items():
            values[rows] = block[name]
        for row, note in zip(rows, _unpacked(block["notes"]), strict=True):
            notes[row] = note
        keep = keep and is_held(block["image"], gigabytes, memory_gb)
        if keep:
            images.append(block["image"])
    place = np.cumsum(there) - 1
    constant = ~facts["pixels"].any(1)
    facts["pixels"][constant] = contents[constant]
    kept = MappedImages(images, place) if keep and images else None
    return Films(contents=contents, notes=tuple(notes), image=kept, **facts)


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
        return NO_MEMORY


def _decode(paths: Sequence[str], reading: Reading, workers: int | None, *, keep: bool) -> Arrays:
    log.info("decoding %d files", len(paths))
    count = len(paths)
    found = _no_facts(count)
    if keep:
        found["image"] = np.zeros((count, reading.size, reading.size), dtype=np.float32)
    notes: list[str] = []
    bar = tqdm(total=count, unit="file", desc="decoding", disable=not sys.stderr.isatty() or count <= FEW)
    with bar, mapping(count, workers) as do:
        for index, facts in enumerate(do(partial(_facts, keep=keep), paths, [reading] * count)):
            bar.update()
            if isinstance(facts, str):
                notes.append(facts)
                continue
            read, pixels = facts
            notes.append(read.patient)
            found["readable"][index] = True
            found["shape"][index], found["bits"][index], found["mode"][index] = (
                read.shape,
                read.bits,
                read.mode,
            )
            found["pixels"][index] = pixels
            if keep:
                found["image"][index] = read.image
    found["notes"] = _packed(notes)
    if NO_MEMORY in notes:  # another time there may be more
        raise ForNow(found)
    return found


def _no_facts(count: int) -> Arrays:
    """Return what is known of files that cannot be used."""
    return {
        "readable": np.zeros(count, dtype=bool),
        "shape": np.zeros((count, 2), dtype=np.int64),
        "bits": np.zeros(count, dtype=np.int64),
        "mode": np.zeros(count, dtype=np.int64),
        "pixels": np.zeros((count, 4), dtype=np.int64),
    }


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


def _facts(path: str, reading: Reading, *, keep: bool) -> tuple[Read, NDArray[np.int64]] | str:
    """Decode one file, and hash its image, which need not cross to another process where it is not kept.

    The hash is zero where the image is constant.
    """
    read = try_reading(path, reading)
    if isinstance(read, str):
        return read
    inner = inside(read.image, read.shape) if reading.fit == "pad" else read.image
    pixels = hash_of(read.image) if inner.min() < inner.max() else np.zeros(4, dtype=np.int64)
    return (read if keep else read._replace(image=np.empty(0, dtype=np.float32))), pixels


def hash_of(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Hash an image [4]."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()
    return np.frombuffer(digest, dtype="<i8").astype(np.int64)


def _packed(notes: list[str]) -> NDArray[np.int64]:
    """Pack texts into numbers: the cache keeps arrays."""
    text = json.dumps(notes).encode()
    return np.frombuffer(text + b" " * (-len(text) % 8), dtype="<i8").astype(np.int64)


def _unpacked(packed: NDArray[np.int64]) -> list[str]:
    return [str(note) for note in json.loads(packed.astype("<i8").tobytes())]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
