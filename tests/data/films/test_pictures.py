"""Pictures become upright and bright where they are white, once; files of other kinds are named."""

import gzip
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.films.radiograph_files import films
from xray_tl.data.films.decode import UnreadableError, read_film

GREY = films(1, 48)[0][0][:40]
_T = Image.Transpose
BACK = {
    1: None,
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_90,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_270,
}
"""How an upright picture is turned to be stored with each orientation."""


def _eight() -> Image.Image:
    return Image.fromarray((GREY * 255).round().astype(np.uint8))


def _picture(depth: str) -> tuple[Image.Image, NDArray[np.float32]]:
    """Return a picture and what it is to be read as."""
    if depth == "16":
        return Image.fromarray((GREY * 65535).round().astype(np.uint16)), GREY
    if depth == "32":
        return Image.fromarray((GREY * 65535).round().astype(np.int32)), GREY
    if depth == "float":
        return Image.fromarray(GREY), GREY
    picture = _eight().convert({"8": "L"}.get(depth, depth))
    return picture, np.asarray(picture.convert("L"), dtype=np.float32) / 255


KINDS = [
    *[("png", depth, None) for depth in ("8", "16", "1", "P", "RGB", "RGBA", "LA")],
    *[("jpg", depth, None) for depth in ("8", "RGB")],
    *[
        ("tif", depth, compression)
        for depth in ("8", "16", "32", "float", "1", "P", "RGB")
        for compression in (None, "tiff_lzw")
    ],
]


@pytest.mark.parametrize("orientation", BACK)
@pytest.mark.parametrize(("suffix", "depth", "compression"), KINDS)
def test_every_picture_is_turned_upright_once(
    tmp_path: Path, suffix: str, depth: str, compression: str | None, orientation: int
) -> None:
    picture, expected = _picture(depth)
    turn = BACK[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    options = {"compression": compression} if compression else {"quality": 98} if suffix == "jpg" else {}
    stored = picture if turn is None else picture.transpose(turn)
    stored.save(tmp_path / f"film.{suffix}", exif=exif, **options)
    grey = read_film(tmp_path / f"film.{suffix}").grey
    assert grey.shape == GREY.shape
    assert np.abs(grey - expected).max() < (0.1 if suffix == "jpg" else 1e-4)


@pytest.mark.parametrize("depth", ["8", "16", "32", "float", "1"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", [".tif", ".big"])
def test_white_at_zero_is_turned_around_once(
    tmp_path: Path, depth: str, orientation: int, suffix: str
) -> None:
    picture, expected = _picture(depth)
    pixels = np.asarray(picture)
    white = {"8": 255, "16": 65535, "32": 65535, "float": 1, "1": True}[depth]
    turned = Image.fromarray(~pixels if depth == "1" else (white - pixels).astype(pixels.dtype))
    if orientation == 6:
        turned = turned.transpose(_T.ROTATE_90)
    path = tmp_path / f"film{suffix}"
    # Pillow writes 1 and 8 bits turned around itself when it is asked for white at zero.
    stored = picture.transpose(_T.ROTATE_90) if orientation == 6 else picture
    stored = stored if depth in ("1", "8") else turned
    stored.save(path, "TIFF", tiffinfo={262: 0, 274: orientation}, big_tiff=suffix == ".big")
    assert np.abs(read_film(path).grey - expected).max() < 1e-4


@pytest.mark.parametrize("suffix", ["dcm", "png", "tif"])
def test_big_tiff_is_a_picture_whatever_its_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    _picture("16")[0].save(path, "TIFF", big_tiff=True)
    assert path.read_bytes()[:4] == b"II+\0"
    assert np.abs(read_film(path).grey - GREY).max() < 1e-4


def _saved(kind: str, **options: object) -> bytes:
    stream = BytesIO()
    _eight().save(stream, kind, **options)
    return stream.getvalue()


def _zipped(*names: str, mimetype: str = "") -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        if mimetype:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x" * 400)
    return stream.getvalue()


def _arrays(*, several: bool) -> bytes:
    stream = BytesIO()
    np.savez(stream, a=GREY) if several else np.save(stream, GREY)
    return stream.getvalue()


def _nifti() -> bytes:
    return (348).to_bytes(4, "little") + b"\0" * 340 + b"n+1\0" + b"\0" * 400


OTHERS = {
    "a BMP picture": lambda: _saved("BMP"),
    "a WebP picture": lambda: _saved("WEBP"),
    "a JPEG 2000 picture": lambda: _saved("JPEG2000"),
    "a JPEG 2000 code stream": lambda: _saved("JPEG2000", no_jp2=True),
    "a GIF picture": lambda: _saved("GIF"),
    "a spreadsheet": lambda: _zipped("[Content_Types].xml", "xl/workbook.xml"),
    "a ZIP archive": lambda: _zipped("film.png"),
    "an Office document": lambda: _zipped("[Content_Types].xml", "word/document.xml"),
    "an Office document (xls, doc)": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
    "a PDF document": lambda: b"%PDF-1.7\n" + b"x" * 600,
    "an HTML page": lambda: b"\n <!DOCTYPE html><html><body>login</body></html>" + b" " * 600,
    "an XML document": lambda: b'<?xml version="1.0"?><a/>' + b" " * 600,
    "compressed by gzip": lambda: gzip.compress(_nifti()),
    "a NIfTI volume": _nifti,
    "a NumPy array": lambda: _arrays(several=False),
    "a file of NumPy arrays": lambda: _arrays(several=True),
    "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n",
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "dcm", ""])
@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_kinds_are_named_whatever_they_are_called(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = tmp_path / f"film.{suffix}"
    path.write_bytes(OTHERS[name]())
    with pytest.raises(UnreadableError) as caught:
        read_film(path)
    assert str(caught.value).startswith(f"it is {name}")
    assert str(caught.value).endswith(": PNG, JPEG, TIFF and DICOM are read")


def test_an_open_document_is_a_spreadsheet(tmp_path: Path) -> None:
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    (tmp_path / "film.png").write_bytes(_zipped("content.xml", mimetype=kind))
    with pytest.raises(UnreadableError, match="it is a spreadsheet"):
        read_film(tmp_path / "film.png")
