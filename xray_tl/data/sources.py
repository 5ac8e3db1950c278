"""Opening of a data set from its configuration: generated images, or radiographs in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from xray_tl.config import DataConfig, RadiographDataConfig
from xray_tl.data.films.collection import open_collection
from xray_tl.data.films.film_options import validate_radiographs
from xray_tl.data.films.radiographs import Collection
from xray_tl.data.splits import Source, Targets
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs, validate
from xray_tl.data.synthetic.rng import SPLITS

NAMED = 100
"""Largest number of files that a record names."""


@dataclass(frozen=True)
class DataSet:
    """An opened data set.

    Attributes:
        targets: The targets to predict.
        sources: Its images, by split.
        sizes: Number of images, by split.
        described: Its names and its difficulty, for the run record.
        collection: The collection of real radiographs; `None` for generated images.
    """

    targets: Targets
    sources: Mapping[str, Source]
    sizes: Mapping[str, int]
    described: dict[str, Any]
    collection: Collection | None = None


def open_data(config: DataConfig, device: torch.device, needed: Sequence[str] = ()) -> DataSet:
    """Open a data set: generated images are rendered later; files are decoded now, unless in the cache.

    Args:
        config: The data set.
        device: Device of the training.
        needed: Parts of the split that will be used; they are checked before files are decoded.

    Raises:
        InputError: An option is wrong, or files cannot be used.
    """
    if isinstance(config, RadiographDataConfig):
        return _open_radiographs(config, device, needed)
    validate(config)
    sources = {split: SyntheticRadiographs.open(config, split, device) for split in SPLITS}
    iso, test = config.contrast == "iso", sources["test"]
    targets = Targets("binary", (config.finding,))
    described = {
        "finding": config.finding,
        "targets": [targets.kind, *targets.names],
        "d0": test.finding.d0 if iso else None,
        "attenuation": None if iso else test.finding.attenuation,
        "difficulty": config.difficulty,
        "shift": config.shift,
    }
    sizes = dict(zip(SPLITS, (config.n_train, config.n_val, config.n_test), strict=True))
    return DataSet(targets, sources, sizes, described)


def _open_radiographs(config: RadiographDataConfig, device: torch.device, needed: Sequence[str]) -> DataSet:
    validate_radiographs(config)
    collection = open_collection(config, needed)
    own = config.seed if config.train_seed is None else config.train_seed
    sources = {
        split: collection.source(split, device, config.n_train if split == "train" else None, own)
        for split in SPLITS
    }
    listing = collection.listing
    targets = Targets(listing.kind, listing.targets)
    described = {
        "finding": ", ".join(listing.targets),
        "targets": [targets.kind, *targets.names],
        "negative": listing.negative,
        "source": config.name,
        "skipped": len(collection.skipped),
        "skipped_files": dict(islice(collection.skipped.items(), NAMED)),
        "difficulty": config.difficulty,
        "shift": config.shift,
    }
    if config.folds is not None:
        described |= {"folds": config.folds, "fold": config.fold, "folds_id": collection.folds_id()}
    return DataSet(targets, sources, {name: len(s) for name, s in sources.items()}, described, collection)
