"""Read the pixel words of a DICOM file's single frame, native or compressed (PS3.5 8 and A.4).

A compressed code stream itself tells its format and its bits per pixel; the transfer syntax in the header is
used only if it agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from xray_tl.data.films.decode import UnreadableError
from xray_tl.data.films.dicom import line_of
from xray_tl.data.films.dicom_header import Header, named

if TYPE_CHECKING:
    from pydicom import Dataset

ITEM = b"\xfe\xff\x00\xe0"
"""The tag at the start of each item of compressed pixels (PS3.5 A.4)."""
INSTALL = 'pip install "xray-tl[dicom]" brings decoders (pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg)'
_J2K, _JP2 = b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
_JPEG_2000 = (uid.JPEG2000, uid.JPEG2000Lossless, uid.JPEG2000MC, uid.JPEG2000MCLossless)
_HIGH_THROUGHPUT = (uid.HTJ2K, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL)
_JPEG = {
    0xC0: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    0xC1: (uid.JPEGExtended12Bit,),
    0xC2: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    0xC3: (uid.JPEGLossless, uid.JPEGLosslessSV1),
    0xF7: (uid.JPEGLSLossless, uid.JPEGLSNearLossless),
}
"""The transfer syntaxes in which a start-of-frame marker of JPEG or JPEG-LS may occur."""


@dataclass(frozen=True)
class CodeStream:
    """Properties of a compressed image, read from its code stream.

    Attributes:
        syntaxes: The transfer syntaxes in which it may occur.
        precision: Bits per pixel; `None`: as many as are allocated.
        signed: Whether values are in two's complement.
    """

    syntaxes: tuple[uid.UID, ...]
    precision: int | None = None
    signed: bool = False


def raw_words(dataset: Dataset, header: Header) -> tuple[NDArray[Any], int | None]:
    """Return the pixel words [H, W] of a file, unsigned, and the bits per pixel of its code stream, if any.

    Raises:
        UnreadableError: Pixels are missing, there are several frames, or they cannot be decoded.
    """
    data: bytes = dataset.PixelData or b""
    syntax = dataset.file_meta.TransferSyntaxUID
    length = (header.rows * header.columns * header.allocated + 7) // 8
    if syntax.is_private or syntax.type != "Transfer Syntax":
        raise UnreadableError(f"its {named('TransferSyntaxUID')} is {syntax[:64]}, which is not known")
    compressed = data.startswith(ITEM) or code_stream(data) is not None
    if syntax.is_encapsulated and not compressed:
        raise UnreadableError(
            f"its {named('TransferSyntaxUID')} is {syntax.name}, but its pixels are not compressed"
        )
    if syntax.is_encapsulated or (compressed and not length <= len(data) <= length + 1):
        return _decompressed(_frame(data), syntax, header)
    if len(data) < length:
        raise UnreadableError(
            f"its {named('PixelData')} is cut off: {length - len(data):,} of {length:,} bytes are missing"
        )
    frames = len(data) // length
    if frames > 1:
        raise UnreadableError(
            f"its {named('PixelData')} holds the bytes of {frames} frames of {header.columns} x "
            f"{header.rows} pixels of {header.allocated} bits: a radiograph has one"
        )
    little = syntax.is_little_endian
    swapped = not little and header.allocated <= 8 and dataset["PixelData"].VR == "OW"  # PS3.5 A.3
    return _native(data, header, little=little, swapped=swapped), None


def _native(data: bytes, header: Header, *, little: bool, swapped: bool) -> NDArray[Any]:
    count, shape = header.rows * header.columns, (header.rows, header.columns)
    if swapped:
        data = np.frombuffer(data, dtype="u2", count=len(data) // 2).byteswap().tobytes()
    if header.allocated == 1:
        return np.unpackbits(np.frombuffer(data, dtype="u1"), count=count, bitorder="little").reshape(shape)
    dtype = np.dtype(f"{'<' if little else '>'}u{header.allocated // 8}")
    words = np.frombuffer(data, dtype=dtype, count=count).reshape(shape)
    return words.astype(dtype.newbyteorder("="), copy=False)


def _frame(data: bytes) -> bytes:
    """Return the code stream of the single frame: bare, or in items after an offset table (PS3.5 A.4).

    Raises:
        UnreadableError: There are several frames.
    """
    parts, place = [], 0
    while data.startswith(ITEM, place):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        parts.append(data[place + 8 : place + 8 + length])
        place += 8 + length
    if not parts:
        return data
    if code_stream(parts[0]) is None:
        del parts[0]  # the offset table
    frames = sum(code_stream(part) is not None for part in parts)
    if frames > 1:
        raise UnreadableError(f"its {named('PixelData')} holds {frames} frames: a radiograph has one")
    return b"".join(parts)


def code_stream(data: bytes) -> CodeStream | None:
    """Return the properties of a code stream, recognised by its first bytes; `None` if it is unknown."""
    if data.startswith((_J2K, _JP2)):
        start = data.find(_J2K)
        if not 0 <= start < len(data) - 42:
            return None
        size = data[start + 42]  # ISO 15444-1 A.5.1: Ssiz; 15444-15 A.2: bit 14 of Rsiz
        syntaxes = _HIGH_THROUGHPUT + _JPEG_2000 if data[start + 6] & 0x40 else _JPEG_2000 + _HIGH_THROUGHPUT
        return CodeStream(syntaxes, (size & 0x7F) + 1, size >= 0x80)
    if data.startswith(b"\xff\xd8\xff"):
        marker, precision = _start_of_frame(data)
        return CodeStream(_JPEG[marker], precision) if marker in _JPEG and precision else None
    # PS3.5 G.5: a header of 64 bytes counts at most 15 segments, and says where each begins.
    if data[1:8] == b"\0\0\0\x40\0\0\0" and 1 <= data[0] <= 15:
        return CodeStream((uid.RLELossless,))
    return None


def _start_of_frame(data: bytes) -> tuple[int, int]:
    """Return the marker and the precision of a JPEG's frame, ISO 10918-1 B.2.2; zeros if there is none."""
    place = 2
    while place + 4 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return marker, data[place + 4]
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0, 0


