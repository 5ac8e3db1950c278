"""DICOM radiographs: one grey frame, through its modality and VOI transformations (PS3.3 C.11); no torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xray_tl.data.decode import LARGEST, Film, UnreadableError

if TYPE_CHECKING:
    from pydicom import Dataset

EXTRA = 'install the extra: pip install "xray-tl[dicom]"'


def read_dicom(path: Path) -> Film:
    """Read a DICOM file: intensities in [0, 1], bright where MONOCHROME2 is.

    Rescaled by its modality LUT or slope and intercept, padding put at the dark end, windowed by its VOI LUT
    or its first window (all bits where it has none), MONOCHROME1 turned around.

    Raises:
        UnreadableError: It is damaged, in colour, of several frames, without pixels, or of a transfer syntax
            that cannot be decoded.
    """
    try:
        import pydicom
    except ImportError:
        raise UnreadableError(f"DICOM files need pydicom: {EXTRA}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that do not follow the standard to the letter
        try:
            dataset = pydicom.dcmread(path, force=True)  # older archives leave the preamble out
        except Exception as error:  # a damaged file makes the parser fail in many ways
            raise UnreadableError(f"it is damaged ({_line(error)})") from error
        if not {"PixelData", "Rows", "SOPClassUID"} & set(dataset.dir()):
            raise UnreadableError("it is no DICOM file")
        if not getattr(dataset.file_meta, "TransferSyntaxUID", None):  # the standard's default
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        try:
            _check(dataset)
            stored = _pixels(dataset)
            patient = str(dataset.get("PatientID", "") or "").strip()
            kind, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
            return Film(_presented(dataset, stored), bits, kind, patient)
        except (UnreadableError, MemoryError):
            raise
        except Exception as error:  # as does a value that is not what the standard wants
            raise UnreadableError(f"it is damaged ({_line(error)})") from error


def _pixels(dataset: Dataset) -> NDArray[Any]:
    try:
        return np.asarray(dataset.pixel_array)
    except Exception as error:
        name = getattr(dataset.file_meta.get("TransferSyntaxUID"), "name", "unknown")
        raise UnreadableError(f"its transfer syntax {name} cannot be decoded ({_line(error)})") from error


def _check(dataset: Dataset) -> None:
    if "PixelData" not in dataset:
        raise UnreadableError("it has no pixels")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise UnreadableError(f"it has {frames} frames: a radiograph has one")
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel", 1)) != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableError(f"it is in colour ({kind}): a radiograph is MONOCHROME1 or MONOCHROME2")
    rows, columns = int(dataset.get("Rows", 0)), int(dataset.get("Columns", 0))
    if rows * columns > LARGEST:
        raise UnreadableError(f"{columns} x {rows} pixels: at most {LARGEST:,} are allowed")


def _presented(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.float32]:
    from pydicom.pixels.processing import apply_modality_lut

    padding = _padding(dataset, stored)
    values = apply_modality_lut(stored, dataset)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    if padding is not None and padding.any() and not padding.all():
        values = np.array(values)
        kept = values[~padding]
        values[padding] = kept.max() if inverted else kept.min()  # the end that is shown dark
    if dataset.get("VOILUTSequence"):
        grey = _looked_up(dataset.VOILUTSequence[0], values)
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        grey = _windowed(dataset, values.astype(np.float64))
    else:
        low, high = _possible(dataset)
        grey = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    grey = np.clip(grey, 0, 1)
    return (1 - grey if inverted else grey).astype(np.float32)


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which pixels are padding, PS3.3 C.7.5.1.1.2: no part of the film."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    return (stored >= low) & (stored <= high)


def _looked_up(item: Dataset, values: NDArray[Any]) -> NDArray[np.float64]:
    """Apply a VOI LUT, PS3.3 C.11.2.1.1, to [0, 1]; pydicom 3.0 looks up in the output's few bits."""
    length, first, bits = (int(number) for number in item.LUTDescriptor)
    length = length or 2**16
    first -= 2**16 if first >= 2**15 and values.min() < 0 else 0  # signed, if the values are
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * length else "u1")
    table = np.asarray(data, dtype=np.float64)[:length] / (2**bits - 1)
    return table[np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)]


def _windowed(dataset: Dataset, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the first window, PS3.3 C.11.2.1.2, to [0, 1]."""
    center, width = (_first(dataset[name].value) for name in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR").upper()
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / max(width, 1e-12), -60, 60))))
    if function == "LINEAR_EXACT":
        return np.asarray((values - center) / max(width, 1e-12) + 0.5)
    return np.asarray((values - (center - 0.5)) / max(width - 1, 1e-12) + 0.5)


def _possible(dataset: Dataset) -> tuple[float, float]:
    """Return the lowest and highest value that the stored bits allow, after modality LUT or rescaling."""
    if dataset.get("ModalityLUTSequence"):
        return 0, 2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation", 0)) == 1
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope = float(dataset.get("RescaleSlope", 1) or 1)
    intercept = float(dataset.get("RescaleIntercept", 0) or 0)
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high


def _first(value: Any) -> float:  # noqa: ANN401  (a number or several)
    return float(value if isinstance(value, int | float | str) or not hasattr(value, "__len__") else value[0])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
