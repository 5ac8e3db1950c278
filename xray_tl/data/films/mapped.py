"""Images of a data set in blocks that are memory-mapped from the cache, and read when needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xray_tl.store.cache import cache_folder, limit
from xray_tl.store.mounts import is_local

Images = NDArray[np.float32]

BLOCK = 8192
"""Largest number of images in a block: all are decoded again if one changes. Each block is an open file."""
BLOCK_BYTES = 2**29
"""Largest size of a block, bytes: it is in memory while it is made."""
HEADROOM = 0.9
"""Share of the cache that one data set may take: the rest is for results computed from it."""


class MappedImages:
    """The images of a data set by index, stored in several blocks.

    Args:
        blocks: Images [n, S, S] each.
        rows: Indices of the images to use, in order [N]; all by default.
    """

    def __init__(self, blocks: Sequence[Images], rows: NDArray[np.int64] | None = None) -> None:
        self._blocks = tuple(blocks)
        self._starts = np.cumsum([0, *map(len, self._blocks)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        """Count the images."""
        return len(self._rows)

    def take(self, rows: NDArray[np.int64]) -> MappedImages:
        """Return a subset of the images, without copying them."""
        return MappedImages(self._blocks, self._rows[rows])

    def read(self, rows: NDArray[np.int64] | None = None) -> Images:
        """Return images [N, S, S] in memory, all by default."""
        chosen = self._rows if rows is None else self._rows[rows]
        block_of = np.searchsorted(self._starts, chosen, side="right") - 1
        found = np.empty((len(chosen), *self._blocks[0].shape[1:]), dtype=np.float32)
        for block in np.unique(block_of):
            here = block_of == block
            found[here] = self._blocks[block][chosen[here] - self._starts[block]]
        return found


def gigabytes_of(count: int, size: int) -> float:
    """Return the size, GB, of `count` images of `size` pixels per side."""
    return 4e-9 * count * size**2


def block_length(size: int) -> int:
    """Return the number of images of `size` pixels per side in a block."""
    return max(1, min(BLOCK, BLOCK_BYTES // (4 * size**2)))


def can_be_kept(gigabytes: float, memory_gb: float) -> bool:
    """Tell whether images can be kept: in memory, or memory-mapped in a cache on a local disk."""
    mapped_gb = HEADROOM * limit() / 1e9 if is_local(cache_folder()) else 0.0
    return gigabytes <= max(memory_gb, mapped_gb)


def is_held(block: Images, gigabytes: float, memory_gb: float) -> bool:
    """Tell whether a block of a data set of `gigabytes` may be kept: it is mapped, or memory is sufficient.

    A block that could not be written to the cache is in memory.
    """
    return isinstance(block, np.memmap) or gigabytes <= memory_gb
