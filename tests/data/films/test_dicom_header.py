"""A DICOM file that lacks something, or is no film, says so in one line."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset

from tests.data.films.radiograph_files import films, write_dicom
from xray_tl.data.films.decode import UnreadableError, read_film

GREY = films(1, 48)[0][0]
NUMBERS = {
    "PhotometricInterpretation": "0028,0004",
    "Rows": "0028,0010",
    "Columns": "0028,0011",
    "BitsAllocated": "0028,0100",
    "BitsStored": "0028,0101",
    "PixelRepresentation": "0028,0103",
}


def _refusal(path: Path) -> str:
    with pytest.raises(UnreadableError) as caught:
        read_film(path)
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("empty", [False, True])
def test_a_tag_that_is_lacking_is_named(tmp_path: Path, name: str, empty: bool) -> None:
    more = {name: None} if empty else {}
    path = write_dicom(tmp_path / "film", GREY, without=() if empty else (name,), **more)
    assert _refusal(path) == f"it lacks {name} ({NUMBERS[name]})"


@pytest.mark.parametrize("name", ["HighBit", "SamplesPerPixel"])
def test_a_tag_that_follows_from_others_may_be_lacking(tmp_path: Path, name: str) -> None:
    path = write_dicom(tmp_path / "film", GREY, without=(name,))
    assert np.abs(read_film(path).grey - GREY).max() < 1 / 4095


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Rows", 0),
        ("Columns", 0),
        ("Rows", [48, 48]),
        ("BitsAllocated", 12),
        ("BitsAllocated", 64),
        ("BitsAllocated", 0),
        ("BitsStored", 0),
        ("BitsStored", 17),
        ("PixelRepresentation", 2),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path: Path, name: str, value: object) -> None:
    path = write_dicom(tmp_path / "film", GREY, **{name: value})
    assert f"its {name} ({NUMBERS[name]}) is " in _refusal(path)


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixels_are_named(tmp_path: Path, name: str) -> None:
    pixels = GREY.astype(np.float32 if name == "FloatPixelData" else np.float64).tobytes()
    path = write_dicom(tmp_path / "film", GREY, without=("PixelData",), **{name: pixels})
    assert f"its pixels are {name} (7FE0,000" in _refusal(path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (uid.BasicTextSRStorage, "a Basic Text SR"),
        (uid.GrayscaleSoftcopyPresentationStateStorage, "a Grayscale Softcopy Presentation State"),
        (uid.EncapsulatedPDFStorage, "an Encapsulated PDF"),
        (uid.RTPlanStorage, "a RT Plan"),
        (uid.ComputedRadiographyImageStorage, "a Computed Radiography Image"),
    ],
)
def test_an_object_without_pixels_is_named(tmp_path: Path, kind: uid.UID, said: str) -> None:
    path = write_dicom(tmp_path / "film", GREY, without=("PixelData", "Rows", "Columns"), SOPClassUID=kind)
    assert _refusal(path) == f"it has no pixels: it is {said}"


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR.dcm"])
def test_a_dicomdir_is_named(tmp_path: Path, name: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.DirectoryRecordSequence = []
    pydicom.dcmwrite(tmp_path / name, dataset)
    assert _refusal(tmp_path / name) == "it is a DICOMDIR, a list of files: it has no pixels"


def test_colour_is_named_by_what_says_so(tmp_path: Path) -> None:
    assert "in colour (RGB)" in _refusal(
        write_dicom(tmp_path / "film", GREY, PhotometricInterpretation="RGB")
    )
    path = write_dicom(tmp_path / "film", GREY, SamplesPerPixel=3)
    assert "in colour (its SamplesPerPixel (0028,0002) is 3)" in _refusal(path)


def test_every_file_that_pydicom_brings_is_read_or_refused() -> None:
    folder = Path(str(get_testdata_file("CT_small.dcm", download=False))).parent
    said = []
    for path in sorted(folder.glob("*.dcm")):
        with suppress(UnreadableError):
            grey = read_film(path).grey
            said.append(0 <= grey.min() <= grey.max() <= 1)
    assert len(said) > 20
    assert all(said)
