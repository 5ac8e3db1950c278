"""MedMNIST's data sets of radiographs (Yang et al., Scientific Data 10:41, 2023): labels and download."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import NamedTuple

from xray_tl.errors import InputError
from xray_tl.store.cache import acquire
from xray_tl.store.files import atomic_path

log = logging.getLogger(__name__)

RELEASE = "https://zenodo.org/records/10519652/files"


class KnownSet(NamedTuple):
    """One data set: the names of its labels in order, and the MD5 of its file by the images' side, pixels."""

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
    """Return MedMNIST's name of a file; the original size of 28 pixels has no number in it."""
    return f"{dataset}.npz" if side == 28 else f"{dataset}_{side}.npz"


def label_names(place: Path) -> tuple[str, ...] | None:
    """Return the names of a file's labels, looked up by the file's name; `None` if the file is not known."""
    return next((known.labels for name, (known, _) in _files().items() if name == place.name), None)


def fetch(place: Path) -> None:
    """Download a missing MedMNIST file, atomically and with a check of its MD5.

    If several processes need it, one downloads it.

    Raises:
        InputError: The file is not known, or cannot be downloaded.
    """
    files = _files()
    if place.name not in files:
        raise InputError(f"data.root={place} is not there, and data.download=true knows {', '.join(files)}")
    import pooch  # slow to import; not needed if the file is there

    url = f"{RELEASE}/{place.name}?download=1"
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=60)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with acquire(place):
            if place.is_file():
                return
            log.info("downloading %s", url)
            with atomic_path(place) as partial:
                pooch.retrieve(
                    url, f"md5:{files[place.name][1]}", partial.name, partial.parent, downloader=downloader
                )
    except Exception as error:  # any failure of network, server or disk
        reason = " ".join(str(error).split())
        raise InputError(f"{url} cannot be downloaded to data.root={place}: {reason}") from error


def _files() -> dict[str, tuple[KnownSet, str]]:
    """Return data set and MD5 of each known file, by the file's name."""
    return {
        file_name(name, side): (known, md5) for name, known in SETS.items() for side, md5 in known.md5.items()
    }
