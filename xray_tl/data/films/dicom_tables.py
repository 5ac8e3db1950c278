"""Conversion of DICOM stored values to intensities: lookup tables, rescaling, windows (PS3.3 C.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xray_tl.data.films.decode import UnreadableError
from xray_tl.data.films.dicom_header import named, number
from xray_tl.data.films.dicom_words import Stored

if TYPE_CHECKING:
    from pydicom import Dataset

Values = NDArray[np.float64]
Step = Callable[[Values], Values]
Ends = tuple[float, float]


def presented(dataset: Dataset, stored: Stored, kind: str) -> NDArray[np.float32]:
    """Return intensities [H, W] in [0, 1] by the file's transformations; padding becomes dark.

    Raises:
        UnreadableError: A transformation of the file is not valid.
    """
    modality, ends = _modality(dataset, stored.ends)
    voi = _voi(dataset, ends)

    def shade(values: Values) -> NDArray[np.float32]:
        grey = np.clip(voi(modality(values)), 0, 1)
        return (1 - grey if kind == "MONOCHROME1" else grey).astype(np.float32)

    low, high = stored.ends
    if stored.bits <= 16:  # computed once per value, not per pixel
        table = shade(np.arange(low, high + 1, dtype=np.float64))
        grey = table[stored.values if low == 0 else stored.values.astype(np.int32) - low]
    else:
        grey = shade(stored.values.astype(np.float64))
    padding = stored.padding
    if padding is not None and padding.any() and not padding.all():
        grey[padding] = grey[~padding].min()
    return grey


def _modality(dataset: Dataset, ends: Ends) -> tuple[Step, Ends]:
    """Return the modality transformation, PS3.3 C.11.1, and the range of its results."""
    if dataset.get("ModalityLUTSequence"):
        lut = read_lut(dataset, "ModalityLUTSequence", ends)
        return lut.look_up, (0, 2**lut.bits - 1)
    slope, intercept = number(dataset, "RescaleSlope", 1), number(dataset, "RescaleIntercept", 0)
    if not (isfinite(slope) and slope):
        raise UnreadableError(f"its {named('RescaleSlope')} is {slope:g}")
    if not isfinite(intercept):
        raise UnreadableError(
            f"its {named('RescaleSlope')} is {slope:g} and its {named('RescaleIntercept')} is {intercept:g}"
        )
    low, high = sorted(slope * end + intercept for end in ends)
    return (lambda values: values * slope + intercept), (low, high)


def _voi(dataset: Dataset, ends: Ends) -> Step:
    """Return the VOI transformation, PS3.3 C.11.2, to [0, 1]; without one, the whole possible range."""
    if dataset.get("VOILUTSequence"):
        lut = read_lut(dataset, "VOILUTSequence", ends)
        return lambda values: lut.look_up(values) / (2**lut.bits - 1)
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    window = _window(dataset, function)
    if window is not None:
        return lambda values: _windowed(values, *window, function)
    low, high = ends
    return lambda values: (values - low) / max(high - low, 1e-12)


def _window(dataset: Dataset, function: str) -> tuple[float, float] | None:
    """Return the centre and the width of the first valid window, PS3.3 C.11.2.1.2."""
    least = np.finfo(np.float64).tiny if function in ("SIGMOID", "LINEAR_EXACT") else 1
    for center, width in zip_longest(_several(dataset, "WindowCenter"), _several(dataset, "WindowWidth")):
        if center is not None and width is not None and isfinite(center) and least <= width < float("inf"):
            return center, width
    return None


def _several(dataset: Dataset, name: str) -> list[float | None]:
    """Return the numbers of a tag with several values; `None` for each that is empty or not a number."""
    try:
        value: Any = dataset.get(name)
    except ValueError:
        return []
    numbers: list[float | None] = []
    items: list[Any] = [value] if value is None or isinstance(value, str | int | float) else list(value)
    for item in items:
        try:
            numbers.append(float(item))
        except (TypeError, ValueError):
            numbers.append(None)
    return numbers


def _windowed(values: Values, center: float, width: float, function: str) -> Values:
    """Apply a window, PS3.3 C.11.2.1.2 and C.11.2.1.3, to [0, 1]."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -60, 60))))
    if function == "LINEAR_EXACT":
        return np.asarray((values - center) / width + 0.5)
    if width == 1:
        return np.asarray(values > center - 0.5, dtype=np.float64)
    return np.asarray((values - (center - 0.5)) / (width - 1) + 0.5)


@dataclass(frozen=True)
class Lut:
    """A lookup table of a file, PS3.3 C.11.1.1 and C.11.2.1.1.

    Attributes:
        first: Input value of the first entry; lower values use the first entry, higher ones the last.
        entries: Output values [N].
        bits: Bits of the output values.
    """

    first: int
    entries: Values
    bits: int

    def look_up(self, values: Values) -> Values:
        """Return the table's outputs for input values."""
        return self.entries[np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def read_lut(dataset: Dataset, sequence: str, ends: Ends) -> Lut:
    """Read the first lookup table of a sequence.

    Its descriptor states the bits of an entry, and is often wrong. If the entries need more bits, or fewer by
    2 or more (16 declared, 4095 the largest), the number that they need is used.

    Args:
        dataset: The file.
        sequence: The name of the sequence.
        ends: The lowest and the highest possible input value.

    Raises:
        UnreadableError: It is not a lookup table.
    """
    item = dataset[sequence][0]
    try:
        length, first, declared = (int(value) for value in item.LUTDescriptor)
    except (AttributeError, TypeError, ValueError):
        raise UnreadableError(f"its {sequence} has no {named('LUTDescriptor')} of three numbers") from None
    length = length % 2**16 or 2**16  # unsigned, even if the next number is signed
    entries = _entries(item, length, declared, little=dataset.file_meta.TransferSyntaxUID.is_little_endian)
    if not len(entries):
        raise UnreadableError(f"its {sequence} has no {named('LUTData')}")
    need = max(1, int(entries.max()).bit_length())
    bits = need if need > declared or declared - need >= 2 else declared
    first = max((first, first - 2**16, first + 2**16), key=lambda start: _shared(start, length, ends))
    return Lut(first, entries.astype(np.float64), bits)


def _shared(first: int, length: int, ends: Ends) -> float:
    """Return how much of the input range a table covers; used to find the sign of its first value."""
    return min(first + length - 1, ends[1]) - max(first, ends[0])


def _entries(item: Dataset, length: int, declared: int, *, little: bool) -> NDArray[np.uint16]:
    """Return the entries of a table: words, or bytes, possibly two in a word (PS3.3 C.11.1.1.1)."""
    data: Any = item.get("LUTData")
    if data is None:
        return np.zeros(0, dtype=np.uint16)
    if isinstance(data, bytes):
        wide = len(data) >= 2 * length or (declared > 8 and len(data) - length not in (0, 1))
        words = np.frombuffer(data, dtype="<u2" if little else ">u2", count=len(data) // 2).astype("=u2")
        if wide:
            return words[:length]
        last = data[-1:] if len(data) % 2 else b""
        return np.frombuffer(words.astype("<u2").tobytes() + last, dtype="u1")[:length].astype(np.uint16)
    words = (np.atleast_1d(np.asarray(data, dtype=np.int64)) % 2**16).astype(np.uint16)
    if declared <= 8 and len(words) == (length + 1) // 2 < length:
        return words.astype("<u2").view("u1")[:length].astype(np.uint16)
    return words[:length]
