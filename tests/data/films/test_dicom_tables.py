"""Tables, windows and rescaling of DICOM, as they are meant where they are not as the standard has them."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from tests.data.films.radiograph_files import films, write_dicom
from xray_tl.data.films.decode import UnreadableError, read_film

GREY = films(1, 48)[0][0]
STEPS = np.arange(4096, dtype=np.int64).reshape(64, 64)
RAMP = (STEPS / 4095).astype(np.float32)
SEQUENCES = ["VOILUTSequence", "ModalityLUTSequence"]


def _curve(bits: int, length: int = 4096) -> NDArray[np.int64]:
    return ((np.arange(length) / (length - 1)) ** 2 * (2**bits - 1)).round().astype(np.int64)


def _table(entries: NDArray[np.int64], first: int, declared: int, form: str = "US") -> Dataset:
    item = Dataset()
    length = len(entries) % 2**16
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [length, first, declared])
    if form in ("US", "packed"):
        words = entries if form == "US" else entries.astype("u1").view("<u2")
        item.add_new("LUTData", "US", words.tolist())
    else:
        item.add_new("LUTData", "OW", entries.astype({"OW": "<u2", "bytes": "u1"}[form]).tobytes())
    return item


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("form", ["US", "OW"])
@pytest.mark.parametrize("used", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("declared", [8, 10, 12, 14, 16])
def test_a_table_has_the_bits_that_its_entries_need(
    tmp_path: Path, sequence: str, form: str, used: int, declared: int
) -> None:
    path = write_dicom(tmp_path / "film", RAMP, **{sequence: [_table(_curve(used), 0, declared, form)]})
    expected = _curve(used)[STEPS] / (2**used - 1)
    assert np.abs(read_film(path).grey - expected).max() < 1e-6


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_table_that_ends_a_little_below_its_bits_is_not_stretched(tmp_path: Path, sequence: str) -> None:
    entries = _curve(12) * 3000 // 4095
    path = write_dicom(tmp_path / "film", RAMP, **{sequence: [_table(entries, 0, 12)]})
    assert np.abs(read_film(path).grey - entries[STEPS] / 4095).max() < 1e-6


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("form", ["bytes", "packed"])
def test_a_table_of_bytes_is_read(tmp_path: Path, sequence: str, form: str) -> None:
    path = write_dicom(tmp_path / "film", RAMP, **{sequence: [_table(_curve(8), 0, 8, form)]})
    assert np.abs(read_film(path).grey - _curve(8)[STEPS] / 255).max() < 1e-6


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("first", [-2048, -100, 0, 63488, 65436])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_the_first_value_of_a_table_has_the_sign_of_what_comes_in(
    tmp_path: Path, sequence: str, first: int, syntax: uid.UID
) -> None:
    stored = STEPS - 2048
    item = _table(_curve(12), first, 12)
    pixels = (stored % 2**16).astype("<u2").tobytes()
    path = write_dicom(
        tmp_path / "film", RAMP, PixelData=pixels, PixelRepresentation=1, syntax=syntax, **{sequence: [item]}
    )
    signed = first - 2**16 if first >= 2**15 else first
    expected = _curve(12)[np.clip(stored - signed, 0, 4095)] / 4095
    assert np.abs(read_film(path).grey - expected).max() < 1e-6


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_table_of_all_words_says_that_it_has_none(tmp_path: Path, sequence: str) -> None:
    path = write_dicom(tmp_path / "film", RAMP, **{sequence: [_table(_curve(16, 65536), 0, 16, "OW")]})
    expected = _curve(16, 65536)[STEPS]
    assert np.abs(read_film(path).grey - expected / 65535).max() < 1e-6


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("missing", ["LUTDescriptor", "LUTData"])
def test_a_table_without_its_parts_is_refused(tmp_path: Path, sequence: str, missing: str) -> None:
    item = _table(_curve(12), 0, 12)
    del item[missing]
    path = write_dicom(tmp_path / "film", RAMP, **{sequence: [item]})
    with pytest.raises(UnreadableError, match=rf"its {sequence} has no {missing} \(0028,300"):
        read_film(path)


WIDTHS: list[Any] = [0, -400, "nan", "", None]


@pytest.mark.parametrize(
    ("function", "width"),
    [("LINEAR", 0.5), *itertools.product(("LINEAR", "LINEAR_EXACT", "SIGMOID"), WIDTHS)],
)
def test_a_window_of_no_width_is_passed_over(tmp_path: Path, width: object, function: str) -> None:
    path = write_dicom(tmp_path / "film", RAMP, WindowCenter=2048, WindowWidth=width, VOILUTFunction=function)
    assert np.abs(read_film(path).grey - STEPS / 4095).max() < 1e-6


@pytest.mark.parametrize("width", WIDTHS[:-1])
def test_the_next_window_counts_where_the_first_is_not_valid(tmp_path: Path, width: object) -> None:
    path = write_dicom(tmp_path / "film", RAMP, WindowCenter=[100, 2048], WindowWidth=[width, 1024])
    expected = np.clip((STEPS - 2047.5) / 1023 + 0.5, 0, 1)
    assert np.abs(read_film(path).grey - expected).max() < 1e-6


def test_a_window_of_width_1_has_two_values(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film", RAMP, WindowCenter=2048, WindowWidth=1)
    assert np.array_equal(read_film(path).grey, STEPS > 2047.5)


@pytest.mark.parametrize("slope", [0, "nan", "inf"])
def test_rescaling_that_takes_the_film_away_is_refused(tmp_path: Path, slope: object) -> None:
    path = write_dicom(tmp_path / "film", RAMP, RescaleSlope=slope, RescaleIntercept=0)
    with pytest.raises(UnreadableError, match=r"RescaleSlope \(0028,1053\) is (0|nan|inf)"):
        read_film(path)


@pytest.mark.parametrize("intercept", ["nan", "-inf"])
def test_an_intercept_that_is_no_number_is_refused(tmp_path: Path, intercept: str) -> None:
    path = write_dicom(tmp_path / "film", RAMP, RescaleSlope=1, RescaleIntercept=intercept)
    with pytest.raises(UnreadableError, match=r"RescaleSlope .* RescaleIntercept \(0028,1052\) is"):
        read_film(path)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
def test_the_photometric_interpretation_counts_before_the_presentation(
    tmp_path: Path, kind: str, shape: str
) -> None:
    tags = {"PhotometricInterpretation": kind, "PresentationLUTShape": shape}
    grey = read_film(write_dicom(tmp_path / "film", RAMP, **tags)).grey
    assert np.abs(grey - (RAMP if kind == "MONOCHROME2" else 1 - RAMP)).max() < 1e-6


def test_a_table_of_big_endian_is_read(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "film", RAMP, syntax=uid.ExplicitVRBigEndian, VOILUTSequence=[_table(_curve(12), 0, 12)]
    )
    dataset = pydicom.dcmread(path)
    dataset.VOILUTSequence[0].add_new("LUTData", "OW", _curve(12).astype(">u2").tobytes())
    dataset.save_as(path)
    assert np.abs(read_film(path).grey - _curve(12)[STEPS] / 4095).max() < 1e-6
