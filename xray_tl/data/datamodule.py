"""The Lightning data module: splits that share no image, and their data loaders."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from xray_tl.config import DataConfig, SyntheticDataConfig
from xray_tl.data.films.needs import refusals, two_sided
from xray_tl.data.films.processes import cores
from xray_tl.data.films.radiographs import RadiographSource
from xray_tl.data.same_images import name_images
from xray_tl.data.sources import open_data
from xray_tl.data.splits import (
    RENDERED_AT_ONCE,
    Batch,
    EpochOrder,
    EvenBatches,
    KeptSplit,
    OnDemandSplit,
    Source,
    SwitchingSplit,
    as_is,
    balanced_chances,
)
from xray_tl.data.synthetic.arithmetic import side_by_side
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.data.synthetic.rng import SPLITS
from xray_tl.errors import InputError
from xray_tl.store.allocator import keep_large_blocks
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember

log = logging.getLogger(__name__)


class XrayDataModule(LightningDataModule):
    """Radiographs, generated or from files, in three splits that share no image.

    Args:
        config: The data set, batch size and memory limit.
        seed: The training seed; affects only the order of the training images.
        device: Where images are rendered and kept.
        sampling: `None`: an epoch has every training image once; `balanced`: each class equally often.
        target_auroc: The AUROC from which the data set's d0 was computed; `None`: d0 was given.
        needed: Parts of the split that will be used; they are checked before files are decoded.

    Raises:
        InputError: An option is wrong, or files cannot be used.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        sampling: str | None = None,
        target_auroc: float | None = None,
        needed: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.config, self.seed, self.device = config, seed, torch.device(device)
        opened = open_data(config, self.device, needed)
        self.targets, self.sizes, self.sources = opened.targets, opened.sizes, opened.sources
        test_set = name_images(self.sources["test"], self.sizes["test"], target_auroc)
        self.collection, self._described = opened.collection, {**opened.described, "test_set": test_set}
        self._balanced = sampling == "balanced"
        self._image_splits: dict[str, KeptSplit | OnDemandSplit] = {}
        self._activations: dict[str, KeptSplit] = {}

    @property
    def in_memory(self) -> bool:
        """Whether all images fit into `data.memory_limit_gb`."""
        return sum(self.sizes.values()) * self.config.image_size**2 * 4 <= self.config.memory_limit_gb * 1e9

    @property
    def _mapped(self) -> bool:
        """Whether the images come from files, and are stored decoded."""
        return self.collection is not None and self.collection.films.image is not None

    def data_hash(self) -> str:
        """Hash everything that changes an image or a label, in any split."""
        identity = {split: [self.sources[split].identity(), self.sizes[split]] for split in SPLITS}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return names of the data and the test images, and the finding's strength, for the run record."""
        return self._described

    def positives(self) -> Tensor:
        """Return the share of positives among training images with known truth, for each target [T]."""
        return self._truth("train").nanmean(0)

    def patients(self, split: str) -> list[str]:
        """Return a name for the patient of each image of a split; each generated image is its own."""
        source = self.sources[split]
        if isinstance(source, RadiographSource):
            return source.patients()
        return [str(index) for index in range(self.sizes[split])]

    def check(self, stage: str | None = None) -> None:
        """Check the splits that a stage needs, without rendering them.

        Raises:
            InputError: A split is empty or has images of one class only, a class has no training images, or
                the training images cannot be balanced.
        """
        for split in needed_parts(stage):
            self._check_split(split)
        if "train" in needed_parts(stage):
            self._chances()

    def use_activations(self, split: str, activations: Tensor) -> None:
        """Make the loaders return cached features [N, ...] of a split instead of its images."""
        self._activations[split] = KeptSplit(self.sources[split], activations)
        self._image_splits.pop(split, None)

    def use_images(self) -> None:
        """Make the loaders return images again, in every split."""
        self._activations.clear()

    def image_batches(self, split: str, size: int) -> Iterator[Batch]:
        """Yield the images of a split in order of index, in batches of nearly equal size, at most `size`."""
        return self._batches(split, range(self.sizes[split]), size)

    def mixed_image_batches(self, split: str, size: int, at_most: int | None = None) -> Iterator[Batch]:
        """Yield images of a split in a fixed order that mixes classes, in batches of nearly equal size.

        Args:
            split: `train`, `val` or `test`.
            size: Largest number of images in a batch.
            at_most: Largest number of images in total; all by default.
        """
        return self._batches(split, self._mixed(split)[:at_most], size)

    def _batches(self, split: str, order: Sequence[int], size: int) -> Iterator[Batch]:
        images = self.images(split)
        return (images.__getitems__(batch) for batch in EvenBatches(order, len(order), size))

    def _mixed(self, split: str) -> list[int]:
        return self.sources[split].mixed(self.sizes[split])

    def whole(self) -> RadiographSource | None:
        """Return the images of all splits together, if they come from files and all of them are used.

        Results computed from them, such as features, can then be shared by other splits, such as other folds.
        """
        if self.collection is None or self.config.n_train is not None:
            return None
        return self.collection.source(None, self.device)

    def setup(self, stage: str | None = None) -> None:
        """Prepare the splits that a stage needs (`fit`, `test`; all by default).

        Raises:
            InputError: A split has images of one class only.
        """
        for split in needed_parts(stage):
            self._check_split(split)
            if split not in self._activations:
                self.images(split)
        if stage is None and any(isinstance(images, OnDemandSplit) for images in self._image_splits.values()):
            told = log.info if self._mapped else log.warning
            told(
                "the images exceed data.memory_limit_gb=%g: in every epoch they are %s",
                self.config.memory_limit_gb,
                "read from the cache" if self._mapped else "rendered, or decoded, again",
            )

    def images(self, split: str) -> KeptSplit | OnDemandSplit:
        """Return a split's images: rendered once for all jobs, or on demand if they are too many."""
        if split not in self._image_splits:
            keep_large_blocks()
            on_demand = OnDemandSplit(self.sources[split], self.sizes[split])
            images: KeptSplit | OnDemandSplit = on_demand
            if self.in_memory:
                identity = {
                    "data": self.sources[split].identity(),
                    "images": self.sizes[split],
                    "device": self.device.type,  # kinds of devices round differently
                    "torch": torch.__version__,
                }
                if self._mapped:
                    image = self.sources[split].images(torch.arange(self.sizes[split]))  # already decoded
                else:
                    render = partial(_whole_split, self.sources[split], self.sizes[split])
                    kept = remember("images", identity, render)
                    image = torch.from_numpy(kept["image"])
                images = KeptSplit(self.sources[split], image)
            self._image_splits[split] = images
        return self._image_splits[split]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the training images, in the epoch's order."""
        # Lightning starts the first pass before it sets the epoch: a resumed run needs it here.
        progress = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        epoch = getattr(progress, "processed", 0)
        return self._loader("train", EpochOrder(self.sizes["train"], self.seed, epoch, self._chances()))

    def _chances(self) -> Tensor | None:
        return balanced_chances(self._truth("train"), self.targets) if self._balanced else None

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation images, in order of index."""
        return self.ordered_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the test images, in order of index."""
        return self.ordered_dataloader("test")

    def ordered_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return the loader of a split, in order of index."""
        return self._loader(split, range(self.sizes[split]))

    def mixed_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return the loader of a split in a fixed order that mixes classes, for statistics over batches."""
        return self._loader(split, self._mixed(split))

    def _loader(self, split: str, order: Iterable[int]) -> DataLoader[Batch]:
        def look_up() -> KeptSplit | OnDemandSplit:
            return self._activations[split] if split in self._activations else self.images(split)

        workers = 0
        if isinstance(look_up(), OnDemandSplit) and not self._mapped:  # else there is nothing to decode
            if self.collection is not None:  # files are decoded on the CPU, whatever the device
                workers = cores() if self.config.num_workers is None else self.config.num_workers
            elif self.device.type == "cpu":
                workers = self.config.num_workers or 0
        return DataLoader(
            look_up() if workers else SwitchingSplit(look_up),
            batch_sampler=EvenBatches(order, self.sizes[split], self.config.batch_size),
            collate_fn=as_is,  # __getitems__ returns whole batches
            num_workers=workers,
            worker_init_fn=_init_worker,
            persistent_workers=workers > 0,
            # The loader draws a base seed for its workers; it must not use training's generator.
            generator=torch.Generator(),
        )

    def _check_split(self, split: str) -> None:
        """Raise an error if a split cannot be used, and warn of targets of which it lacks a class."""
        if self.collection is not None:
            listing = self.collection.listing
            for why in refusals(listing, self.collection.split, (split,)):
                raise InputError(f"{why}{'' if all(listing.table['split']) else self._drawn_otherwise()}")
        both = two_sided(self._truth(split).numpy())
        if not both.any():
            raise InputError(f"the {split} split has images of one class only{self._drawn_otherwise(split)}")
        if not both.all():
            without = [name for name, there in zip(self.targets.names, both, strict=True) if not there]
            log.warning("the %s split does not have both classes of %s", split, ", ".join(without))

    def _drawn_otherwise(self, split: str = "") -> str:
        """Return advice on options that may give both classes to a split that was drawn."""
        if isinstance(self.config, SyntheticDataConfig):
            return (
                f": raise data.n_{split}={self.sizes[split]} "
                f"or move data.prevalence={self.config.prevalence:g} towards 0.5"
            )
        if self.config.n_train is not None and split == "train":
            return f": raise data.n_train={self.config.n_train}"
        fewer = "fewer data.folds" if self.config.folds else "larger fractions"
        return f"; another data.seed, or {fewer}, may help"

    def _truth(self, split: str) -> Tensor:
        return self.sources[split].truth(torch.arange(self.sizes[split])).cpu()


def _whole_split(source: Source, count: int) -> Arrays:
    """Return the images of a whole split [N, 1, H, W], rendered or decoded."""
    if isinstance(source, SyntheticRadiographs):
        image = side_by_side(source.images, count, RENDERED_AT_ONCE, source.device)
    else:  # its files are decoded by processes
        image = torch.cat(
            [source.images(part) for part in torch.split(torch.arange(count), RENDERED_AT_ONCE)]
        )
    return {"image": image.cpu().numpy()}


def needed_parts(stage: str | None) -> tuple[str, ...]:
    """Return the parts of the split that a stage (`fit`, `test`; `None`: all) needs."""
    return {"fit": ("train", "val"), "test": ("test",)}.get(stage or "", tuple(SPLITS))


def _init_worker(worker: int) -> None:
    # One thread per worker: the thread pools of several workers would compete for the cores.
    torch.set_num_threads(1)
    keep_large_blocks()
