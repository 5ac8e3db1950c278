"""DICOM radiographs: one grey frame, through its modality and VOI transformations (PS3.3 C.11); no torch.

Headers are not always true. What a header says of its pixels is held against them once a film, and put right
where they leave no doubt; else the film is refused, and the tag is named.

PhotometricInterpretation alone says which end is white. PresentationLUTShape only restates it: IDENTITY
"shall be used if" it is MONOCHROME2, INVERSE if it is MONOCHROME1 (PS3.3 C.7.6.1 and C.8.11.3; C.11.6.1.2 has
what they mean). Where one contradicts the other, the one that every image has to have counts (C.7.6.3).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xray_tl.data.films.decode import Film, UnreadableError

if TYPE_CHECKING:
    from pydicom import Dataset

EXTRA = 'install the extra: pip install "xray-tl[dicom]"'


def read_dicom(path: Path) -> Film:
    """Read a DICOM file: intensities in [0, 1], bright where MONOCHROME2 is.

    Rescaled by its modality LUT or slope and intercept, windowed by its VOI LUT or its first window that is
    valid (all bits where it has none), MONOCHROME1 turned around, padding put at the dark end.

    Raises:
        UnreadableError: It is damaged, in colour, of several frames, without pixels, of a transfer syntax
            that cannot be decoded, or its header contradicts its pixels.
    """
    try:
        import pydicom  # noqa: F401  (the modules below need it)
    except ImportError:
        raise UnreadableError(f"DICOM files need pydicom: {EXTRA}") from None
    with _quiet():
        try:
            return _film(_parsed(path))
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:  # a damaged file makes the parser fail in many ways
            raise UnreadableError(f"it is damaged ({line_of(error)})") from error


def line_of(error: Exception) -> str:
    """Return what an error says, in one line that is not too long."""
    said = str(error).split("available plugins:")[-1]  # what pydicom says before is its own
    return " ".join(said.split())[:160] or type(error).__name__


def _film(dataset: Dataset) -> Film:
    from xray_tl.data.films.dicom_header import read_header
    from xray_tl.data.films.dicom_stream import raw_words
    from xray_tl.data.films.dicom_tables import presented
    from xray_tl.data.films.dicom_words import stored_values

    header = read_header(dataset)
    words, precision = raw_words(dataset, header)
    stored = stored_values(dataset, header, words, precision)
    patient = str(dataset.get("PatientID", "") or "").strip()
    return Film(presented(dataset, stored, header.kind), stored.bits, header.kind, patient)


def _parsed(path: Path) -> Dataset:
    """Parse a file, and see to it that it names a transfer syntax: the one that the parser found."""
    import pydicom
    from pydicom import uid

    dataset = pydicom.dcmread(path, force=True)  # older archives leave the preamble out
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to this package's one line: pydicom warns of, and logs, whatever it tries on a damaged file."""
    logs = [logging.getLogger(name) for name in ("pydicom", "openjpeg")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that do not follow the standard to the letter
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
