"""Random numbers: keys that never collide, values that do not depend on who asks."""

import itertools

import pytest
import torch

from xray_tl.data.synthetic import rng
from xray_tl.data.synthetic.rng import MAX_INDEX, MAX_SEED, SPLITS, Stream, normal, stream_keys, uniform


def packed(keys: torch.Tensor) -> torch.Tensor:
    return keys[:, 0].long() << 32 | (keys[:, 1].long() & 0xFFFFFFFF)


def test_no_two_of_seed_split_stream_and_image_share_a_key() -> None:
    indices = torch.tensor([*range(200), 2**16, 2**24, MAX_INDEX])
    seeds = (0, 1, 2, 2**16, 2**31, MAX_SEED)
    keys = [
        packed(stream_keys(seed, split, stream, indices))
        for seed, split, stream in itertools.product(seeds, SPLITS, Stream)
    ]
    assert len(torch.cat(keys).unique()) == len(keys) * len(indices)


def test_the_fields_of_a_key_fit_their_bits() -> None:
    assert rng.SEED_BITS + rng.SPLIT_BITS + rng.STREAM_BITS + rng.INDEX_BITS == 64
    assert max(SPLITS.values()) < 2**rng.SPLIT_BITS
    assert max(Stream) < 2**rng.STREAM_BITS
    assert len(set(SPLITS.values())) == len(SPLITS)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (MAX_SEED + 1, 0), (0, -1), (0, MAX_INDEX + 1)])
def test_what_does_not_fit_into_a_key_is_refused(seed: int, index: int) -> None:
    with pytest.raises(ValueError, match=r"must lie in|is outside"):
        stream_keys(seed, "train", Stream.NOISE, torch.tensor([index]))


def test_bits_equal_an_independent_implementation() -> None:
    def mix64(x: int) -> int:
        for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ x >> shift) * multiplier % 2**64
        return x ^ x >> 31

    def round32(x: int) -> int:
        for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = (x ^ x >> shift) * multiplier % 2**32
        return x ^ x >> 16

    seed, index = 4_000_000_000, 77
    key = ((seed << 3 | SPLITS["test"]) << 4 | Stream.FLIP) << 25 | index
    for _ in range(2):
        key = mix64((key + 0x9E3779B97F4A7C15) % 2**64)
    low, high = key % 2**32, key >> 32
    bits = [round32(((round32(counter ^ low) ^ high) + 0x9E3779B9) % 2**32) for counter in range(50)]
    expected = [((b >> 9) + 0.5) / 2**23 for b in bits]
    assert uniform(stream_keys(seed, "test", Stream.FLIP, torch.tensor([index])), 50)[0].tolist() == expected


@pytest.mark.parametrize("bits", [0, -1, 2**31 - 1, -(2**31)])
def test_uniform_numbers_never_reach_zero_or_one(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        rng, "_random_bits", lambda keys, count: torch.full((1, count), bits, dtype=torch.int32)
    )
    number = float(uniform(torch.zeros(1, 2, dtype=torch.int32), 1))
    assert 0 < number < 1
    assert int(torch.tensor(number) * 224) < 224


def test_distributions() -> None:
    keys = stream_keys(5, "train", Stream.NOISE, torch.arange(64))
    flat, bell = uniform(keys, 4096), normal(keys, 4096)
    count = flat.numel()
    assert abs(float(flat.mean()) - 0.5) < 5 * (1 / 12 / count) ** 0.5
    occupied = torch.histc(flat, 64, 0, 1)
    chi2 = float(((occupied - count / 64) ** 2).sum() / (count / 64))
    assert abs(chi2 - 63) < 5 * (2 * 63) ** 0.5
    assert abs(float(bell.mean())) < 5 / count**0.5
    assert abs(float(bell.var()) - 1) < 5 * (2 / count) ** 0.5
    assert abs(float((bell**4).mean()) - 3) < 5 * (96 / count) ** 0.5


def test_streams_of_neighbouring_images_are_independent() -> None:
    fields = normal(stream_keys(0, "train", Stream.NOISE, torch.arange(65)), 4096)
    lagged = torch.cat((fields[:, 1:], fields[:, :1]), 1)
    for a, b in ((fields[:-1], fields[1:]), (fields, lagged), (fields[:, ::2], fields[:, 1::2])):
        assert abs(float((a * b).mean())) < 5 / a.numel() ** 0.5


def test_a_longer_draw_begins_with_the_shorter() -> None:
    keys = stream_keys(0, "val", Stream.PLACEMENT, torch.tensor([3, 1]))
    assert torch.equal(uniform(keys, 100)[:, :10], uniform(keys, 10))
    assert torch.equal(uniform(keys.flip(0), 10), uniform(keys, 10).flip(0))
