"""Files of other programs become the same grey image, or say why they do not."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset

from tests.data.films.radiograph_files import (
    Write,
    films,
    write_dicom,
    write_jpeg,
    write_png8,
    write_png16,
    write_tiff16,
)
from xray_tl.data.films.decode import UnreadableError, fit_film, read_film

GREY = films(1, 48)[0][0]
# What each format may lose: half a step of its bits; JPEG at quality 95 a few steps.
FORMATS = [
    (write_png16, 0.5 / 65535),
    (write_tiff16, 0.5 / 65535),
    (write_dicom, 0.5 / 4095),
    (write_png8, 0.5 / 255),
    (write_jpeg, 12 / 255),
]


def _written(folder: Path, write: Write) -> Path:
    write(folder / "film", GREY)
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize(("write", "lost"), FORMATS)
def test_every_format_gives_the_same_image(tmp_path: Path, write: Write, lost: float) -> None:
    film = read_film(_written(tmp_path, write))
    assert np.abs(film.grey - GREY).max() <= lost + 1e-6
    assert film.bits == {"png": 16, "tiff": 16, "dcm": 12, "jpg": 8}.get(
        _written(tmp_path, write).suffix[1:] if write is not write_png8 else "", 8
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_colour_becomes_grey(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray((GREY * 255).astype(np.uint8)).convert(mode)
    picture.save(tmp_path / f"film.{'tiff' if mode == 'CMYK' else 'png'}")
    (path,) = tmp_path.iterdir()
    film = read_film(path)
    assert film.grey.shape == GREY.shape
    if mode != "1":
        assert np.abs(film.grey - GREY).max() < 3 / 255
    assert film.mode == ("colour" if mode in ("RGB", "RGBA", "P", "CMYK") else "grey")


def _bomb(path: Path) -> None:
    """Write a PNG that says it is 30 000 x 30 000 pixels large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write_png16(whole, GREY)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.with_suffix(".png").read_bytes()[:-200])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not an image at all, whatever its name says" * 10)
    (tmp_path / "text.dcm").write_text("not DICOM at all, whatever its name says" * 10)
    _bomb(tmp_path / "bomb.png")
    Image.fromarray(np.full((8, 8), 7.0, dtype=np.float32)).save(tmp_path / "float.tiff")
    frames = [Image.fromarray((GREY * 255).astype(np.uint8))] * 2
    frames[0].save(tmp_path / "frames.tiff", save_all=True, append_images=frames[1:])
    stored = np.zeros((*GREY.shape, 3), dtype=np.uint8).tobytes()
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    write_dicom(tmp_path / "colour", GREY, **colour, **bits, PixelData=stored)
    write_dicom(tmp_path / "several", GREY, NumberOfFrames=2)
    write_dicom(tmp_path / "short", GREY, PixelData=b"\0\0")
    said = {
        "cut.png": "damaged",
        "empty.png": "empty",
        "text.png": "no image",
        "text.dcm": "no DICOM file",
        "bomb.png": "100,000,000",
        "float.tiff": r"do not lie in \[0, 1\]",
        "frames.tiff": "2 frames",
        "colour.dcm": "in colour",
        "several.dcm": "2 frames",
        "short.dcm": r"PixelData \(7FE0,0010\) is cut off: 4,606 of 4,608 bytes are missing",
        "absent.png": "No such file",
    }
    for name, reason in said.items():
        with pytest.raises(UnreadableError, match=reason):
            read_film(tmp_path / name)


def test_monochrome1_is_turned_around_and_padding_is_dark(tmp_path: Path) -> None:
    write_dicom(tmp_path / "two", GREY)
    write_dicom(tmp_path / "one", 1 - GREY, PhotometricInterpretation="MONOCHROME1")
    two, one = (read_film(tmp_path / f"{name}.dcm").grey for name in ("two", "one"))
    assert np.abs(one - two).max() < 1.1 / 4095
    framed = GREY.copy()
    framed[:8] = 1.0
    for photometric in ("MONOCHROME2", "MONOCHROME1"):
        tags = {"PhotometricInterpretation": photometric, "PixelPaddingValue": 4095}
        write_dicom(tmp_path / "padded", framed, **tags)
        padded = read_film(tmp_path / "padded.dcm").grey
        assert (padded[:8] == padded[8:].min()).all()


def test_sixteen_bits_with_white_at_zero_are_turned_around(tmp_path: Path) -> None:
    stored = Image.fromarray(65535 - (GREY * 65535).round().astype(np.uint16))
    stored.save(tmp_path / "film.tiff", tiffinfo={262: 0})
    assert np.abs(read_film(tmp_path / "film.tiff").grey - GREY).max() < 1e-4


