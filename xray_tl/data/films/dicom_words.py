"""Words of a DICOM film -> its stored values: what the header says of bits, held against them; no torch.

PS3.5 8.1.1 has the bits of a word: BitsStored of them, the uppermost HighBit, hold the value. What the others
hold is not defined today; it once were overlays (PS3.5 8.1.2), and is the sign where programs extend it.
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
    """The stored values of a film.

    Attributes:
        values: Whole numbers [H, W].
        bits: Bits that they lie in.
        signed: Whether they lie around zero.
        padding: Which of them are padding [H, W]; `None`: none.
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
    """Take the values out of their words.

    Args:
        dataset: The file, for its overlays and padding.
        header: What it says of its pixels.
        words: As they were stored or compressed [H, W], unsigned.
        precision: Bits that a code stream gave them.

    Raises:
        UnreadableError: The header contradicts them, and they do not say what is right.
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
    """Bring values to the lower end of their words, unless they are there and HighBit is a slip."""
    high, signed = header.high, header.signed
    if high + 1 < bits:  # of two tags, the one that the pixels bear out
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
    """Tell whether the bits above the value are empty, its sign, or an overlay of the file's."""
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
    """Count the bits that hold all values."""
    values = _container(words, signed)
    low, high = int(values.min()), int(values.max())
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed


def _cut(words: NDArray[Any], bits: int) -> NDArray[Any]:
    """Empty the bits above a value."""
    return words if int(words.max()) < 2**bits else words & words.dtype.type(2**bits - 1)


def _container(words: NDArray[Any], signed: bool) -> NDArray[Any]:
    """See whole words as the numbers that they are."""
    return words.view(f"i{words.itemsize}") if signed else words


def _ends(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _overlays(dataset: Dataset) -> int:
    """Return a mask of the bits that hold overlays: groups 60xx that have a bit and no data (PS3.5 8.1.2)."""
    mask = 0
    for group in range(0x6000, 0x6020, 2):
        position = dataset.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in dataset and isinstance(position.value, int):
            mask |= 1 << position.value
    return mask


def _padding(dataset: Dataset, values: NDArray[Any], bits: int, signed: bool) -> NDArray[np.bool_] | None:
    """Return which values [H, W] are padding, PS3.3 C.7.5.1.1.2; `None` where the file has none.

    Files have it unsigned beside signed pixels, and the other way round: a pattern of a word's bits is meant.

    Args:
        dataset: The file.
        values: The film's.
        bits: Those of their words that hold a value, whose uppermost is the sign.
        signed: Whether values have one.
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
