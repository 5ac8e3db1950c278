"""Decode a DICOM radiograph: one grey frame, by its modality and VOI transformations (PS3.3 C.11).

Headers are sometimes wrong. Each file's header is compared with its pixels, and corrected if the pixels leave
no doubt; otherwise the file is refused, and the message names the tag.

Only PhotometricInterpretation decides which end is white. PresentationLUTShape merely repeats it: IDENTITY
"shall be used if" it is MONOCHROME2, INVERSE if it is MONOCHROME1 (PS3.3 C.7.6.1 and C.8.11.3; C.11.6.1.2
defines both). If the two contradict each other, the one that is mandatory for every image counts (C.7.6.3).
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
    """Read a DICOM file: intensities in [0, 1], bright as in MONOCHROME2.

    Pixels are rescaled by the modality LUT or slope and intercept, then windowed by the VOI LUT or the first
    valid window (without one: over all bits). MONOCHROME1 is inverted, and padding becomes dark.

    Raises:
        UnreadableError: The file is damaged, in colour, has several frames or no pixels, has a transfer
            syntax that cannot be decoded, or its header contradicts its pixels.
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
    """Return an error's message in one line of at most 160 characters."""
    said = str(error).split("available plugins:")[-1]  # pydicom's own words come before
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
    """Parse a file; if it names no transfer syntax, set the one that the parser found."""
    import pydicom
    from pydicom import uid

    dataset = pydicom.dcmread(path, force=True)  # older archives lack the preamble
    if not dataset.file_meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom, which warns and logs much on a damaged file: this package reports one line."""
    logs = [logging.getLogger(name) for name in ("pydicom", "openjpeg")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for values that violate the standard slightly
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
