"""Near copies: pairs of images that show the same radiograph, saved differently, found by thumbnails."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from xray_tl.data.films.decode import inside

NEAR = 0.06
"""Distance below which two images count as copies of one radiograph (measured: docs/measured-choices.md)."""
SIDE = 48
"""Side of the thumbnails that are compared, pixels."""
MOST_PAIRS = 200
"""Largest number of near copies that are listed: the nearest."""
LARGEST = 50_000
"""Largest number of images among which near copies are searched: every pair is compared."""
_AT_ONCE = 256


def thumbnails(image: NDArray[np.float32], shapes: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Return the thumbnails by which near copies are found: vectors [N, 2304] of length 1.

    Images are shrunk, and structures coarser than a few ribs are removed: all chest radiographs share their
    coarse outline, but only copies share their details. Brightness, contrast, compression and moderate
    resizing hardly change the result.

    Args:
        image: [N, S, S].
        shapes: Height and width of the files [N, 2], if the images were padded to squares: the borders are
            then removed.
    """
    inner = image if shapes is None else [inside(*pair) for pair in zip(image, shapes, strict=True)]
    small = np.stack([_shrunk(one) for one in inner])
    detail = small - gaussian_filter(small, (0, 1.5, 1.5))
    flat = detail.reshape(len(detail), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _shrunk(image: NDArray[np.float32]) -> NDArray[np.float32]:
    scale = [SIDE / side for side in image.shape]
    blurred = gaussian_filter(image, [max(0.0, 0.5 / s - 0.5) for s in scale])
    return np.asarray(zoom(blurred, scale, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def near_pairs(
    prints: NDArray[np.float32], pixels: NDArray[np.int64], split: NDArray[Any], below: float = NEAR
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs [P, 2] of thumbnails with a cosine distance below a limit, and their distances [P].

    Pairs across splits come first, then the nearest. Exact copies are left out.

    Args:
        prints: Thumbnails of all images [N, 2304].
        pixels: Hash of each image [N, 4]; exact copies have the same.
        split: The part of the split of each image [N].
        below: Limit of the distance.
    """
    pairs, distances = np.empty((0, 2), dtype=np.int64), np.empty(0)
    for start in range(0, len(prints), _AT_ONCE):
        distance = 1 - prints[start : start + _AT_ONCE] @ prints[start:].T
        a, b = np.nonzero(np.triu(distance < below, 1))
        found, far = np.stack([a, b], axis=1) + start, distance[a, b].astype(np.float64)
        other = (pixels[found[:, 0]] != pixels[found[:, 1]]).any(1)
        pairs, distances = np.concatenate([pairs, found[other]]), np.concatenate([distances, far[other]])
        within = split[pairs[:, 0]] == split[pairs[:, 1]]
        order = np.lexsort((distances, within))[:MOST_PAIRS]
        pairs, distances = pairs[order], distances[order]
    return pairs, distances
