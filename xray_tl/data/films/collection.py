"""Opening of a data set of real radiographs: list, decode, check and split its images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.decoded import Films, open_films
from xray_tl.data.films.folders import list_folder
from xray_tl.data.films.label_table import list_table
from xray_tl.data.films.listing import Listing, told_apart
from xray_tl.data.films.medmnist import list_medmnist, open_medmnist
from xray_tl.data.films.names import PARTS, one_spelling, path_key
from xray_tl.data.films.needs import refusals
from xray_tl.data.films.partition import folds_of, groups_of, partition
from xray_tl.data.films.radiographs import Collection, leaks
from xray_tl.data.films.reading import Reading, reading_of
from xray_tl.errors import InputError
from xray_tl.store.csv_table import read_csv_table

log = logging.getLogger(__name__)

NAMED = 5
"""Largest number of files that a message names."""


def open_collection(config: RadiographDataConfig, needed: Sequence[str] = ()) -> Collection:
    """List, decode, check and split a data set.

    Args:
        config: The data set.
        needed: Parts of the split that will be used; as far as the listing allows, they are checked before
            anything is decoded.

    Raises:
        InputError: An option is wrong, files cannot be used (`data.on_error`), a given split leaks
            (`data.on_leak`), or a needed part cannot be used.
    """
    reading, stored = reading_of(config), _stored_split(config)
    skipped: dict[str, str] = {}
    if config.layout == "medmnist":
        listing = list_medmnist(config)
        _check_given(listing, config, stored, needed)
        films = open_medmnist(config, reading)
    else:
        listing = {"folder": list_folder, "table": list_table}[config.layout](config)
        _check_given(listing, config, stored, needed)
        listing, skipped = _without(listing, listing.problems, config)
        listing, films, more = _decoded(listing, config, reading)
        skipped = skipped | more
    listing = _with_patients(listing, films, config)
    groups = groups_of(listing.table["patient"].tolist(), films.pixels)
    given = _given(listing, config, stored)
    own = config.seed if config.train_seed is None else config.train_seed
    fractions = (config.val_fraction, config.test_fraction)
    folds = None
    if config.folds is not None:
        folds = folds_of(listing.truth, groups, config.folds, config.seed)
        given = ["test" if fold == config.fold else "" for fold in folds]
    if "" in given and not (listing.table["patient"] != "").any():
        log.warning("no patient is known: images of one patient may lie in several splits (data.patient_...)")
    split = partition(listing.truth, groups, given, fractions, (config.seed, own), config.test_from)
    collection = Collection(listing, films, reading, tuple(split), groups, skipped, folds)
    _check_leaks(collection, config)
    return collection


def _given(listing: Listing, config: RadiographDataConfig, stored: Mapping[str, str] | None) -> list[str]:
    """Return the given part of the split of each image; empty if none is given.

    Raises:
        InputError: `data.split_file` lacks an image, or the data set has both a given split and folds.
    """
    given = listing.table["split"].tolist()
    if stored is not None:
        found = _stored_parts(listing, stored)
        absent = [name for name, part in zip(listing.table["name"], found, strict=True) if part is None]
        if absent:
            raise InputError(f"data.split_file={config.split_file} has no split for {absent[0]}")
        given = [str(part) for part in found]
    if config.folds is not None and any(given):
        raise InputError(
            f"data.folds={config.folds}: this data set has a split of its own "
            "(its folders, data.split_column or data.test_list)"
        )
    return given


def _check_given(
    listing: Listing, config: RadiographDataConfig, stored: Mapping[str, str] | None, needed: Sequence[str]
) -> None:
    """Check the given parts that will not change, before anything is decoded.

    Raises:
        InputError: A needed part cannot be used.
    """
    usable = ~listing.table["name"].isin(listing.problems).to_numpy()
    if stored is not None:  # it lacks images that were left out
        usable &= np.array([part is not None for part in _stored_parts(listing, stored)])
    kept = np.flatnonzero(usable)
    listing = replace(listing, table=listing.table.iloc[kept], truth=listing.truth[kept])
    given = _given(listing, config, stored)
    if config.test_fraction >= 1:
        given = ["test"] * len(given)
    drawn = {"val"} - set(given) | ({"test"} - set(given) if config.test_from else set())
    if "" not in given and given:
        for why in refusals(listing, given, [part for part in needed if part not in drawn]):
            raise InputError(why)


def _decoded(
    listing: Listing, config: RadiographDataConfig, reading: Reading
) -> tuple[Listing, Films, dict[str, str]]:
    """Decode the files; return the usable ones, and the reason for each that cannot be used."""
    paths = listing.table["path"].tolist()
    films = open_films(paths, reading, config.num_workers, config.memory_limit_gb)
    names = listing.table["name"]
    damaged = {names.iloc[row]: films.notes[row] for row in np.flatnonzero(~films.readable)}
    if damaged:
        films = films.take(np.flatnonzero(films.readable))
    listing, skipped = _without(listing, damaged, config)
    return listing, films, skipped


def _with_patients(listing: Listing, films: Films, config: RadiographDataConfig) -> Listing:
    """Fill in unknown patients from the DICOM tag, and give each patient one spelling."""
    patient = listing.table["patient"]
    if config.patient_tag:
        patient = patient.where(patient != "", list(films.notes))
    patient, several = one_spelling(patient)
    spellings = listing.spellings + told_apart("patient", several)
    return replace(listing, table=listing.table.assign(patient=patient), spellings=spellings)


def _without(
    listing: Listing, wrong: Mapping[str, str], config: RadiographDataConfig
) -> tuple[Listing, dict[str, str]]:
    """Leave out files that cannot be used, or raise an error; return what is left and what was left out.

    Raises:
        InputError: There are such files and `data.on_error=stop`, or no image is left.
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


def _stored_split(config: RadiographDataConfig) -> dict[str, str] | None:
    """Read a split that a run has written: name -> part.

    Raises:
        InputError: The file is not such a split.
    """
    if config.split_file is None:
        return None
    place = Path(config.split_file)
    table = read_csv_table(place, f"data.split_file={place}", needed=("name", "split"))
    parts = dict(zip(table["name"].map(path_key), table["split"], strict=True))
    return parts | dict(zip(table["name"], table["split"], strict=True))


def _stored_parts(listing: Listing, stored: Mapping[str, str]) -> list[str | None]:
    """Return the part of each image in a stored split; `None` if it has none."""
    found = (stored.get(name, stored.get(path_key(name), "")) for name in listing.table["name"])
    return [part if part in PARTS else None for part in found]


def _check_leaks(collection: Collection, config: RadiographDataConfig) -> None:
    """Warn of patients and copies in more than one part of the split, or raise an error.

    Raises:
        InputError: There are such images, and `data.on_leak=stop`.
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
