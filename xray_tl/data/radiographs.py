"""Real radiographs: listed, decoded, checked, split; then given by index like generated ones."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films import Films, Reading, decoder_identity, open_films, reading_of, try_reading
from xray_tl.data.listing import COVARIATE, Listing, list_folder
from xray_tl.data.medmnist import list_medmnist, open_medmnist
from xray_tl.data.partition import folds_of, groups_of, partition
from xray_tl.data.rng import SPLITS
from xray_tl.data.tables import list_table
from xray_tl.errors import InputError, RunError
from xray_tl.seeding import stream_seed

log = logging.getLogger(__name__)

NAMED = 5
"""Files that a message names, at most."""


class RadiographSource:
    """The radiographs of one split, by index.

    Args:
        collection: The data set.
        split: `train`, `val` or `test`; `None`: all.
        rows: Which images of the data set [N].
        device: Where training will want the images; they are made on the CPU.
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

    def truth(self, indices: Tensor) -> Tensor:
        """Return the truth of images [B, T], 0 or 1; NaN where it is not known."""
        return torch.from_numpy(self.collection.listing.truth[self.rows[indices.numpy()]])

    def images(self, indices: Tensor) -> Tensor:
        """Return images [B, 1, S, S] in [0, 1]."""
        rows = self.rows[indices.numpy()]
        return torch.from_numpy(self.collection.images(rows))[:, None]

    def mixed(self, size: int) -> list[int]:
        """Return the indices in the order of a hash of what a model sees of each image.

        Class folders are listed one after the other: batches in that order would hold one class each.
        """
        pixels = self.collection.films.pixels[self.rows]
        return np.lexsort(pixels.T).tolist()

    def identity(self) -> dict[str, Any]:
        """Return all that changes an image or a truth, as plain values for a hash."""
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
    """A data set of real radiographs.

    Attributes:
        listing: Its images, those that can be used.
        films: Their files, decoded.
        reading: How they were read.
        split: The split of each image [N].
        groups: The group (patient, or copies of one image) of each [N].
        skipped: Files that were left out, and why.
        folds: The fold of each in cross-validation [N]; `None`: there is none.
    """

    listing: Listing
    films: Films
    reading: Reading
    split: tuple[str, ...]
    groups: NDArray[np.int64]
    skipped: dict[str, str]
    folds: NDArray[np.int64] | None = None

    def images(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return images [N, S, S] in [0, 1], all by default: as they were decoded, or decoded now.

        Raises:
            RunError: A file has changed or gone since the data set was opened.
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
        """Return a split's images, or all; at most so many of them, drawn by a seed."""
        rows = np.flatnonzero([split in (None, own) for own in self.split])
        if at_most is not None and at_most < len(rows):
            generator = np.random.default_rng(stream_seed("subset", seed))
            rows = np.sort(generator.permutation(rows)[:at_most])
        return RadiographSource(self, split, rows, device)

    def folds_id(self) -> str | None:
        """Name the images, their truths and their folds; `None` without folds.

        Runs of one cross-validation have the same name, whichever fold they test on.
        """
        if self.folds is None:
            return None
        digest = hashlib.sha256(self.films.contents.tobytes())
        digest.update(self.listing.truth.tobytes())
        digest.update(self.folds.tobytes())
        return digest.hexdigest()

    def split_table(self) -> pd.DataFrame:
        """Return name, split, patient, hashes of file and pixels, which renaming keeps, and covariates."""
        content, pixels = (
            [row.tobytes().hex()[:16] for row in hashes]
            for hashes in (self.films.contents, self.films.pixels)
        )
        table = self.listing.table.assign(split=list(self.split), content=content, pixels=pixels)
        covariates = [name for name in map(str, table) if name.startswith(COVARIATE)]
        kept = table[["name", "split", "patient", "content", "pixels", *covariates]]
        return kept.rename(columns=lambda name: name.removeprefix(COVARIATE))


def open_collection(config: RadiographDataConfig) -> Collection:
    """List, decode, check and split a data set.

    Raises:
        InputError: An option is wrong, files cannot be used (`data.on_error`), or a given split leaks
            (`data.on_leak`).
    """
    reading = reading_of(config)
    skipped: dict[str, str] = {}
    if config.layout == "medmnist":
        listing, films = list_medmnist(config), open_medmnist(config, reading)
    else:
        listing = {"folder": list_folder, "table": list_table}[config.layout](config)
        listing, skipped = _without(listing, listing.problems, config)
        paths = listing.table["path"].tolist()
        films = open_films(paths, reading, config.num_workers, config.memory_limit_gb)
        names = listing.table["name"]
        damaged = {names.iloc[row]: films.notes[row] for row in np.flatnonzero(~films.readable)}
        if damaged:
            films = films.take(np.flatnonzero(films.readable))
        listing, more = _without(listing, damaged, config)
        listing, skipped = _with_patients(listing, films, config), skipped | more
    groups = groups_of(listing.table["patient"].tolist(), films.pixels)
    given = _stored_split(listing, config) or listing.table["split"].tolist()
    own = config.seed if config.train_seed is None else config.train_seed
    fractions = (config.val_fraction, config.test_fraction)
    folds = None
    if config.folds is not None:
        if any(given):
            raise InputError(
                f"data.folds={config.folds}: this data set has a split of its own "
                "(its folders, data.split_column or data.test_list)"
            )
        folds = folds_of(listing.truth, groups, config.folds, config.seed)
        given = ["test" if fold == config.fold else "" for fold in folds]
    if "" in given and not (listing.table["patient"] != "").any():
        log.warning("no patient is known: images of one patient may lie in several splits (data.patient_...)")
    split = partition(listing.truth, groups, given, fractions, (config.seed, own))
    collection = Collection(listing, films, reading, tuple(split), groups, skipped, folds)
    _check_leaks(collection, config)
    return collection


def _with_patients(listing: Listing, films: Films, config: RadiographDataConfig) -> Listing:
    if not config.patient_tag:
        return listing
    own = listing.table["patient"]
    return replace(listing, table=listing.table.assign(patient=own.where(own != "", list(films.notes))))


def _without(
    listing: Listing, wrong: Mapping[str, str], config: RadiographDataConfig
) -> tuple[Listing, dict[str, str]]:
    """Leave out what cannot be used, or refuse it; return what is left and what was left out.

    Raises:
        InputError: There is such a file and `data.on_error=stop`, or no image is left.
    """
    names = listing.table["name"]
    if wrong:
        shown = "; ".join(f"{name}: {why}" for name, why in islice(wrong.items(), NAMED))
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        message = f"{len(wrong)} of {len(names)} files cannot be used: {shown}{more}"
        if config.on_error == "stop":
            raise InputError(f"{message} (data.on_error=skip leaves them out)")
        log.warning("%s: left out", message)
    kept = np.flatnonzero(~names.isin(wrong).to_numpy())
    if not len(kept):
        raise InputError(f"no image of data.root={config.root} can be used")
    table, truth = listing.table.iloc[kept].reset_index(drop=True), listing.truth[kept]
    return replace(listing, table=table, truth=truth, problems={}), dict(wrong)


def _stored_split(listing: Listing, config: RadiographDataConfig) -> list[str] | None:
    """Read a split that a run has written.

    Raises:
        InputError: It is none, or does not name every image.
    """
    if config.split_file is None:
        return None
    try:
        stored = pd.read_csv(config.split_file, dtype=str, usecols=["name", "split"])
    except (OSError, ValueError) as error:
        raise InputError(f"data.split_file={config.split_file} is no split: {error}") from None
    by_name = dict(zip(stored["name"], stored["split"], strict=True))
    absent = [name for name in listing.table["name"] if by_name.get(name) not in SPLITS]
    if absent:
        raise InputError(f"data.split_file={config.split_file} has no split for {absent[0]}")
    return [by_name[name] for name in listing.table["name"]]


def _check_leaks(collection: Collection, config: RadiographDataConfig) -> None:
    """Look for patients and copies on both sides of a split.

    Raises:
        InputError: There are some, and `data.on_leak=stop`.
    """
    for what, pairs in leaks(collection).items():
        if pairs:
            (a, b), count = pairs[0], len(pairs)
            message = f"{count} {what} in more than one split: {a} and {b}" + (
                ", for one" if count > 1 else ""
            )
            if config.on_leak == "stop":
                raise InputError(f"{message} (data.on_leak=warn goes on)")
            log.warning("%s: results on this split are too good", message)


def leaks(collection: Collection) -> dict[str, list[tuple[str, str]]]:
    """Return pairs of images in different splits that are copies of each other, or of one patient."""
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
