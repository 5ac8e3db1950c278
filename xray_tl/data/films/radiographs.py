"""Real radiographs after listing, decoding and splitting: accessed by index, as generated ones are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xray_tl.data.films.decoded import Films
from xray_tl.data.films.listing import COVARIATE, Listing
from xray_tl.data.films.reading import Reading, decoder_identity, try_reading
from xray_tl.errors import RunError
from xray_tl.seeding import stream_seed


class RadiographSource:
    """The radiographs of one split, by index.

    Args:
        collection: The data set.
        split: `train`, `val` or `test`; `None`: all.
        rows: Indices of its images in the data set [N].
        device: Device of the training; the images themselves are returned on the CPU.
    """

    def __init__(
        self, collection: Collection, split: str | None, rows: NDArray[np.int64], device: torch.device
    ) -> None:
        self.collection, self.split, self.rows, self.device = collection, split, rows, device
        table = collection.listing.table
        self.names: tuple[str, ...] = tuple(table["name"].iloc[rows])

    def __len__(self) -> int:
        """Count the images."""
        return len(self.rows)

    def patients(self) -> list[str]:
        """Return a name for the patient of each image; images that belong together share one.

        It is the first name, in alphabetical order, of the images of one patient and their copies, in any
        split: it does not depend on the order in which files are listed.
        """
        groups = self.collection.groups
        first: dict[int, str] = {}
        for group, name in zip(groups.tolist(), self.collection.listing.table["name"], strict=True):
            first[group] = min(name, first.get(group, name))
        return [first[int(group)] for group in groups[self.rows]]

    def truth(self, indices: Tensor) -> Tensor:
        """Return the truth of images [B, T], 0 or 1; NaN if it is not known."""
        return torch.from_numpy(self.collection.listing.truth[self.rows[indices.numpy()]])

    def images(self, indices: Tensor) -> Tensor:
        """Return images [B, 1, S, S] in [0, 1]."""
        rows = self.rows[indices.numpy()]
        return torch.from_numpy(self.collection.images(rows))[:, None]

    def mixed(self, size: int) -> list[int]:
        """Return the indices in the order of a hash of each image's pixels, which mixes the classes.

        Class folders are listed one after the other: batches in the order of the list would hold one class.
        """
        pixels = self.collection.films.pixels[self.rows]
        return np.lexsort(pixels.T).tolist()

    def identity(self) -> dict[str, Any]:
        """Return everything that changes an image or a truth, as plain values for a hash."""
        listing, films = self.collection.listing, self.collection.films
        digest = hashlib.sha256(films.contents[self.rows].tobytes())
        digest.update(listing.truth[self.rows].tobytes())
        return {
            **decoder_identity(self.collection.reading),
            "split": self.split,
            "images": digest.hexdigest(),
            "targets": [listing.kind, *listing.targets],
        }


@dataclass(frozen=True)
class Collection:
    """A data set of real radiographs, with its split.

    Attributes:
        listing: The images that can be used.
        films: Their decoded files.
        reading: How the files were read.
        split: The part of the split of each image [N].
        groups: The group (same patient, or copies of one image) of each image [N].
        skipped: Files that were left out, and why.
        folds: The fold of each image in cross-validation [N]; `None`: no cross-validation.
    """

    listing: Listing
    films: Films
    reading: Reading
    split: tuple[str, ...]
    groups: NDArray[np.int64]
    skipped: dict[str, str]
    folds: NDArray[np.int64] | None = None

    def images(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return images [N, S, S] in [0, 1], all by default; they are decoded now if they were not kept.

        Raises:
            RunError: A file has changed or disappeared since the data set was opened.
        """
        if self.films.image is not None:
            return self.films.image.read(rows)
        paths = self.listing.table["path"]
        chosen = paths if rows is None else paths.iloc[rows]
        size = self.reading.size
        images = np.empty((len(chosen), size, size), dtype=np.float32)
        for index, path in enumerate(chosen):
            read = try_reading(path, self.reading)
            if isinstance(read, str):
                raise RunError(f"{path} cannot be used any more: {read}")
            images[index] = read.image
        return images

    def source(
        self,
        split: str | None,
        device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
        at_most: int | None = None,
        seed: int = 0,
    ) -> RadiographSource:
        """Return the images of a split, or all; with `at_most`, a random subset drawn with the seed."""
        rows = np.flatnonzero([split in (None, own) for own in self.split])
        if at_most is not None and at_most < len(rows):
            generator = np.random.default_rng(stream_seed("subset", seed))
            rows = np.sort(generator.permutation(rows)[:at_most])
        return RadiographSource(self, split, rows, device)

    def folds_id(self) -> str | None:
        """Return an identifier of the images, their truths and their folds; `None` without folds.

        All runs of a cross-validation have the same identifier, whichever fold they are tested on.
        """
        if self.folds is None:
            return None
        digest = hashlib.sha256(self.films.contents.tobytes())
        digest.update(self.listing.truth.tobytes())
        digest.update(self.folds.tobytes())
        return digest.hexdigest()

    def split_table(self) -> pd.DataFrame:
        """Return a table of names, splits, patients, hashes of file and pixels, and covariates."""
        content, pixels = (
            [row.tobytes().hex()[:16] for row in hashes]
            for hashes in (self.films.contents, self.films.pixels)
        )
        table = self.listing.table.assign(split=list(self.split), content=content, pixels=pixels)
        covariates = [name for name in map(str, table) if name.startswith(COVARIATE)]
        kept = table[["name", "split", "patient", "content", "pixels", *covariates]]
        return kept.rename(columns=lambda name: name.removeprefix(COVARIATE))


def leaks(collection: Collection) -> dict[str, list[tuple[str, str]]]:
    """Return the pairs of images in different splits that are copies, or are of the same patient."""
    table, split = collection.listing.table, collection.split
    keys = {
        "images": [row.tobytes() for row in collection.films.pixels],
        "patients": table["patient"].tolist(),
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for what, values in keys.items():
        first: dict[Any, int] = {}
        pairs: dict[Any, tuple[str, str]] = {}
        for index, value in enumerate(values):
            if not value:
                continue
            other = first.setdefault(value, index)
            if split[other] != split[index]:
                pairs.setdefault(value, (table["name"].iloc[other], table["name"].iloc[index]))
        found[what] = list(pairs.values())
    return found
