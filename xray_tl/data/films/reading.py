"""Reading of one file as a data set asks for it, and what the result depends on beside its content."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_tl.config import DataConfig, RadiographDataConfig
from xray_tl.data.films.decode import Grey, UnreadableError, fit_film, look_of, read_film
from xray_tl.store.allocator import keep_large_blocks

DECODER = 3
"""Version of decoding: increase it whenever a change alters a pixel."""

LIBRARIES = {
    "pillow": "PIL",
    "pydicom": "pydicom",
    "pylibjpeg": "pylibjpeg",
    "pylibjpeg-libjpeg": "libjpeg",
    "pylibjpeg-openjpeg": "openjpeg",
    "pylibjpeg-rle": "rle",
    "python-gdcm": "gdcm",
    "pyjpegls": "jpeg_ls",
}
"""All packages that may decode files, and the names of their modules."""
NO_MEMORY = "it does not fit into memory"
_keep_blocks = cache(keep_large_blocks)
"""Called once in each process: every image uses the memory blocks that the previous one freed."""
MODES = ("grey", "colour", "MONOCHROME1", "MONOCHROME2")


class Reading(NamedTuple):
    """How files are read: `size` pixels per side; `fit` and `intensity` as in `fit_film`."""

    size: int
    fit: str
    intensity: str


def reading_of(config: DataConfig) -> Reading:
    """Return how files are read for a data set; for a generated one: padded, in the range of their bits."""
    if isinstance(config, RadiographDataConfig):
        return Reading(config.image_size, config.fit, config.intensity)
    return Reading(config.image_size, "pad", "range")


def decoder_identity(reading: Reading) -> dict[str, Any]:
    """Return everything but the files' contents that the pixels depend on."""
    return {"decoder": DECODER, "reading": list(reading), "libraries": [_version(name) for name in LIBRARIES]}


class Read(NamedTuple):
    """One decoded file: image [S, S], original height and width, bits, mode index, patient, look index."""

    image: Grey
    shape: tuple[int, int]
    bits: int
    mode: int
    patient: str
    look: int


def read_fitted(path: str, reading: Reading) -> Read:
    """Decode one file to the size and intensities chosen.

    Raises:
        UnreadableError: The file cannot be used.
    """
    _keep_blocks()
    film = read_film(Path(path))
    fitted = fit_film(film.grey, reading.size, reading.fit, reading.intensity)
    height, width = film.grey.shape
    look = look_of(film.grey, reading.intensity)
    return Read(fitted, (height, width), film.bits, MODES.index(film.mode), film.patient, look)


def try_reading(path: str, reading: Reading) -> Read | str:
    """Decode one file as `read_fitted` does, or return the reason why it cannot be used."""
    try:
        return read_fitted(path, reading)
    except UnreadableError as error:
        return str(error)
    except MemoryError:
        return NO_MEMORY
    except Exception as error:  # a failure of any kind must not affect other files
        return f"it cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:160]})"


def hash_of(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return the hash of an image [4]."""
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).digest()
    return np.frombuffer(digest, dtype="<i8").astype(np.int64)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # some are installed without metadata
        return "unknown" if find_spec(LIBRARIES[package]) else None
