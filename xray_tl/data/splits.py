"""Splits, batches and their order: images (or cached features) in memory, or images made on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from xray_tl.errors import InputError
from xray_tl.seeding import stream_seed

T = TypeVar("T")
RENDERED_AT_ONCE = 64


class Batch(NamedTuple):
    """Input of a training step: image [B, 1, H, W] in [0, 1], truth [B, T], case [B].

    Truth is 0 or 1, or NaN if it is not known.

    `image` may hold cached features, the output of the frozen stages, instead of images: [B, ...].
    """

    image: Tensor
    truth: Tensor
    case: Tensor


@dataclass(frozen=True)
class Targets:
    """The targets to predict: each name has one column of truth, logit and probability.

    Attributes:
        kind: `binary` (one column), `multiclass` (one-hot columns) or `multilabel`.
        names: Names of the columns.
    """

    kind: Literal["binary", "multiclass", "multilabel"]
    names: tuple[str, ...]


class Source(Protocol):
    """The images of one split, by index.

    Attributes:
        device: Where images are kept.
        names: Name of each image; `None`: the index is the name.
    """

    @property
    def device(self) -> torch.device: ...  # noqa: D102  (the class says it)

    @property
    def names(self) -> tuple[str, ...] | None: ...  # noqa: D102  (the class says it)

    def images(self, indices: Tensor) -> Tensor:
        """Return images [B, 1, H, W] in [0, 1]."""
        ...

    def truth(self, indices: Tensor) -> Tensor:
        """Return truth [B, T], 0 or 1; NaN if it is not known."""
        ...

    def mixed(self, size: int) -> list[int]:
        """Return the indices of a split of `size` images in a fixed order that depends only on the images.

        It mixes classes, whatever the order of the images on disk; the same images have the same order.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return everything that changes an image or a truth, as plain values for a hash."""
        ...


class KeptSplit(Dataset[Batch]):
    """A split kept in memory: on the training device, if it has enough free memory.

    Args:
        source: Source of the truth.
        image: Images [N, 1, H, W], or their cached features [N, ...].
    """

    def __init__(self, source: Source, image: Tensor) -> None:
        index = torch.arange(len(image))
        home = residence(source.device, image.nbytes)
        self.batch = Batch(*(column.to(home) for column in (image, source.truth(index), index)))

    def __len__(self) -> int:
        """Count the images."""
        return len(self.batch.case)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch."""
        rows, home = torch.as_tensor(indices), self.batch.case.device
        if home.type == "cuda":  # from pinned memory the copy runs asynchronously
            rows = rows.pin_memory()
        rows = rows.to(home, non_blocking=True)
        return Batch(*(column[rows] for column in self.batch))


def residence(device: torch.device, size: int) -> torch.device:
    """Return where to keep `size` bytes: on the device, or on the host if they exceed half its free memory.

    If the images are on the device, it never waits for a copy from the host.
    """
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if size <= free / 2 else torch.device("cpu")


class OnDemandSplit(Dataset[Batch]):
    """A split too large to keep in memory: each batch is rendered or decoded when it is needed."""

    def __init__(self, source: Source, size: int) -> None:
        self.source, self.size = source, size

    def __len__(self) -> int:
        """Count the images."""
        return self.size

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch, rendered or decoded now."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return Batch(self.source.images(index), self.source.truth(index), index)


class SwitchingSplit(Dataset[Batch]):
    """The present content of a split: its images, or their cached features.

    Args:
        look_up: Returns the present content.
    """

    def __init__(self, look_up: Callable[[], KeptSplit | OnDemandSplit]) -> None:
        self.look_up = look_up

    def __len__(self) -> int:
        """Count the images."""
        return len(self.look_up())

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch of the present content."""
        return self.look_up().__getitems__(indices)


def balanced_chances(truth: Tensor, targets: Targets) -> Tensor:
    """Return each image's relative probability [N] of being drawn that draws all classes equally often.

    An image whose truth is not known is never drawn. In double precision, since up to a million are added.

    Args:
        truth: Truth [N, T].
        targets: The targets of the data set.

    Raises:
        InputError: The targets are multi-label: no probabilities balance all labels.
    """
    if targets.kind == "multilabel":
        raise InputError(
            "optim.sampling=balanced needs one label an image: with several, optim.class_weights=balanced"
        )
    classes = truth if targets.kind == "multiclass" else torch.cat((truth, 1 - truth), 1)
    members = classes.double().nan_to_num()
    return (members / members.sum(0).clamp(min=1)).sum(1)


class EpochOrder(Sampler[int]):
    """A new order in each epoch that depends only on (seed, epoch): a resumed run has the same order.

    Args:
        size: Number of images, and of draws per epoch.
        seed: The training seed.
        epoch: The epoch.
        chances: Each image's probability [size] of a draw, with replacement; `None`: every image once.
    """

    def __init__(self, size: int, seed: int, epoch: int = 0, chances: Tensor | None = None) -> None:
        self.size, self.seed, self.epoch, self.chances = size, seed, epoch, chances

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the images."""
        return self.size

    def __iter__(self) -> Iterator[int]:
        """Yield every index once, or draw indices by their probabilities."""
        generator = torch.Generator().manual_seed(stream_seed("order", self.seed, self.epoch))
        if self.chances is not None:
            return iter(torch.multinomial(self.chances, self.size, True, generator=generator).tolist())
        return iter(torch.randperm(self.size, generator=generator).tolist())


class EvenBatches(Sampler[list[int]]):
    """The smallest number of batches of at most `batch_size`, whose sizes differ by at most one.

    A last batch of one image would break BatchNorm in training.
    """

    def __init__(self, sampler: Iterable[int], size: int, batch_size: int) -> None:
        self.sampler, self.size = sampler, size
        self.count = -(-size // batch_size)

    def __len__(self) -> int:
        """Count the batches."""
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches in the sampler's order."""
        order = list(self.sampler)
        edges = [step * self.size // self.count for step in range(self.count + 1)]
        return (order[start:stop] for start, stop in pairwise(edges))


def as_is(batch: T) -> T:
    """Return a batch unchanged: the data set returns whole batches."""
    return batch
