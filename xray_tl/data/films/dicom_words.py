"""Extraction of stored values from the pixel words of a DICOM file, with a check of the header's bits.

PS3.5 8.1.1 defines the bits of a word: BitsStored of them, the uppermost being HighBit, hold the value. The
content of the others is not defined today; they used to hold overlays (PS3.5 8.1.2), and hold copies of the
sign bit if a program has extended it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xray_tl.data.films.decode import UnreadableError
from xray_tl.data.films.dicom_header import Header, integer, named

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class Stored:
    """The stored values of a file.

    Attributes:
        values: Integers [H, W].
        bits: Number of bits of a value.
        signed: Whether values are signed.
        padding: Which pixels are padding [H, W]; `None`: none.
    """

    values: NDArray[Any]
    bits: int
    signed: bool
    padding: NDArray[np.bool_] | None

    @property
    def ends(self) -> tuple[int, int]:
        """The lowest and the highest value that the bits allow."""
        return _ends(self.bits, self.signed)


def stored_values(dataset: Dataset, header: Header, words: NDArray[Any], precision: int | None) -> Stored:
    """Return the stored values that the pixel words contain.

    Args:
        dataset: The file, for its overlays and padding.
        header: The header's description of the pixels.
        words: Pixel words [H, W], unsigned, decompressed if necessary.
        precision: Bits per pixel of the code stream; `None` without one.

    Raises:
        UnreadableError: The header contradicts the words, which do not show what is right.
    """
    bits, high, signed = header.stored, header.high, header.signed
    if precision is not None:
        words = _cut(words, precision)  # a code stream's sign is not the header's
        if precision < bits:
            bits, high = precision, precision - 1
    if high != bits - 1:
        words, bits = _aligned(dataset, header, words, bits)
    padding = _padding(dataset, _container(words, signed), 8 * words.itemsize, signed)
    if not _fits(words, bits, signed, dataset):
        words = words if padding is None else np.where(padding, words.dtype.type(0), words)
        if not _fits(words, bits, signed, dataset):
            if precision is None or precision <= bits:
                need = f"its pixels need {_needed(words, signed)} bits"
                raise UnreadableError(f"its {named('BitsStored')} is {header.stored}, but {need}")
            bits = precision
    values = _cut(words, bits)
    if signed:
        spare = 8 * words.itemsize - bits
        values = _container(values, signed)
        values = (values << spare) >> spare if spare else values
        again = _padding(dataset, values, bits, signed)
        padding = again if padding is None or again is None else padding | again
    return Stored(values, bits, signed, padding)


def _aligned(dataset: Dataset, header: Header, words: NDArray[Any], bits: int) -> tuple[NDArray[Any], int]:
    """Shift values to the low bits of their words, unless they are there already and HighBit is wrong."""
    high, signed = header.high, header.signed
    if high + 1 < bits:  # trust the tag that agrees with the pixels
        return words, high + 1 if high >= 0 and _fits(words, high + 1, signed, dataset) else bits
    if _fits(words, bits, signed, None):
        return words, bits
    shift, overlays = high + 1 - bits, _overlays(dataset)
    below = words.dtype.type((2**shift - 1) & ~overlays & (2 ** (8 * words.itemsize) - 1))
    if high >= 8 * words.itemsize or (words & below).any():
        need = f"its pixels need {_needed(words, signed)} bits, down to the lowest"
        said = f"its {named('HighBit')} is {high} and its {named('BitsStored')} is {header.stored}"
        raise UnreadableError(f"{said}, but {need}")
    above = overlays & (2 ** (8 * words.itemsize) - 2 ** (high + 1))
    shifted = _container(words & ~words.dtype.type(above), signed) >> shift
    return shifted.view(words.dtype), bits


def _fits(words: NDArray[Any], bits: int, signed: bool, dataset: Dataset | None) -> bool:
    """Tell whether the bits above the value are zero, copies of its sign, or overlays of the file."""
    if int(words.max()) < 2**bits:
        return True
    overlays = 0 if dataset is None else _overlays(dataset)
    above = words.dtype.type((2 ** (8 * words.itemsize) - 2**bits) & ~overlays)
    rest = words & above
    if not signed or not rest.any():
        return not rest.any()
    negative = (words >> (bits - 1)) & 1
    return bool(((rest == 0) | ((rest == above) & (negative == 1))).all())


def _needed(words: NDArray[Any], signed: bool) -> int:
    """Return the number of bits that all values need."""
    values = _container(words, signed)
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed


def _cut(words: NDArray[Any], bits: int) -> NDArray[Any]:
    """Set the bits above a value to zero."""
    return words if int(words.max()) < 2**bits else words & words.dtype.type(2**bits - 1)


def _container(words: NDArray[Any], signed: bool) -> NDArray[Any]:
    """Return whole words as signed or unsigned integers."""
    return words.view(f"i{words.itemsize}") if signed else words


def _ends(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _overlays(dataset: Dataset) -> int:
    """Return a mask of the overlay bits: groups 60xx with a bit position and no data (PS3.5 8.1.2)."""
    mask = 0
    for group in range(0x6000, 0x6020, 2):
        position = dataset.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in dataset and isinstance(position.value, int):
            mask |= 1 << position.value
    return mask


def _padding(dataset: Dataset, values: NDArray[Any], bits: int, signed: bool) -> NDArray[np.bool_] | None:
    """Return which values [H, W] are padding, PS3.3 C.7.5.1.1.2; `None` if the file defines no padding.

    Some files give it unsigned with signed pixels, or the other way round: it is read as a pattern of bits.

    Args:
        dataset: The file.
        values: The values of the pixels.
        bits: Bits of a word that hold the value; the uppermost is the sign bit.
        signed: Whether values are signed.
    """
    if dataset.get("PixelPaddingValue") in (None, ""):
        return None
    value = integer(dataset, "PixelPaddingValue")
    allocated, ends = 8 * values.itemsize, []
    for end in (value, integer(dataset, "PixelPaddingRangeLimit", value)):
        pattern = end % 2**allocated
        if signed and 2 ** (bits - 1) <= pattern < 2**bits:
            pattern -= 2**bits
        elif signed and pattern >= 2 ** (allocated - 1):
            pattern -= 2**allocated
        ends.append(pattern)
    return (values >= min(ends)) & (values <= max(ends))
