"""Parallel decoding of a data set's files; results are kept in the cache under the hash of their contents."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xray_tl.data.films.contents import hash_contents
from xray_tl.data.films.decode import inside
from xray_tl.data.films.mapped import BLOCK, MappedImages, block_length, can_be_kept, gigabytes_of, is_held
from xray_tl.data.films.processes import FEW, LOST, alone, mapping
from xray_tl.data.films.reading import NO_MEMORY, Read, Reading, decoder_identity, hash_of, try_reading
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import refresh, remember

log = logging.getLogger(__name__)

FACTS = 3
"""Version of the facts that are kept with the images: increase it whenever they change."""


@dataclass(frozen=True)
class Films:
    """The decoded files of a data set: facts about each, and the images if they can be kept.

    Attributes:
        contents: Hash of each file's content [N, 4]; zero if it could not be read.
        readable: Which files can be used [N].
        notes: For each file [N]: why it cannot be used, or the patient that a DICOM file names.
        shape: Height and width of each file [N, 2], pixels.
        bits: Bits per pixel in each file [N].
        mode: Index of its kind in `MODES` [N].
        look: Result of `look_of`: index into `xray_tl.data.films.decode.LOOKS` [N].
        pixels: Hash of each image as a model sees it [N, 4]; copies have the same hash. For a constant image:
            the hash of the file's content.
        image: Each image as a model sees it [N, S, S]; `None` if all together are too large to keep.
    """

    contents: NDArray[np.int64]
    readable: NDArray[np.bool_]
    notes: tuple[str, ...]
    shape: NDArray[np.int64]
    bits: NDArray[np.int64]
    mode: NDArray[np.int64]
    look: NDArray[np.int64]
    pixels: NDArray[np.int64]
    image: MappedImages | None

    def take(self, rows: NDArray[np.int64]) -> Films:
        """Return the files of the given rows."""
        return Films(
            contents=self.contents[rows],
            readable=self.readable[rows],
            notes=tuple(self.notes[row] for row in rows),
            shape=self.shape[rows],
            bits=self.bits[rows],
            mode=self.mode[rows],
            look=self.look[rows],
            pixels=self.pixels[rows],
            image=None if self.image is None else self.image.take(rows),
        )


def open_films(paths: Sequence[str], reading: Reading, workers: int | None, memory_gb: float) -> Films:
    """Decode files, or take the results from the cache.

    Images are stored in blocks, mapped from files of the cache, or in memory if the cache cannot be used; if
    neither can hold them all, images are not kept.

    Args:
        paths: The files.
        reading: How they are read.
        workers: Number of processes; `None`: one per core.
        memory_gb: Memory that the images may take, GB.
    """
    contents = hash_contents(paths)
    there = (contents != 0).any(axis=1)  # other files cannot be read now: perhaps later, so not cached
    gigabytes = gigabytes_of(len(paths), reading.size)
    keep = can_be_kept(gigabytes, memory_gb)
    length = block_length(reading.size) if keep else BLOCK
    starts = range(0, len(paths), length)
    blocks = [(start + np.flatnonzero(there[start : start + length])).tolist() for start in starts]
    blocks = [rows for rows in blocks if rows]
    refresh("films", (_block_identity(contents[rows], reading, keep=keep) for rows in blocks))
    facts = _no_facts(len(paths))
    notes = [""] * len(paths)
    images: list[NDArray[np.float32]] = []
    with Decoding(reading, workers, len(paths)) as decoding:
        for rows in blocks:
            decode = partial(decoding.decode, [paths[row] for row in rows], keep=keep)
            block = remember("films", _block_identity(contents[rows], reading, keep=keep), decode)
            for place, note in enumerate(_unpacked(block["notes"])):
                notes[rows[place]] = note
                if note in (NO_MEMORY, LOST):  # both may come from a passing lack of memory: try again
                    notes[rows[place]] = decoding.decode_into(block, place, paths[rows[place]], note)
            for name, values in facts.items():
                values[rows] = block[name]
            keep = keep and is_held(block["image"], gigabytes, memory_gb)
            if keep:
                images.append(block["image"])
    for row in np.flatnonzero(~there).tolist():
        read = try_reading(paths[row], reading)
        notes[row] = read if isinstance(read, str) else "it could not be read a moment ago"
    constant = ~facts["pixels"].any(1)
    facts["pixels"][constant] = contents[constant]
    kept = MappedImages(images, np.cumsum(there) - 1) if keep and images else None
    return Films(contents=contents, notes=tuple(notes), image=kept, **facts)


def _block_identity(contents: NDArray[np.int64], reading: Reading, *, keep: bool) -> dict[str, Any]:
    return {
        **decoder_identity(reading),
        "facts": FACTS,
        "contents": hashlib.sha256(contents.tobytes()).hexdigest(),
        "kept": keep,
    }


class Decoding:
    """Context in which files are decoded by processes, which start at the first `decode` and end with it.

    Args:
        reading: How files are read.
        workers: Number of processes; `None`: one per core.
        count: Total number of files; a few files are decoded without further processes.
    """

    def __init__(self, reading: Reading, workers: int | None, count: int) -> None:
        self._reading, self._workers, self._count = reading, workers, count
        self._open = ExitStack()
        self._map: Any = None

    def __enter__(self) -> Self:
        """Return the context; processes start later."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self._open.close()

    def decode(self, paths: Sequence[str], *, keep: bool) -> Arrays:
        """Return the facts about each file and, if `keep` is true, the decoded images."""
        log.info("decoding %d files", len(paths))
        if self._map is None:
            self._map = self._open.enter_context(mapping(self._count, self._workers))
        found = _no_facts(len(paths))
        if keep:
            found["image"] = np.zeros((len(paths), self._reading.size, self._reading.size), dtype=np.float32)
        few = not sys.stderr.isatty() or len(paths) <= FEW
        read = self._map(partial(_facts, keep=keep), paths, [self._reading] * len(paths))
        bar = tqdm(read, total=len(paths), unit="file", desc="decoding", disable=few)
        notes = [_enter(facts, found, place) for place, facts in enumerate(bar)]
        return found | {"notes": _packed(notes)}

    def decode_into(self, block: Arrays, place: int, path: str, note: str) -> str:
        """Decode one file again, alone, write the result into its place in a block, and return its note."""
        again = partial(_facts, path, self._reading, keep="image" in block)
        return _enter(alone(again) if note == LOST else again(), block, place)


