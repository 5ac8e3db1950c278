"""Random splits without leaks: a patient's images and copies stay together, and classes keep their shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xray_tl.errors import InputError
from xray_tl.seeding import stream_seed

Groups = NDArray[np.int64]

ROUNDS = 5
"""Largest number of passes through the groups."""


def groups_of(patient: Sequence[str], pixels: NDArray[np.int64]) -> Groups:
    """Return the group of each image [N]: images with the same patient or the same pixels share a group.

    Args:
        patient: The patient of each image; empty if not known.
        pixels: Hash of each image [N, 4].
    """
    parent = np.arange(len(patient))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return int(index)

    first: dict[object, int] = {}
    for index, name in enumerate(patient):
        keys: list[object] = [pixels[index].tobytes()]
        if name:
            keys.append(name)
        for key in keys:
            other = first.setdefault(key, index)
            a, b = root(other), root(index)
            parent[max(a, b)] = min(a, b)
    return np.unique([root(index) for index in range(len(patient))], return_inverse=True)[1].astype(np.int64)


def take(
    truth: NDArray[np.float32], groups: Groups, fraction: float, seed: int, name: str
) -> NDArray[np.bool_]:
    """Choose whole groups that hold about a given fraction of the images, and of each class.

    Groups are visited in a random order, whatever their size. A group is taken if this reduces the sum of
    squared distances of the counts (of each class, and of all images) from their targets. Further rounds add
    or remove groups as long as this reduces the sum.

    Args:
        truth: 0 or 1 [N, T]; NaN if it is not known.
        groups: The group of each image [N].
        fraction: Share to choose, in [0, 1].
        seed: Seed of the order.
        name: Purpose of the choice; each has another order.

    Returns:
        Which images are chosen [N].
    """
    brings = _brings(truth, groups)
    count = len(brings)
    target = fraction * brings.sum(0)
    weight = 1 / np.maximum(brings.sum(0), 1.0)
    generator = np.random.default_rng(stream_seed("split", seed, name))
    order = generator.permutation(count)
    chosen, have = np.zeros(count, dtype=bool), np.zeros_like(target)
    for _ in range(ROUNDS):
        before = chosen.copy()
        for group in order:
            change = -brings[group] if chosen[group] else brings[group]
            if ((have + change - target) ** 2 * weight).sum() < ((have - target) ** 2 * weight).sum():
                chosen[group] = not chosen[group]
                have += change
        if (chosen == before).all():
            break
    return chosen[groups]


def folds_of(truth: NDArray[np.float32], groups: Groups, folds: int, seed: int) -> Groups:
    """Return the fold of each image [N], from 0: whole groups, with similar sizes and shares of each class.

    Groups are placed from the largest to the smallest, in random order if they are equal; each joins the fold
    whose counts, of images and of each class, are furthest below their targets. No fold stays empty.

    Args:
        truth: 0 or 1 [N, T]; NaN if it is not known.
        groups: The group of each image [N].
        folds: Number of folds.
        seed: Seed of the random order.

    Raises:
        InputError: There are fewer groups than folds, or fewer than three: test, validation and training
            need one each.
    """
    brings = _brings(truth, groups)
    count = len(brings)
    if count < max(folds, 3):
        raise InputError(f"data.folds={folds}: the images are of {count} patients, too few for that")
    weight, target = 1 / np.maximum(brings.sum(0), 1.0), brings.sum(0) / folds
    order = np.random.default_rng(stream_seed("split", seed, "folds")).permutation(count)
    order = order[np.argsort(-brings[order, -1], kind="stable")]
    have, fold = np.zeros((folds, brings.shape[1])), np.zeros(count, dtype=np.int64)
    for group in order:
        worse = (((have + brings[group] - target) ** 2 - (have - target) ** 2) * weight).sum(1)
        fold[group] = worse.argmin()
        have[fold[group]] += brings[group]
    return fold[groups]


def partition(
    truth: NDArray[np.float32],
    groups: Groups,
    given: Sequence[str],
    fractions: tuple[float, float],
    seeds: tuple[int, int],
    test_from: str | None = None,
) -> list[str]:
    """Return the part of the split (`train`, `val`, `test`) of each image.

    Given parts are kept. Missing parts are drawn from the images without a part. If all images have a part
    and none is for validation, validation images are drawn from the training images.

    Args:
        truth: 0 or 1 [N, T]; NaN if it is not known.
        groups: The group of each image [N].
        given: The part of each image, empty if it is to be drawn.
        fractions: Shares of all images for validation and for testing.
        seeds: Seed of the test split, and seed of the validation split.
        test_from: The given part (`train`, `val`) from which test images are drawn if none are given.

    Raises:
        InputError: There are too few patients to split.
    """
    if fractions[1] >= 1:
        return ["test"] * len(given)
    split = np.array(given, dtype=object)
    if not (split == "test").any():
        if len(set(groups)) < 3:
            raise InputError(
                f"the images are of {len(set(groups))} patients: training, validation and test need one each"
            )
        free, share = split == "", fractions[1]
        if test_from is not None and not free.any():
            free = split == test_from
            share = min(0.5, share * len(split) / max(1, free.sum()))
            free &= ~np.isin(groups, groups[~free])  # a patient of another part would leak
        split[np.flatnonzero(free)[take(truth[free], _dense(groups[free]), share, seeds[0], "test")]] = "test"
    rest = np.flatnonzero((split == "") | ((split == "train") & ~(split == "val").any()))
    if not (split == "val").any() and len(rest):
        share = min(0.5, fractions[0] / max(1e-9, 1 - (split == "test").mean()))
        split[rest[take(truth[rest], _dense(groups[rest]), share, seeds[1], "val")]] = "val"
    split[split == ""] = "train"
    return [str(name) for name in split]


def _brings(truth: NDArray[np.float32], groups: Groups) -> NDArray[np.float64]:
    """Count, in each group [G, 2 T + 1], the positives and the negatives of each target, and the images."""
    known = np.nan_to_num(truth, nan=0.0).astype(np.float64)
    negative = np.where(np.isnan(truth), 0.0, 1 - np.nan_to_num(truth, nan=0.0)).astype(np.float64)
    counted = np.concatenate([known, negative, np.ones((len(truth), 1))], axis=1)
    brings = np.zeros((int(groups.max(initial=-1)) + 1, counted.shape[1]))
    np.add.at(brings, groups, counted)
    return brings


def _dense(groups: Groups) -> Groups:
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