def _decompressed(frame: bytes, syntax: uid.UID, header: Header) -> tuple[NDArray[Any], int | None]:
    """Decompress a frame by the format of its code stream, even if the header contradicts it."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    stream = code_stream(frame)
    if stream is None:
        stream = CodeStream((syntax,))
    elif syntax not in stream.syntaxes:
        syntax = stream.syntaxes[0]
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableError(f"its transfer syntax {syntax.name} cannot be decoded") from None
    if not decoder.is_available:
        raise UnreadableError(f"its transfer syntax {syntax.name} cannot be decoded: {INSTALL}")
    bits = stream.precision or header.allocated
    options: dict[str, Any] = {
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "photometric_interpretation": header.kind,
        "pixel_representation": int(stream.signed),
        "bits_allocated": 8 if bits <= 8 else 16 if bits <= 16 else 32,
        "bits_stored": bits,
        "pixel_keyword": "PixelData",
    }
    try:
        pixels, _ = decoder.as_array(encapsulate([frame]), index=0, raw=True, **options)
    except Exception as error:
        if _is_limited(decoder.available_plugins, syntax, bits):
            raise UnreadableError(f"its transfer syntax {syntax.name} cannot be decoded: {INSTALL}") from None
        raise UnreadableError(f"its pixels are damaged: {syntax.name}, {line_of(error)}") from error
    return pixels.view(f"u{pixels.dtype.itemsize}"), stream.precision


def _is_limited(plugins: tuple[str, ...], syntax: uid.UID, bits: int) -> bool:
    """Tell whether the installed decoders cannot decode 12 bits, as Pillow and GDCM cannot."""
    return syntax == uid.JPEGExtended12Bit and bits > 8 and not set(plugins) - {"pillow", "gdcm"}
