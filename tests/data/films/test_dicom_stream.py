"""Compressed and uncompressed pixels are read as what they are, or the tag that is wrong is named."""

import logging
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import encoders
from pydicom.pixels.decoders import base

from tests.data.films.radiograph_files import films, say_syntax, write_dicom
from xray_tl.data.films.decode import UnreadableError, read_film

GREY = films(1, 48)[0][0]
NATIVE = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
COMPRESSED = [uid.JPEG2000Lossless, uid.JPEG2000, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.RLELossless]


def _values(bits: int) -> NDArray[np.int64]:
    values = (GREY * (2**bits - 1)).round().astype(np.int64)
    values[0, :2] = 0, 2**bits - 1
    return values


def _bits(bits: int, allocated: int = 16) -> dict[str, int]:
    return {"BitsAllocated": allocated, "BitsStored": bits, "HighBit": bits - 1}


def _jpeg_2000(values: NDArray[np.int64], bits: int, *, signed: bool = False) -> bytes:
    dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return bytes(encode_array(values.astype(dtype), bits_stored=bits, photometric_interpretation=2))


def _jpeg() -> bytes:
    stream = BytesIO()
    Image.fromarray((GREY * 255).round().astype(np.uint8)).save(stream, "JPEG", quality=98)
    return stream.getvalue()


def _rle(words: NDArray[np.int64]) -> bytes:
    options = {"rows": 48, "columns": 48, "samples_per_pixel": 1, "number_of_frames": 1, "bits_allocated": 16}
    more = {"bits_stored": 16, "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2"}
    encoder = encoders.RLELosslessEncoder
    return bytes(encoder.encode(words.astype("<u2").tobytes(), index=0, **options, **more))


@pytest.mark.parametrize("precision", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("said", [8, 10, 12, 14, 16])
def test_a_code_stream_knows_its_bits(tmp_path: Path, precision: int, said: int) -> None:
    values = _values(precision)
    frame = _jpeg_2000(values, precision)
    path = write_dicom(tmp_path / "film", GREY, PixelData=frame, syntax=uid.JPEG2000Lossless, **_bits(said))
    film = read_film(path)
    assert film.bits == precision
    assert np.abs(film.grey - values / (2**precision - 1)).max() < 1e-6


@pytest.mark.parametrize(("precision", "said"), [(16, 10), (16, 12), (12, 10)])
def test_a_code_stream_wider_than_its_values_is_only_their_container(
    tmp_path: Path, precision: int, said: int
) -> None:
    frame = _jpeg_2000(_values(said), precision)
    path = write_dicom(tmp_path / "film", GREY, PixelData=frame, syntax=uid.JPEG2000Lossless, **_bits(said))
    film = read_film(path)
    assert film.bits == said
    assert np.abs(film.grey - _values(said) / (2**said - 1)).max() < 1e-6


@pytest.mark.parametrize("precision", [8, 12, 16])
@pytest.mark.parametrize("said", [12, 16])
@pytest.mark.parametrize("extended", [True, False])
def test_the_sign_of_a_code_stream_is_not_the_headers(
    tmp_path: Path, precision: int, said: int, extended: bool
) -> None:
    values = _values(precision) - 2 ** (precision - 1)
    frame = _jpeg_2000(values if extended else values % 2**precision, precision, signed=extended)
    path = write_dicom(
        tmp_path / "film",
        GREY,
        PixelData=frame,
        PixelRepresentation=1,
        syntax=uid.JPEG2000Lossless,
        **_bits(said),
    )
    assert np.abs(read_film(path).grey - _values(precision) / (2**precision - 1)).max() < 1e-6
    if extended:  # and the other way round: two's complement in a film that says it has no sign
        dataset = pydicom.dcmread(path)
        dataset.PixelRepresentation = 0
        dataset.save_as(path)
        turned = values % 2**precision / (2**precision - 1)
        assert np.abs(read_film(path).grey - turned).max() < 1e-6


def test_overlays_are_taken_out_after_decompression(tmp_path: Path) -> None:
    words = _values(12)
    words[::2] |= 1 << 12
    path = write_dicom(tmp_path / "film", GREY, PixelData=_rle(words), syntax=uid.RLELossless)
    with pytest.raises(UnreadableError, match=r"BitsStored \(0028,0101\) is 12"):
        read_film(path)
    dataset = pydicom.dcmread(path)
    for element, value in ((0x10, 48), (0x11, 48), (0x100, 16), (0x102, 12)):
        dataset.add_new((0x6000, element), "US", value)
    dataset.save_as(path)
    assert np.abs(read_film(path).grey - _values(12) / 4095).max() < 1e-6


@pytest.mark.parametrize(
    ("film", "precision"),
    [
        ("JPEGLSNearLossless_08.dcm", 8),
        ("MR_small_jpeg_ls_lossless.dcm", 16),
        ("JPGLosslessP14SV1_1s_1f_8b.dcm", 8),
        ("JPGExtended.dcm", 12),
    ],
)
def test_every_kind_of_code_stream_counts_before_the_header(
    tmp_path: Path, film: str, precision: int
) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file(film, download=False)))
    for name in ("WindowWidth", "WindowCenter", "VOILUTSequence"):
        dataset.pop(name, None)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.save_as(tmp_path / "film.dcm")
    assert read_film(tmp_path / "film.dcm").bits == precision


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", NATIVE)
def test_every_byte_order_is_read_with_and_without_a_preamble(
    tmp_path: Path, syntax: uid.UID, bits: int
) -> None:
    values = _values(bits)
    allocated = 8 if bits == 8 else 16
    order = "<" if syntax.is_little_endian else ">"
    pixels = values.astype(f"{order}u{allocated // 8}").tobytes()
    if bits == 8 and order == ">":  # pydicom writes words, whose bytes are swapped
        pixels = np.frombuffer(pixels, dtype="u2").byteswap().tobytes()
    path = write_dicom(tmp_path / "film", GREY, PixelData=pixels, syntax=syntax, **_bits(bits, allocated))
    expected = values / (2**bits - 1)
    assert np.abs(read_film(path).grey - expected).max() < 1e-6
    data = path.read_bytes()
    group = int.from_bytes(data[140:144], "little")
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(data[144 + group :])
    assert np.abs(read_film(bare).grey - expected).max() < 1e-6