def test_a_film_is_what_it_holds_not_what_its_name_says(tmp_path: Path) -> None:
    write_png16(tmp_path / "picture", GREY)
    (tmp_path / "picture.png").rename(tmp_path / "picture.dcm")
    assert np.abs(read_film(tmp_path / "picture.dcm").grey - GREY).max() < 1e-4
    write_dicom(tmp_path / "whole", GREY)
    whole = pydicom.dcmread(tmp_path / "whole.dcm")
    whole.file_meta, whole.preamble = FileMetaDataset(), None
    whole.save_as(tmp_path / "bare.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "bare.dcm").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_film(tmp_path / "bare.dcm").grey, read_film(tmp_path / "whole.dcm").grey)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_lut_maps_stored_values_to_its_own_bits(tmp_path: Path, bits: int) -> None:
    grey = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4095
    curve = np.round((np.arange(3000) / 2999) ** 2 * (2**bits - 1)).astype(int)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [3000, 500, bits])
    item.add_new("LUTData", "US", curve.tolist())
    write_dicom(tmp_path / "film", grey, VOILUTSequence=[item])
    expected = curve[np.clip(np.arange(4096) - 500, 0, 2999)] / (2**bits - 1)
    assert np.abs(read_film(tmp_path / "film.dcm").grey.ravel() - expected).max() < 1e-6


def test_window_and_rescale_follow_the_standard(tmp_path: Path) -> None:
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    grey = (stored / 4095).astype(np.float32)
    write_dicom(tmp_path / "film", grey, WindowCenter=2048, WindowWidth=1024)
    windowed = read_film(tmp_path / "film.dcm").grey.ravel()
    # PS3.3 C.11.2.1.2.1: y = ((x - (c - 0.5)) / (w - 1) + 0.5), clipped
    expected = np.clip((np.arange(4096) - 2047.5) / 1023 + 0.5, 0, 1)
    assert np.abs(windowed - expected).max() < 1e-6
    write_dicom(
        tmp_path / "film", grey, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3996, WindowWidth=2048
    )
    rescaled = read_film(tmp_path / "film.dcm").grey.ravel()
    assert np.abs(rescaled - np.clip((2 * np.arange(4096) - 100 - 3995.5) / 2047 + 0.5, 0, 1)).max() < 1e-6
    write_dicom(tmp_path / "film", grey, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID")
    sigmoid = read_film(tmp_path / "film.dcm").grey.ravel()
    assert np.abs(sigmoid - 1 / (1 + np.exp(-4 * (np.arange(4096) - 2048) / 1024))).max() < 1e-6
    write_dicom(tmp_path / "film", grey, RescaleSlope=-1, RescaleIntercept=0)
    turned = read_film(tmp_path / "film.dcm").grey.ravel()
    assert np.abs(turned - (1 - np.arange(4096) / 4095)).max() < 1e-6, "no window: all that the bits allow"


@pytest.mark.parametrize("film", ["RG1", "RG3"])
def test_real_radiographs_are_bright_where_there_is_bone(film: str) -> None:
    raw, compressed = (
        read_film(Path(str(get_testdata_file(f"{film}_{kind}.dcm", download=False))))
        for kind in ("UNCR", "J2KR")
    )
    assert raw.mode == "MONOCHROME1"
    assert raw.bits > 8
    assert np.array_equal(raw.grey, compressed.grey), "JPEG 2000 here is lossless"
    assert 0.02 < raw.grey.std() < 0.5
    assert raw.grey.min() >= 0
    assert raw.grey.max() <= 1
    edge = np.concatenate([raw.grey[:40].ravel(), raw.grey[-40:].ravel()])
    assert len(np.unique(raw.grey)) > 256, "more than 8 bits survive"
    assert edge.mean() < raw.grey.mean() + raw.grey.std()


def test_fit() -> None:
    wide = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (32, 1))
    padded = fit_film(wide, 32, "pad", "range")
    assert padded.shape == (32, 32)
    assert not padded[:8].any()
    assert not padded[24:].any()
    assert padded[8:24].any(0)[1:].all()
    cropped = fit_film(wide, 32, "crop", "range")
    assert np.allclose(cropped, wide[:, 16:48], atol=1e-6)
    stretched = fit_film(wide, 32, "stretch", "range")
    assert np.allclose(stretched.mean(0), wide.reshape(32, 32, 2).mean((0, 2)), atol=0.02)
    scaled = fit_film(0.4 + 0.1 * wide, 32, "stretch", "percentile")
    assert scaled.min() < 0.02
    assert scaled.max() > 0.98


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 1], dtype=np.float32), (256, 128))
    small = fit_film(stripes, 32, "stretch", "range")
    assert np.abs(small - 0.5).max() < 0.02


def test_where_a_padded_side_falls_on_a_tie_stays() -> None:
    """1600 x 1075 at 224 pixels: 150.5 in real numbers; what is kept of such films follows from it."""
    fitted = fit_film(np.ones((1600, 1075), dtype=np.float32), 224, "pad", "range")
    assert (fitted.max(0) > 0).sum() == round(1075 * (224 / 1600)) == 151
