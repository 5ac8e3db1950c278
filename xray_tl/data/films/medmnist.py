"""Reading of a MedMNIST file (`.npz`) with images, labels and a split, without unpickling."""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.decode import Grey, fit_film, look_of
from xray_tl.data.films.decoded import Films
from xray_tl.data.films.listing import Listing
from xray_tl.data.films.mapped import MappedImages, block_length, can_be_kept, gigabytes_of, is_held
from xray_tl.data.films.medmnist_sets import fetch, file_name, label_names
from xray_tl.data.films.names import PARTS
from xray_tl.data.films.reading import Reading, decoder_identity, hash_of
from xray_tl.errors import InputError
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import refresh, remember


def list_medmnist(config: RadiographDataConfig) -> Listing:
    """List the images of a MedMNIST file: one label with two or more classes, or several labels of 0 and 1.

    Raises:
        InputError: The file is not a MedMNIST file.
    """
    parts = _load(config, "labels")
    labels = np.concatenate([parts[split] for split in PARTS])
    names = [f"{split}/{index}" for split in PARTS for index in range(len(parts[split]))]
    table = pd.DataFrame({"name": names, "path": "", "patient": ""})
    table["split"] = table["name"].str.split("/").str[0]
    if labels.shape[1] > 1:
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"data.root={config.root} has labels that are not 0 or 1")
        return Listing(table, labels.astype(np.float32), "multilabel", _names(config, labels), None)
    classes = np.unique(labels[:, 0])
    if len(classes) < 2:
        raise InputError(f"data.root={config.root} has images of one class only")
    if len(classes) == 2:
        truth = (labels == classes[1]).astype(np.float32)
        negative, positive = _names(config, labels)
        return Listing(table, truth, "binary", (positive,), negative)
    truth = (labels == classes).astype(np.float32)
    return Listing(table, truth, "multiclass", _names(config, labels), None)


def open_medmnist(config: RadiographDataConfig, reading: Reading) -> Films:
    """Resize the images of a MedMNIST file once, or take them from the cache.

    Raises:
        InputError: It is not such a file, or neither memory nor the cache can hold its images at that size.
    """
    place = Path(config.root).expanduser()
    with place.open("rb") as stream:
        identity = {**decoder_identity(reading), "file": hashlib.file_digest(stream, "sha256").hexdigest()}
    stored = _Stored(config)
    count = sum(map(len, _load(config, "labels").values()))
    gigabytes = gigabytes_of(count, reading.size)
    too_large = InputError(
        f"data.root={config.root} takes {gigabytes:.3g} GB at data.image_size={reading.size}: more than "
        f"data.memory_limit_gb={config.memory_limit_gb:g}, and than a cache on a local disk can hold "
        "(XRAY_TL_CACHE, XRAY_TL_CACHE_GB)"
    )
    if not can_be_kept(gigabytes, config.memory_limit_gb):
        raise too_large
    facts = remember("films", identity | {"part": "facts"}, partial(_facts, stored, reading))
    blocks, length = [], block_length(reading.size)
    parts = [(start, min(start + length, count)) for start in range(0, count, length)]
    refresh("films", (identity | {"part": list(part)} for part in parts))
    for part in parts:
        fit = partial(_fit, stored, reading, slice(*part))
        block = remember("films", identity | {"part": list(part)}, fit)["image"]
        if not is_held(block, gigabytes, config.memory_limit_gb):
            raise too_large
        blocks.append(block)
    return Films(
        **facts,
        pixels=facts["contents"],
        readable=np.ones(count, dtype=bool),
        bits=np.full(count, 8, dtype=np.int64),
        notes=("",) * count,
        image=MappedImages(blocks),
    )


class _Stored:
    """The images of a file, read at their first use."""

    def __init__(self, config: RadiographDataConfig) -> None:
        self._config = config

    @cached_property
    def images(self) -> list[NDArray[np.uint8]]:
        """The images of every split [H, W] or [H, W, 3], in order.

        Raises:
            InputError: The file's images and labels do not match.
        """
        parts, labels = _load(self._config, "images"), _load(self._config, "labels")
        for split, images in parts.items():
            if len(images) != len(labels[split]) or images.dtype != np.uint8:
                raise InputError(
                    f"data.root={self._config.root}: {split} has {len(images)} images of {images.dtype} and "
                    f"{len(labels[split])} labels"
                )
        return [image for split in PARTS for image in parts[split]]


def _facts(stored: _Stored, reading: Reading) -> Arrays:
    return {
        "contents": np.stack([hash_of(image) for image in stored.images]),
        "shape": np.array([image.shape[:2] for image in stored.images], dtype=np.int64),
        "mode": np.array([image.ndim == 3 for image in stored.images], dtype=np.int64),
        "look": np.array([look_of(_grey(image), reading.intensity) for image in stored.images]),
    }


def _grey(image: NDArray[np.uint8]) -> Grey:
    """Convert an image [H, W] or [H, W, 3] to grey [H, W] in [0, 1]."""
    return (image.mean(-1) if image.ndim == 3 else image).astype(np.float32) / np.float32(255)


def _fit(stored: _Stored, reading: Reading, part: slice) -> Arrays:
    fitted = []
    for image in stored.images[part]:
        fitted.append(fit_film(_grey(image), reading.size, reading.fit, reading.intensity))
    return {"image": np.stack(fitted)}


def _names(config: RadiographDataConfig, labels: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the names of the label columns, or of the classes in a single column."""
    several, known = labels.shape[1] > 1, label_names(Path(config.root))
    values = list(range(labels.shape[1])) if several else np.unique(labels[:, 0]).tolist()
    if known is not None and values == list(range(len(known))):
        return known
    return tuple(f"{'label' if several else 'class'} {value}" for value in values)


def _load(config: RadiographDataConfig, part: str) -> dict[str, NDArray[np.uint8]]:
    """Read the images or the labels of every split."""
    place = Path(config.root).expanduser()
    if not place.is_file():
        if not config.download:
            raise InputError(
                f"data.root={config.root} does not exist: download it from https://medmnist.com, or let "
                f"data.download=true do so ({file_name('pneumoniamnist', 224)}, ...)"
            )
        fetch(place)
    try:
        with np.load(place, allow_pickle=False) as file:
            names = {split: f"{split}_{part}" for split in PARTS}
            absent = [name for name in names.values() if name not in file]
            if absent:
                raise InputError(
                    f"data.root={config.root} has no {', '.join(absent)}: it is no MedMNIST file"
                )
            parts = {split: np.asarray(file[name]) for split, name in names.items()}
    except InputError:
        raise
    except Exception as error:  # a damaged file makes the readers fail in many ways
        raise InputError(f"data.root={config.root} is no MedMNIST file: {error}") from None
    for split, array in parts.items():
        _check_array(config, part, split, array, parts["train"].shape[1:])
    return {split: array[:, None] if array.ndim == 1 else array for split, array in parts.items()}


def _check_array(
    config: RadiographDataConfig, part: str, split: str, array: NDArray[Any], shape: tuple[int, ...]
) -> None:
    where = f"data.root={config.root}: {split}"
    if part == "images" and array.ndim == 4 and array.shape[-1] != 3:
        what = "RGBA" if array.shape[-1] == 4 else "volumes"
        raise InputError(
            f"{where} has {what} of shape {array.shape[1:]}: images are [height, width] or [height, width, 3]"
        )
    dimensions = (1, 2) if part == "labels" else (3, 4)
    if array.dtype.kind not in "ui" or array.ndim not in dimensions or array.shape[1:] != shape:
        raise InputError(f"{where} has {part} of shape {array.shape}, {array.dtype}")