def test_bytes_that_are_no_words_of_big_endian_are_in_order(tmp_path: Path) -> None:
    values = _values(8)
    path = write_dicom(tmp_path / "film", GREY, syntax=uid.ExplicitVRBigEndian, **_bits(8, 8))
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelData", "OB", values.astype("u1").tobytes())
    dataset.save_as(path)
    assert np.abs(read_film(path).grey - values / 255).max() < 1e-6


def test_bits_and_words_of_32_bits_are_read(tmp_path: Path) -> None:
    values = _values(20)
    path = write_dicom(tmp_path / "film", GREY, PixelData=values.astype("<u4").tobytes(), **_bits(20, 32))
    assert np.abs(read_film(path).grey - values / (2**20 - 1)).max() < 1e-6
    drawn = GREY > 0.5
    pixels = np.packbits(drawn, bitorder="little").tobytes()
    path = write_dicom(tmp_path / "film", GREY, PixelData=pixels, **_bits(1, 1))
    assert np.array_equal(read_film(path).grey, drawn)


def _frames() -> dict[str, tuple[bytes, dict[str, int]]]:
    return {
        "JPEG 2000": (_jpeg_2000(_values(12), 12), {}),
        "JPEG": (_jpeg(), _bits(8, 8)),
        "RLE": (_rle(_values(12)), {}),
    }


@pytest.mark.parametrize("kind", ["JPEG 2000", "JPEG", "RLE"])
@pytest.mark.parametrize("said", [*NATIVE, *COMPRESSED, uid.JPEGBaseline8Bit])
@pytest.mark.parametrize("bare", [False, True])
def test_compressed_pixels_are_read_whatever_transfer_syntax_is_named(
    tmp_path: Path, kind: str, said: uid.UID, bare: bool
) -> None:
    frame, bits = _frames()[kind]
    frame += b"\0" * (len(frame) % 2)
    pixels = frame if bare else encapsulate([frame])
    written = said if said in NATIVE else uid.ExplicitVRLittleEndian
    path = write_dicom(tmp_path / "film", GREY, PixelData=pixels, syntax=written, **bits)
    film = read_film(say_syntax(path, said))
    expected = GREY if kind == "JPEG" else _values(12) / 4095
    assert np.abs(film.grey - expected).max() < (0.05 if kind == "JPEG" else 1e-6)