def _enter(facts: tuple[Read, NDArray[np.int64]] | str, block: Arrays, place: int) -> str:
    """Write the facts about a file into its place in a block; return its note."""
    if isinstance(facts, str):
        return facts
    read, pixels = facts
    for name in ("shape", "bits", "mode", "look"):
        block[name][place] = getattr(read, name)
    block["readable"][place], block["pixels"][place] = True, pixels
    if "image" in block:
        block["image"][place] = read.image
    return read.patient


def _no_facts(count: int) -> Arrays:
    """Return empty facts, as they remain for files that cannot be used."""
    return {
        "readable": np.zeros(count, dtype=bool),
        "shape": np.zeros((count, 2), dtype=np.int64),
        "bits": np.zeros(count, dtype=np.int64),
        "mode": np.zeros(count, dtype=np.int64),
        "look": np.zeros(count, dtype=np.int64),
        "pixels": np.zeros((count, 4), dtype=np.int64),
    }


def _facts(path: str, reading: Reading, *, keep: bool) -> tuple[Read, NDArray[np.int64]] | str:
    """Decode one file and hash its image; an image that is not kept is not sent to the other process.

    The hash is zero if the image is constant.
    """
    read = try_reading(path, reading)
    if isinstance(read, str):
        return read
    inner = inside(read.image, read.shape) if reading.fit == "pad" else read.image
    pixels = hash_of(read.image) if inner.min() < inner.max() else np.zeros(4, dtype=np.int64)
    return (read if keep else read._replace(image=np.empty(0, dtype=np.float32))), pixels


def _packed(notes: list[str]) -> NDArray[np.int64]:
    """Pack texts into an array of integers, since the cache stores arrays."""
    text = json.dumps(notes).encode()
    return np.frombuffer(text + b" " * (-len(text) % 8), dtype="<i8").astype(np.int64)


def _unpacked(packed: NDArray[np.int64]) -> list[str]:
    return [str(note) for note in json.loads(packed.astype("<i8").tobytes())]
