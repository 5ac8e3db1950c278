"""MedMNIST's radiographs (Yang et al., Scientific Data 10:41, 2023): names of labels, and files."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from xray_tl.errors import InputError
from xray_tl.store.files import atomic_path

log = logging.getLogger(__name__)

RELEASE = "https://zenodo.org/records/10519652/files"


class KnownSet(NamedTuple):
    """One data set: names of its labels, by their number; MD5 of its file, by the images' side, pixels."""

    labels: tuple[str, ...]
    md5: dict[int, str]


SETS = {
    "pneumoniamnist": KnownSet(
        ("normal", "pneumonia"),
        {
            28: "28209eda62fecd6e6a2d98b1501bb15f",
            64: "8f4eceb4ccffa70c672198ea285246c6",
            128: "05b46931834c231683c68f40c47b2971",
            224: "d6a3c71de1b945ea11211b03746c1fe1",
        },
    ),
    "chestmnist": KnownSet(
        (
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        {
            28: "02c8a6516a18b556561a56cbdd36c4a8",
            64: "9de6cd0b934ebb5b7426cfba5efbae16",
            128: "db107e5590b27930b62dbaf558aebee3",
            224: "45bd33e6f06c3e8cdb481c74a89152aa",
        },
    ),
}


def file_name(dataset: str, side: int) -> str:
    """Return what MedMNIST calls a file: the original size of 28 pixels has no number."""
    return f"{dataset}.npz" if side == 28 else f"{dataset}_{side}.npz"


def label_names(place: Path) -> tuple[str, ...] | None:
    """Return the names of a file's labels, known by the file's name; `None`: it is none of these files."""
    return next((known.labels for name, (known, _) in _files().items() if name == place.name), None)


def fetch(place: Path) -> None:
    """Download a file of MedMNIST to where it is missing; it appears there whole and checked, or not at all.

    Where several processes ask for it, one downloads.

    Raises:
        InputError: It is none of the known files, or cannot be had.
    """
    files = _files()
    if place.name not in files:
        raise InputError(f"data.root={place} is not there, and data.download=true knows {', '.join(files)}")
    import pooch  # with requests, which those need not load who have the file

    url = f"{RELEASE}/{place.name}?download=1"
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=60)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f".{place.name}.lock")):
            if place.is_file():
                return
            log.info("downloading %s", url)
            with atomic_path(place) as partial:
                pooch.retrieve(
                    url, f"md5:{files[place.name][1]}", partial.name, partial.parent, downloader=downloader
                )
    except Exception as error:  # whatever a network, a server or a disk has to say
        reason = " ".join(str(error).split())
        raise InputError(f"{url} cannot be downloaded to data.root={place}: {reason}") from error


def _files() -> dict[str, tuple[KnownSet, str]]:
    """Return each known file's set and MD5, by its name."""
    return {
        file_name(name, side): (known, md5) for name, known in SETS.items() for side, md5 in known.md5.items()
    }
