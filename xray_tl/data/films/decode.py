"""Decode one file (PNG, JPEG, TIFF, DICOM) to a grey image in [0, 1]; without torch, for fast workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]

LARGEST = 100_000_000
"""Largest number of pixels of an image: more are treated as a decompression bomb."""
FITS = ("pad", "crop", "stretch")
INTENSITIES = ("range", "percentile")
LOOKS = ("", "blank", "two-valued", "dark")
"""Possible results of `look_of`; the first is a normal image."""
_SIDE = 128
"""Approximate number of pixels per side that `look_of` uses."""
_STEP = 2 / 255
"""An image whose intensities have a smaller standard deviation shows nothing."""


class UnreadableError(Exception):
    """A file cannot be used as a radiograph; the message says why."""


@dataclass(frozen=True)
class Film:
    """A decoded radiograph.

    Attributes:
        grey: Intensities [H, W] in [0, 1]; dense tissue is bright.
        bits: Bits per pixel in the file.
        mode: `grey`, `colour`, `MONOCHROME1` or `MONOCHROME2`.
        patient: DICOM's PatientID; empty for other files.
    """

    grey: Grey
    bits: int
    mode: str
    patient: str = ""


def read_film(path: Path) -> Film:
    """Decode a file at its original size.

    Raises:
        UnreadableError: The file cannot be used as a radiograph.
    """
    from xray_tl.data.films.pictures import PICTURES, read_picture, what_else  # it imports this module

    try:
        with path.open("rb") as stream:
            head = stream.read(352)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
    if not head:
        raise UnreadableError("it is empty")
    picture = head.startswith(PICTURES)
    is_dicom = head[128:132] == b"DICM"
    other = "" if is_dicom or picture else what_else(path, head)
    if other:
        raise UnreadableError(f"it is {other}: PNG, JPEG, TIFF and DICOM are read")
    if is_dicom or (path.suffix.lower() in (".dcm", ".dicom") and not picture):
        from xray_tl.data.films.dicom import read_dicom

        return read_dicom(path)
    return read_picture(path)


def fit_film(grey: Grey, size: int, fit: str, intensity: str) -> Grey:
    """Return an image [H, W] resized to [size, size], with its intensities scaled as chosen.

    Args:
        grey: Intensities in [0, 1].
        size: Side of the result, pixels.
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
    """Return the part of a padded image [S, S] that holds the original image of shape (height, width)."""
    size = len(image)
    sides = [int(side) for side in shape]
    scale = size / max(sides)  # another order of operations may round a tie differently
    height, width = (max(1, round(side * scale)) for side in sides)
    top, left = (size - height) // 2, (size - width) // 2
    return image[top : top + height, left : left + width]


def _resized(grey: Grey, height: int, width: int) -> Grey:
    """Resize without aliasing: by area where the image shrinks much, then bilinear with antialiasing."""
    if grey.shape == (height, width):
        return grey
    image = Image.fromarray(np.ascontiguousarray(grey, dtype=np.float32))
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.clip(np.asarray(small, dtype=np.float32), 0, 1)


def look_of(grey: Grey, intensity: str) -> int:
    """Classify an image [H, W] as normal, blank, two-valued or dark, from about 128 x 128 of its pixels.

    `blank`: it shows nothing, SD below 2/255. `two-valued`: 99 % of it lies within 3 % of the ends of its
    range, some at each end, as in masks and with windows of width 1. `dark`: 99 % of it lies below 0.3, which
    only matters with the intensity `range`; an image of 10 bits in a file of 16 is dark, not blank.

    Returns:
        An index into `LOOKS`.
    """
    steps = [max(1, round(side / _SIDE)) for side in grey.shape]
    sample = np.ascontiguousarray(grey[:: steps[0], :: steps[1]])
    low, high = float(sample.min()), float(sample.max())
    centered = (sample - sample.mean()).ravel()
    sd = float(np.sqrt(np.dot(centered, centered) / sample.size))  # faster than numpy's std
    if sd < _STEP and not _shows(sample, sd):
        return LOOKS.index("blank")
    ends = [np.count_nonzero(sample <= low + 0.03 * (high - low))]
    ends.append(np.count_nonzero(sample >= high - 0.03 * (high - low)))
    if sum(ends) >= 0.99 * sample.size and min(ends) >= 0.001 * sample.size:
        return LOOKS.index("two-valued")
    if intensity == "range" and np.count_nonzero(sample >= 0.3) < 0.01 * sample.size:
        return LOOKS.index("dark")
    return 0


def _shows(sample: Grey, sd: float) -> bool:
    """Tell whether intensities of small SD are an image in few of the file's bits: dark, with shapes.

    It needs a low median, many grey levels and similar neighbours; in noise, neighbours are not similar.
    """
    if float(np.median(sample)) > 0.1 or min(sample.shape) < 2 or len(np.unique(sample)) < 32:
        return False
    across = float(np.square(np.diff(sample, axis=1)).mean())
    down = float(np.square(np.diff(sample, axis=0)).mean())
    return 1 - max(across, down) / (2 * sd * sd) > 0.5
