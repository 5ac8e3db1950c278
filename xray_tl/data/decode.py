"""One file -> one grey image in [0, 1]: PNG, JPEG, TIFF, DICOM; no torch, so that workers start fast."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Grey = NDArray[np.float32]

LARGEST = 100_000_000
"""Pixels of an image, at most: more is taken for a decompression bomb."""
FITS = ("pad", "crop", "stretch")
INTENSITIES = ("range", "percentile")
FORMATS = ("PNG", "JPEG", "TIFF")
"""What pictures are read as, whatever their names say."""
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
"""What these begin with."""
PHOTOMETRIC = 262
"""The tag of a TIFF file that is 0 where 0 is white."""
_BITS = {"1": 1, "L": 8, "LA": 8, "P": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "YCbCr": 8, "F": 32, "I": 32}


class UnreadableError(Exception):
    """A file that cannot be used as a radiograph; says why."""


@dataclass(frozen=True)
class Film:
    """A decoded file.

    Attributes:
        grey: Intensities [H, W] in [0, 1], bright where the film is: dense tissue.
        bits: Bits that the file stores a pixel in.
        mode: `grey`, `colour`, `MONOCHROME1` or `MONOCHROME2`.
        patient: DICOM's PatientID; empty elsewhere.
    """

    grey: Grey
    bits: int
    mode: str
    patient: str = ""


def read_film(path: Path) -> Film:
    """Read a file at its own size.

    Raises:
        UnreadableError: It is no radiograph that can be used.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    if not head:
        raise UnreadableError("it is empty")
    named_dicom = path.suffix.lower() in (".dcm", ".dicom")
    if head[128:] == b"DICM" or (named_dicom and not head.startswith(PICTURES)):
        from xray_tl.data.dicom import read_dicom

        return read_dicom(path)
    return _read_picture(path)


def fit_film(grey: Grey, size: int, fit: str, intensity: str) -> Grey:
    """Bring an image [H, W] to [size, size] and to its range.

    Args:
        grey: Intensities in [0, 1].
        size: Pixels a side.
        fit: `pad` with black to a square, `crop` the middle square, or `stretch`.
        intensity: `range` leaves intensities as they are; `percentile` maps the image's 1st percentile to 0
            and its 99th to 1.
    """
    if intensity == "percentile":
        low, high = np.percentile(grey, (1, 99))
        grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1, dtype=np.float32)
    height, width = grey.shape
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        grey = grey[top : top + side, left : left + side]
    elif fit == "pad":
        framed = np.zeros((size, size), dtype=np.float32)
        inner = inside(framed, grey.shape)
        inner[:] = _resized(grey, *inner.shape)
        return framed
    return _resized(grey, size, size)


def inside(image: Grey, shape: Iterable[int]) -> Grey:
    """Return the part of a padded image [S, S] that a film of a shape (height, width) takes."""
    size = len(image)
    sides = [int(side) for side in shape]
    scale = size / max(sides)  # in this order: a tie rounded the other way is another image
    height, width = (max(1, round(side * scale)) for side in sides)
    top, left = (size - height) // 2, (size - width) // 2
    return image[top : top + height, left : left + width]


def _resized(grey: Grey, height: int, width: int) -> Grey:
    """Resize by area where the image shrinks much, then bilinear with support: nothing is aliased."""
    if grey.shape == (height, width):
        return grey
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.clip(np.asarray(small, dtype=np.float32), 0, 1)


def _read_picture(path: Path) -> Film:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is below
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > LARGEST:
                    raise UnreadableError(
                        f"{image.width} x {image.height} pixels: at most {LARGEST:,} are allowed"
                    )
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise UnreadableError(f"it has {frames} frames")
                return _grey(image)
    except Image.DecompressionBombError:
        raise UnreadableError(f"it has more than the {LARGEST:,} pixels that are allowed") from None
    except UnidentifiedImageError:
        raise UnreadableError("it is no image, whatever its name says") from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes the readers fail in many ways
        raise UnreadableError(f"it is damaged ({error})") from error


def _grey(image: Image.Image) -> Film:
    mode = image.mode
    if mode.startswith("I;16"):
        grey = np.asarray(image, dtype=np.float32) / np.float32(65535)
        tags = getattr(image, "tag_v2", {})
        white_is_zero = tags.get(PHOTOMETRIC) == 0  # Pillow turns 8 bits around, and leaves 16 as they are
        return Film(1 - grey if white_is_zero else grey, 16, "grey")
    if mode == "I":  # what some versions make of 16 bits
        pixels = np.asarray(image, dtype=np.float32)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise UnreadableError("its pixels need more than 16 bits")
        return Film(pixels / np.float32(65535), 16, "grey")
    if mode == "F":
        pixels = np.asarray(image, dtype=np.float32)
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UnreadableError("its floating-point pixels do not lie in [0, 1]")
        return Film(pixels, 32, "grey")
    if mode not in _BITS:
        raise UnreadableError(f"pixels of the kind {mode} are not supported")
    upright = ImageOps.exif_transpose(image)
    colour = "grey" if mode in ("1", "L", "LA") else "colour"
    flat = upright if mode == "L" else _over_black(upright).convert("L")
    return Film(np.asarray(flat, dtype=np.float32) / np.float32(255), _BITS[mode], colour)


def _over_black(image: Image.Image) -> Image.Image:
    """Put a transparent picture on black."""
    if image.mode not in ("LA", "RGBA", "P") or (image.mode == "P" and "transparency" not in image.info):
        return image
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
