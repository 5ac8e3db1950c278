"""Counter-based random numbers: any image can be drawn on its own, in any order and in any process.

A 64-bit key, one per (seed, split, stream, image), selects a stream; a two-round keyed hash turns the key and
a counter 0, 1, 2, ... into 32 random bits, as in Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3". All integer arithmetic wraps at 32 bits and is the same on every device.
"""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor

SPLITS: dict[str, int] = {"train": 0, "val": 1, "test": 2}

SEED_BITS, SPLIT_BITS, STREAM_BITS, INDEX_BITS = 32, 3, 4, 25
MAX_SEED = 2**SEED_BITS - 1
MAX_INDEX = 2**INDEX_BITS - 1

_ROUND_MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
_GOLDEN_32 = 0x9E3779B9 - 2**32
_MIX_MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)
_GOLDEN_64 = 0x9E3779B97F4A7C15 - 2**64


class Stream(IntEnum):
    """Purpose of a stream of random numbers; a number is never used for two purposes."""

    ANATOMY = 0
    PRESENCE = 1
    FLIP = 2
    PLACEMENT = 3
    FINDING = 4
    NOISE = 5
    MARKER = 6
    WINDOW = 7


def stream_keys(seed: int, split: str, stream: Stream, indices: Tensor) -> Tensor:
    """Return the 64-bit keys [B, 2] (two int32 words, on the CPU) of a batch of images.

    Seed, split, stream and index are packed side by side into 64 bits and mixed by a bijection (splitmix64's
    finaliser), so two different (seed, split, stream, image) never share a key.

    Args:
        seed: Seed of the data set, 0 to `MAX_SEED`.
        split: A key of `SPLITS`.
        stream: Purpose of the numbers.
        indices: Images [B], 0 to `MAX_INDEX`.

    Raises:
        ValueError: Seed or an index does not fit into its bits.
    """
    index = indices.detach().to("cpu", torch.int64)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed} is outside 0 to {MAX_SEED}")
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) <= MAX_INDEX):
        raise ValueError(f"image indices must lie in 0 to {MAX_INDEX}")
    prefix = ((seed << SPLIT_BITS | SPLITS[split]) << STREAM_BITS | int(stream)) << INDEX_BITS
    key = index | (prefix - 2**64 if prefix >= 2**63 else prefix)
    for _ in range(2):
        key = _mix64(key + _GOLDEN_64)
    return torch.stack((_low_word(key), _low_word(key >> 32)), dim=1)


def uniform(keys: Tensor, count: int) -> Tensor:
    """Return uniform numbers [B, count] in the open interval (0, 1), with 23 random bits each.

    A 24th bit would round the largest value up to 1.
    """
    bits = _shift_right(_random_bits(keys, count), 9)
    return (bits.float() + 0.5) * 2.0**-23


def normal(keys: Tensor, count: int) -> Tensor:
    """Return standard normal numbers [B, count] by the Box-Muller transform; `count` is even."""
    numbers = uniform(keys, count)
    radius, angle = numbers[:, : count // 2], numbers[:, count // 2 :]
    radius = radius.log().mul_(-2).sqrt_()
    angle = angle * (2 * math.pi)
    return torch.cat((torch.cos(angle).mul_(radius), angle.sin_().mul_(radius)), dim=1)


def _random_bits(keys: Tensor, count: int) -> Tensor:
    counter = torch.arange(count, dtype=torch.int32, device=keys.device)
    bits = _round32(counter[None] ^ keys[:, :1])
    bits.bitwise_xor_(keys[:, 1:])
    return _round32(bits.add_(_GOLDEN_32))


def _round32(x: Tensor) -> Tensor:
    x = x.bitwise_xor(_shift_right(x, 16))
    x.mul_(_ROUND_MULTIPLIERS[0]).bitwise_xor_(_shift_right(x, 15))
    x.mul_(_ROUND_MULTIPLIERS[1]).bitwise_xor_(_shift_right(x, 16))
    return x


def _shift_right(x: Tensor, places: int) -> Tensor:
    """Shift signed int32 to the right, filling with zeros: torch's own shift would copy the sign bit."""
    return (x >> places).bitwise_and_((1 << (32 - places)) - 1)


def _mix64(x: Tensor) -> Tensor:
    for places, multiplier in zip((30, 27), _MIX_MULTIPLIERS, strict=True):
        x = (x ^ ((x >> places) & ((1 << (64 - places)) - 1))) * multiplier
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def _low_word(x: Tensor) -> Tensor:
    return (((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)
