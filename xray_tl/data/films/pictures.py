"""Decode PNG, JPEG and TIFF files to a grey image in [0, 1], and recognise files of other kinds."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from xray_tl.data.films.decode import LARGEST, Film, UnreadableError

FORMATS = ("PNG", "JPEG", "TIFF")
"""Formats that are tried, whatever the file's suffix."""
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of these formats; the last two are BigTIFF."""
PHOTOMETRIC, BITS_PER_SAMPLE, ORIENTATION = 262, 258, 274
"""Tags of a TIFF file: the first is 0 if the value 0 is white, the last is above 4 if rows become columns."""
_BITS = {"1": 1, "L": 8, "LA": 8, "P": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "YCbCr": 8}
_DEEP = ((12,), (16,), (32,))
"""Bit depths of TIFF files that Pillow reads if zero is black, but not in all cases if zero is white."""
_ZIP = b"PK\x03\x04"
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 code stream"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a film of moving pictures"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"\xd0\xcf\x11\xe0", "an Office document (xls, doc)"),
    (0, b"\x1f\x8b", "compressed by gzip (as volumes in .nii.gz are)"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\xfd7zXZ", "compressed by xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (344, b"n+1\0", "a NIfTI volume"),
    (344, b"ni1\0", "a NIfTI volume"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"\x93NUMPY", "a NumPy array (npy)"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, without the file itself"),
)
"""Files of other kinds: offset of their characteristic bytes, these bytes, and the kind of file."""


for _kind, _how in list(TiffImagePlugin.OPEN_INFO.items()):
    if _kind[1] == 1 and _kind[4] in _DEEP:  # values are kept as stored, as for the others
        TiffImagePlugin.OPEN_INFO.setdefault((_kind[0], 0, *_kind[2:]), _how)


def what_else(path: Path, head: bytes) -> str:
    """Return the kind of a file that is neither a supported picture nor DICOM; empty if it is not known.

    Args:
        path: The file.
        head: Its first 352 bytes.
    """
    for place, magic, name in _OTHERS:
        if head.startswith(magic, place):
            return name
    if head.startswith(b"BM") and head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "a BMP picture"
    if head.startswith(_ZIP):
        return _what_zip(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    return "an XML document" if text.startswith((b"<?xml", b"<svg")) else ""


def _what_zip(path: Path) -> str:
    """Return the kind of a ZIP archive, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            kind = archive.read("mimetype")[:80] if "mimetype" in names else b""
    except Exception:  # cut off or damaged
        return "a ZIP archive"
    if kind.endswith(b"opendocument.spreadsheet") or any(name.startswith("xl/") for name in names):
        return "a spreadsheet"
    if b"opendocument" in kind or any(name.startswith(("word/", "ppt/")) for name in names):
        return "an Office document"
    if names and all(name.endswith(".npy") for name in names):
        return "a file of NumPy arrays (npz)"
    return "a ZIP archive"


def read_picture(path: Path) -> Film:
    """Decode a picture, turned upright, with transparent parts black.

    Raises:
        UnreadableError: The file is not a picture, is too large or damaged, or has several frames.
    """
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
                return _film(image)
    except Image.DecompressionBombError:
        raise UnreadableError(f"it has more than the {LARGEST:,} pixels that are allowed") from None
    except UnidentifiedImageError:
        raise UnreadableError("it is no image, whatever its name says") from None
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes the readers fail in many ways
        raise UnreadableError(f"it is damaged ({' '.join(str(error).split())})") from error


def _film(image: Image.Image) -> Film:
    """Return a picture turned upright and with white as 1, whatever its type of pixels."""
    tags: Any = getattr(image, "tag_v2", {})
    white_is_zero = tags.get(PHOTOMETRIC) == 0
    if tags.get(ORIENTATION, 1) > 4:  # Pillow (11 to 13) maps such a file with rows and columns exchanged,
        vars(image)["filename"] = ""  # unless it has no file name
    deep = 12 if tags.get(BITS_PER_SAMPLE) == (12,) else 16
    ImageOps.exif_transpose(image, in_place=True)  # Pillow has already turned a TIFF, and removed its tag
    mode = image.mode
    if mode.startswith("I;16") or mode == "I":
        grey = _whole_numbers(image, 2**deep - 1)
    elif mode == "F":
        deep, grey = 32, _floats(image)
    elif mode in _BITS:
        colour = "grey" if mode in ("1", "L", "LA") else "colour"
        flat = image if mode == "L" else _over_black(image).convert("L")
        return Film(np.asarray(flat, dtype=np.float32) / np.float32(255), _BITS[mode], colour)
    else:
        raise UnreadableError(f"pixels of the kind {mode} are not supported")
    return Film(1 - grey if white_is_zero else grey, deep, "grey")  # for 1 and 8 bits, Pillow inverts


def _whole_numbers(image: Image.Image, largest: int) -> NDArray[np.float32]:
    pixels = np.asarray(image, dtype=np.float32)
    if image.mode == "I" and (pixels.min() < 0 or pixels.max() > 65535):
        raise UnreadableError("its pixels need more than 16 bits")
    return pixels / np.float32(largest)


def _floats(image: Image.Image) -> NDArray[np.float32]:
    pixels = np.asarray(image, dtype=np.float32)
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise UnreadableError("its floating-point pixels do not lie in [0, 1]")
    return pixels


def _over_black(image: Image.Image) -> Image.Image:
    """Return a picture with its transparent parts on black."""
    if image.mode not in ("LA", "RGBA", "P") or (image.mode == "P" and "transparency" not in image.info):
        return image
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
