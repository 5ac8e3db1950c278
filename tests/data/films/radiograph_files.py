"""Radiographs of the generator as files, as another program would have written them."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs

Grey = NDArray[np.float32]
Write = Callable[[Path, Grey], None]


def films(count: int, size: int = 32, seed: int = 0, **options: object) -> tuple[Grey, NDArray[np.int64]]:
    """Render films [N, H, W] and their labels [N]."""
    config = replace(SyntheticDataConfig(image_size=size), **options)
    source = SyntheticRadiographs(config, split="train", seed=seed)
    drawn = source.render(torch.arange(count))
    return drawn.image[:, 0].numpy(), drawn.label.numpy()


def touch(root: Path, *names: str) -> Path:
    """Make empty files below a folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def write_png16(path: Path, grey: Grey) -> None:
    """Write 16 bits of grey."""
    Image.fromarray((grey * 65535).round().astype(np.uint16)).save(path.with_suffix(".png"))


def write_png8(path: Path, grey: Grey) -> None:
    """Write 8 bits of grey."""
    Image.fromarray((grey * 255).round().astype(np.uint8)).save(path.with_suffix(".png"))


def write_jpeg(path: Path, grey: Grey) -> None:
    """Write a JPEG of high quality."""
    Image.fromarray((grey * 255).round().astype(np.uint8)).save(path.with_suffix(".jpg"), quality=95)


def write_tiff16(path: Path, grey: Grey) -> None:
    """Write 16 bits of grey."""
    Image.fromarray((grey * 65535).round().astype(np.uint16)).save(path.with_suffix(".tiff"))


def write_dicom(
    path: Path,
    grey: Grey,
    *,
    without: tuple[str, ...] = (),
    syntax: UID = ExplicitVRLittleEndian,
    **tags: object,
) -> Path:
    """Write 12 bits of grey, uncompressed; tags replace or add to what stands in the file; return its path.

    Pixels of a compressed transfer syntax are encapsulated here.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    stored = (grey * 4095).round().astype("<u2" if syntax.is_little_endian else ">u2")
    values = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CR",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": stored.tobytes(),
        **tags,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that the standard does not allow
        for name, value in values.items():
            if name not in without:
                setattr(dataset, name, value)
    if syntax.is_encapsulated and "PixelData" in dataset:
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True
    target = path.with_suffix(".dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    return target


def say_syntax(path: Path, syntax: UID) -> Path:
    """Let a DICOM file name another transfer syntax than it is written in; return its path."""
    data = path.read_bytes()
    place = data.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(data[place + 6 : place + 8], "little")
    name = syntax.encode() + b"\0" * (len(syntax) % 2)
    group = int.from_bytes(data[140:144], "little") + len(name) - length
    meta = data[:140] + group.to_bytes(4, "little") + data[144 : place + 6]
    path.write_bytes(meta + len(name).to_bytes(2, "little") + name + data[place + 8 + length :])
    return path


def write_classes(
    root: Path, count: int, write: Write = write_png16, size: int = 32, per_patient: int = 1, seed: int = 0
) -> Path:
    """Write films into `normal` and `opacity` below a folder, named `<patient>_<number>`."""
    grey, label = films(count, size, seed)
    for index in range(count):
        folder = root / ("opacity" if label[index] else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{index // per_patient:05d}_{index % per_patient:03d}", grey[index])
    return root