@pytest.mark.parametrize("said", COMPRESSED)
def test_uncompressed_pixels_in_a_compressed_transfer_syntax_are_refused(
    tmp_path: Path, said: uid.UID
) -> None:
    path = say_syntax(write_dicom(tmp_path / "film", GREY), said)
    with pytest.raises(UnreadableError, match=r"TransferSyntaxUID \(0002,0010\) is .* not compressed"):
        read_film(path)


@pytest.mark.parametrize("allocated", [8, 16])
@pytest.mark.parametrize("frames", [2, 3])
def test_more_bytes_than_one_frame_are_refused(tmp_path: Path, allocated: int, frames: int) -> None:
    bits = _bits(8, allocated)
    pixels = np.zeros((frames, 48, 48), dtype=f"u{allocated // 8}").tobytes()
    for more in ({}, {"NumberOfFrames": 1}):
        path = write_dicom(tmp_path / "film", GREY, PixelData=pixels, **bits, **more)
        with pytest.raises(UnreadableError, match=rf"PixelData \(7FE0,0010\) .* {frames} frames"):
            read_film(path)
    path = write_dicom(tmp_path / "film", GREY, syntax=uid.JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([_jpeg_2000(_values(12), 12)] * frames)
    dataset.save_as(path)
    with pytest.raises(UnreadableError, match=rf"PixelData \(7FE0,0010\) holds {frames} frames"):
        read_film(path)


def test_a_frame_in_several_parts_is_one(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film", GREY, syntax=uid.JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([_jpeg_2000(_values(12), 12)], fragments_per_frame=3)
    dataset.save_as(path)
    assert np.abs(read_film(path).grey - _values(12) / 4095).max() < 1e-6


@pytest.mark.parametrize("missing", [2, 1000, 4608])
def test_too_few_bytes_are_counted(tmp_path: Path, missing: int) -> None:
    path = write_dicom(tmp_path / "film", GREY, PixelData=b"\1" * (48 * 48 * 2 - missing))
    with pytest.raises(UnreadableError, match=rf"{missing:,} of 4,608 bytes are missing"):
        read_film(path)
    whole = write_dicom(tmp_path / "film", GREY)
    whole.write_bytes(whole.read_bytes()[:-missing])
    with pytest.raises(UnreadableError, match=rf"{missing:,} of 4,608 bytes are missing|damaged"):
        read_film(whole)


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path) -> None:
    for syntax in (uid.UID("1.2.3.4"), uid.UID("1.2.840.113619.5.2")):
        path = say_syntax(write_dicom(tmp_path / "film", GREY), syntax)
        with pytest.raises(UnreadableError, match=r"TransferSyntaxUID \(0002,0010\) is 1\.2\."):
            read_film(path)


def test_what_a_decoder_lacks_and_what_a_film_lacks_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frame = _jpeg_2000(_values(12), 12)
    whole = write_dicom(tmp_path / "whole", GREY, PixelData=frame, syntax=uid.JPEG2000Lossless)
    cut = write_dicom(tmp_path / "cut", GREY, PixelData=frame[:60], syntax=uid.JPEG2000Lossless)
    with caplog.at_level(logging.DEBUG), pytest.raises(UnreadableError) as damaged:
        read_film(cut)
    assert "damaged" in str(damaged.value)
    assert "install" not in str(damaged.value)
    assert "\n" not in str(damaged.value)
    assert not caplog.records
    monkeypatch.setattr(base.get_decoder(uid.JPEG2000Lossless), "_available", {})
    with pytest.raises(UnreadableError, match=r"JPEG 2000 .* decoded: pip install .xray-tl\[dicom\]"):
        read_film(whole)
