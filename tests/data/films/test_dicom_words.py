"""What a DICOM header says of bits is held against the words themselves, whatever their number and sign."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from tests.data.films.radiograph_files import films, write_dicom
from xray_tl.data.films.decode import UnreadableError, read_film

GREY = films(1, 48)[0][0]
BITS = [8, 10, 12, 14, 16]
SIGNS = [False, True]


def _values(bits: int, signed: bool) -> NDArray[np.int64]:
    """Return the film in so many bits, its lowest and highest value among them."""
    values = (GREY * (2**bits - 1)).round().astype(np.int64)
    values[0, :2] = 0, 2**bits - 1
    return values - 2 ** (bits - 1) * signed


def _expected(bits: int, signed: bool) -> NDArray[np.float64]:
    return (_values(bits, signed) + 2 ** (bits - 1) * signed) / (2**bits - 1)


def _write(
    folder: Path, words: NDArray[Any], bits: int, signed: bool, high: int | None = None, **more: object
) -> Path:
    tags = {"BitsStored": bits, "HighBit": bits - 1 if high is None else high, **more}
    pixels = (words % 2**16).astype("<u2").tobytes()
    return write_dicom(folder / "film", GREY, PixelRepresentation=int(signed), PixelData=pixels, **tags)


def _is_film(path: Path, bits: int, signed: bool) -> None:
    film = read_film(path)
    assert film.bits == bits
    assert np.abs(film.grey - _expected(bits, signed)).max() < 1e-6


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", SIGNS)
def test_values_of_any_bits_and_sign_are_read(tmp_path: Path, bits: int, signed: bool) -> None:
    values = _values(bits, signed)
    _is_film(_write(tmp_path, values, bits, signed), bits, signed)
    _is_film(_write(tmp_path, values % 2**bits, bits, signed), bits, signed)  # the sign not extended


@pytest.mark.parametrize("bits", BITS[:-1])
@pytest.mark.parametrize("signed", SIGNS)
@pytest.mark.parametrize("high", [15, 14, 7])
def test_a_high_bit_that_is_a_slip_is_passed_over(tmp_path: Path, bits: int, signed: bool, high: int) -> None:
    _is_film(_write(tmp_path, _values(bits, signed), bits, signed, high), bits, signed)


@pytest.mark.parametrize("bits", BITS[:-1])
@pytest.mark.parametrize("signed", SIGNS)
@pytest.mark.parametrize("above", [0, 1])
def test_values_at_the_upper_end_of_their_words_are_brought_down(
    tmp_path: Path, bits: int, signed: bool, above: int
) -> None:
    words = _values(bits, signed) << (16 - bits - above)
    _is_film(_write(tmp_path, words, bits, signed, 15 - above), bits, signed)


@pytest.mark.parametrize("bits", BITS[:-1])
@pytest.mark.parametrize("signed", SIGNS)
def test_of_two_tags_the_one_counts_that_the_pixels_bear_out(tmp_path: Path, bits: int, signed: bool) -> None:
    path = _write(tmp_path, _values(bits, signed), 16, signed, bits - 1)
    _is_film(path, bits, signed)


@pytest.mark.parametrize("signed", SIGNS)
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_pixels_that_need_more_bits_than_are_said_are_refused(
    tmp_path: Path, bits: int, signed: bool
) -> None:
    values = _values(bits + 2, signed)
    with pytest.raises(
        UnreadableError, match=rf"BitsStored \(0028,0101\) is {bits}, .* need {bits + 2} bits"
    ):
        read_film(_write(tmp_path, values, bits, signed))
    with pytest.raises(UnreadableError, match=rf"HighBit \(0028,0102\) is 15 .* need {bits + 2} bits"):
        read_film(_write(tmp_path, values, bits, signed, 15))


@pytest.mark.parametrize("signed", SIGNS)
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("above", [0, 1])
def test_overlays_in_spare_bits_are_no_part_of_the_film(
    tmp_path: Path, bits: int, signed: bool, above: int
) -> None:
    position = bits + above
    drawn = np.zeros((48, 48), dtype=np.int64)
    drawn[::2, ::3] = 1 << position
    words = (_values(bits, signed) % 2**bits) | drawn
    with pytest.raises(UnreadableError, match="BitsStored"):
        read_film(_write(tmp_path, words, bits, signed))
    _is_film(_with_overlay(tmp_path, words, bits, signed, None, position), bits, signed)
    low = (_values(bits, signed) << (16 - bits)) | (drawn >> position)
    _is_film(_with_overlay(tmp_path, low, bits, signed, 15, 0), bits, signed)


def _with_overlay(
    folder: Path, words: NDArray[Any], bits: int, signed: bool, high: int | None, position: int
) -> Path:
    path = _write(folder, words, bits, signed, high)
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x6000, 0x0010), "US", 48)
    dataset.add_new((0x6000, 0x0011), "US", 48)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", position)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize(
    ("signed", "value", "limit", "stored"),
    [
        (True, -2000, None, -2000),
        (True, 65536 - 2000, None, -2000),
        (True, 65536 - 2000, 65536 - 1990, -1995),
        (False, 100, None, 100),
        (False, 100, 110, 105),
    ],
)
@pytest.mark.parametrize("extended", [True, False])
def test_padding_is_known_whatever_sign_it_is_written_with(
    tmp_path: Path, bits: int, signed: bool, value: int, limit: int | None, stored: int, extended: bool
) -> None:
    values = _values(bits, signed)
    values[np.abs(values - stored) <= 10] += 30  # of the film, none is padding
    expected = 1 - (values + 2 ** (bits - 1) * signed) / (2**bits - 1)
    values[:6] = stored
    words = values if extended else values % 2**bits
    path = _write(tmp_path, words, bits, signed, PhotometricInterpretation="MONOCHROME1")
    _add_padding(path, value, limit)
    grey = read_film(path).grey
    assert (grey[:6] == grey[6:].min()).all()
    assert np.abs(grey[6:] - expected[6:]).max() < 1e-6


@pytest.mark.parametrize(("signed", "value"), [(False, -2), (False, 65534), (True, -32768), (True, 32768)])
def test_padding_outside_of_the_bits_is_no_contradiction(tmp_path: Path, signed: bool, value: int) -> None:
    values = _values(12, signed)
    values[:6] = value
    path = _write(tmp_path, values, 12, signed)
    with pytest.raises(UnreadableError, match="BitsStored"):
        read_film(path)
    _add_padding(path, value, None)
    grey = read_film(path).grey
    assert (grey[:6] == grey[6:].min()).all()
    assert np.abs(grey[6:] - _expected(12, signed)[6:]).max() < 1e-6


def _add_padding(path: Path, value: int, limit: int | None) -> None:
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", "SS" if limit < 0 else "US", limit)
    dataset.save_as(path)
