"""Reading of a DICOM header: the tags that describe the pixels (PS3.3 C.7.6.3), and what a file is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xray_tl.data.films.decode import LARGEST, UnreadableError

if TYPE_CHECKING:
    from pydicom import Dataset

KINDS = ("MONOCHROME1", "MONOCHROME2")
ALLOCATED = (1, 8, 16, 32)


@dataclass(frozen=True)
class Header:
    """The header's description of the pixels, PS3.3 C.7.6.3 and PS3.5 8.1.1.

    Attributes:
        rows: Height.
        columns: Width.
        allocated: BitsAllocated: bits from one pixel to the next.
        stored: BitsStored: number of these bits that hold the value.
        high: HighBit: the uppermost bit of the value, counted from 0.
        signed: Whether values are in two's complement.
        kind: PhotometricInterpretation: whether the smallest value is white or black.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    high: int
    signed: bool
    kind: str


def read_header(dataset: Dataset) -> Header:
    """Read and check the header's description of the pixels.

    Raises:
        UnreadableError: The file has no pixels, several frames or colours, or lacks a necessary tag.
    """
    _check_kind(dataset)
    frames = integer(dataset, "NumberOfFrames", 1)
    if frames > 1:
        raise UnreadableError(f"it has {frames} frames: a radiograph has one")
    kind = str(dataset.get("PhotometricInterpretation") or "").strip().upper()
    if not kind:
        raise _lacking("PhotometricInterpretation")
    samples = integer(dataset, "SamplesPerPixel", 1)
    if samples != 1 or kind not in KINDS:
        said = f"its {named('SamplesPerPixel')} is {samples}" if kind in KINDS else kind[:40]
        raise UnreadableError(f"it is in colour ({said}): a radiograph is MONOCHROME1 or MONOCHROME2")
    rows, columns = (integer(dataset, name) for name in ("Rows", "Columns"))
    for name, value in (("Rows", rows), ("Columns", columns)):
        if value < 1:
            raise UnreadableError(f"its {named(name)} is {value}")
    if rows * columns > LARGEST:
        raise UnreadableError(f"{columns} x {rows} pixels: at most {LARGEST:,} are allowed")
    allocated, stored = (integer(dataset, name) for name in ("BitsAllocated", "BitsStored"))
    if allocated not in ALLOCATED:
        raise UnreadableError(f"its {named('BitsAllocated')} is {allocated}: 1, 8, 16 and 32 are read")
    if not 1 <= stored <= allocated:
        raise UnreadableError(
            f"its {named('BitsStored')} is {stored}, but its {named('BitsAllocated')} is {allocated}"
        )
    signed = integer(dataset, "PixelRepresentation")
    if signed not in (0, 1):
        raise UnreadableError(f"its {named('PixelRepresentation')} is {signed}: 0 and 1 are read")
    high = integer(dataset, "HighBit", stored - 1)
    return Header(rows, columns, allocated, stored, high, signed == 1, kind)


def integer(dataset: Dataset, name: str, default: int | None = None) -> int:
    """Return the integer value of a tag.

    Raises:
        UnreadableError: The tag has no value and there is no default, or its value is not an integer.
    """
    value = number(dataset, name, default)
    if value != value or value in (float("inf"), -float("inf")) or int(value) != value:
        raise UnreadableError(f"its {named(name)} is {value:g}: no whole number")
    return int(value)


def number(dataset: Dataset, name: str, default: float | None = None) -> float:
    """Return the numeric value of a tag, which may be infinite or NaN.

    Raises:
        UnreadableError: The tag has no value and there is no default, or its value is not a number.
    """
    try:
        value: Any = dataset.get(name)
        if value is None or value == "" or value == b"":
            if default is None:
                raise _lacking(name)
            return default
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        raise UnreadableError(f"its {named(name)} is no number") from None


def named(name: str) -> str:
    """Return a tag's name with its number: `Rows (0028,0010)`."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(name)
    assert tag is not None
    return f"{name} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _lacking(name: str) -> UnreadableError:
    return UnreadableError(f"it lacks {named(name)}")


def _check_kind(dataset: Dataset) -> None:
    """Raise an error that says what a file is, if it has no pixels that are integers."""
    if "PixelData" in dataset:
        return
    for name in ("FloatPixelData", "DoubleFloatPixelData"):
        if name in dataset:
            raise UnreadableError(f"its pixels are {named(name)}: whole numbers are read")
    meta = dataset.file_meta
    kind = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    if "DirectoryRecordSequence" in dataset or getattr(kind, "keyword", "") == "MediaStorageDirectoryStorage":
        raise UnreadableError("it is a DICOMDIR, a list of files: it has no pixels")
    if not kind and "Rows" not in dataset:
        raise UnreadableError("it is no DICOM file")
    if not kind:
        raise UnreadableError(f"it has no pixels: it lacks {named('PixelData')}")
    name = str(getattr(kind, "name", kind)).removesuffix(" Storage")[:80]
    raise UnreadableError(f"it has no pixels: it is {'an' if name[0] in 'AEIOU' else 'a'} {name}")
