"""Splits, batches and their order: images kept in memory or rendered on demand, or what was made of them."""

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
    """What a training step sees: image [B, 1, H, W] in [0, 1], truth [B, T], case [B].

    Truth is 0 or 1, or NaN where it is not known.

    `image` may hold what the frozen part of a network made of the images instead: [B, ...].
    """

    image: Tensor
    truth: Tensor
    case: Tensor


@dataclass(frozen=True)
class Targets:
    """What is predicted: one column of truth, logit and probability a name.

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
        names: What each image is called; `None`: by its index.
    """

    @property
    def device(self) -> torch.device: ...  # noqa: D102  (the class says it)

    @property
    def names(self) -> tuple[str, ...] | None: ...  # noqa: D102  (the class says it)

    def images(self, indices: Tensor) -> Tensor:
        """Return images [B, 1, H, W] in [0, 1]."""
        ...

    def truth(self, indices: Tensor) -> Tensor:
        """Return truth [B, T], 0 or 1; NaN where it is not known."""
        ...

    def mixed(self, size: int) -> list[int]:
        """Return the indices of a split of `size` images in a fixed order that follows from the images alone.

        It mixes classes, whatever order the images have on disk, and the same images come in the same order.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that changes an image or a truth, as plain values for a hash."""
        ...


class KeptSplit(Dataset[Batch]):
    """A split that lies in memory: on the device that trains, where there is room for it.

    Args:
        source: Gives the truth.
        image: Images [N, 1, H, W], or what stands for them [N, ...].
    """

    def __init__(self, source: Source, image: Tensor) -> None:
        index = torch.arange(len(image))
        home = residence(source.device, image.nbytes)
        self.batch = Batch(*(column.to(home) for column in (image, source.truth(index), index)))

    def __len__(self) -> int:
        """Count the images."""
        return len(self.batch.case)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Pick a batch."""
        rows, home = torch.as_tensor(indices), self.batch.case.device
        if home.type == "cuda":  # from pinned memory the host need not wait until the copy is done
            rows = rows.pin_memory()
        rows = rows.to(home, non_blocking=True)
        return Batch(*(column[rows] for column in self.batch))


def residence(device: torch.device, size: int) -> torch.device:
    """Choose where `size` bytes lie: on the device, or on the host if they took half its free memory.

    Without a copy from the host in each step an accelerator never waits for images.
    """
    if device.type != "cuda":
        return device
    free, _ = torch.cuda.mem_get_info(device)
    return device if size <= free / 2 else torch.device("cpu")


class OnDemandSplit(Dataset[Batch]):
    """A split too large to keep: every batch is rendered, or decoded, when it is asked for."""

    def __init__(self, source: Source, size: int) -> None:
        self.source, self.size = source, size

    def __len__(self) -> int:
        """Count the images."""
        return self.size

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Render or decode a batch."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return Batch(self.source.images(index), self.source.truth(index), index)


class Current(Dataset[Batch]):
    """Whatever stands for a split at the moment: its images, or what a network's frozen part makes of them.

    Args:
        look_up: Returns it.
    """

    def __init__(self, look_up: Callable[[], KeptSplit | OnDemandSplit]) -> None:
        self.look_up = look_up

    def __len__(self) -> int:
        """Count the images."""
        return len(self.look_up())

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Pick or render a batch."""
        return self.look_up().__getitems__(indices)


def balanced_chances(truth: Tensor, targets: Targets) -> Tensor:
    """Return each image's chance [N] of being drawn, so that every class is drawn equally often.

    An image whose truth is not known is never drawn. In double precision: a million of them are added up.

    Args:
        truth: Truth [N, T].
        targets: What is predicted.

    Raises:
        InputError: An image has several labels: no chance balances them all.
    """
    if targets.kind == "multilabel":
        raise InputError(
            "optim.sampling=balanced needs one label an image: with several, optim.class_weights=balanced"
        )
    classes = truth if targets.kind == "multiclass" else torch.cat((truth, 1 - truth), 1)
    members = classes.double().nan_to_num()
    return (members / members.sum(0).clamp(min=1)).sum(1)


class EpochOrder(Sampler[int]):
    """A new order each epoch, drawn from (seed, epoch) alone, so that a resumed run sees the same one.

    Args:
        size: Images, and draws of an epoch.
        seed: The training seed.
        epoch: The epoch.
        chances: Each image's chance [size], drawn with replacement; `None`: every image once.
    """

    def __init__(self, size: int, seed: int, epoch: int = 0, chances: Tensor | None = None) -> None:
        self.size, self.seed, self.epoch, self.chances = size, seed, epoch, chances

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the images."""
        return self.size

    def __iter__(self) -> Iterator[int]:
        """Yield every index once, or as chances have it."""
        generator = torch.Generator().manual_seed(stream_seed("order", self.seed, self.epoch))
        if self.chances is not None:
            return iter(torch.multinomial(self.chances, self.size, True, generator=generator).tolist())
        return iter(torch.randperm(self.size, generator=generator).tolist())


class EvenBatches(Sampler[list[int]]):
    """The fewest batches of at most `batch_size`, their sizes differing by one at most.

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
    """Hand on a batch that came whole."""
    return batch
