"""Images that look like one film, however they were saved: thumbnails, and the nearest pairs; no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from xray_tl.data.films.decode import inside

NEAR = 0.06
"""Distance below which two images are taken for copies of one film (measured: docs/measured-choices.md)."""
SIDE = 48
"""Side of the thumbnails that are compared, pixels."""
MOST_PAIRS = 200
"""Near copies that are listed, at most: the nearest."""
LARGEST = 50_000
"""Images among which near copies are looked for, at most: every pair is compared."""
_AT_ONCE = 256


def thumbnails(image: NDArray[np.float32], shapes: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Return what near copies are compared by: [N, 2304], of length 1.

    Images are shrunk, and what is coarser than a few ribs is taken away: chest films agree in their shadows'
    outline, copies of one film in their detail too. Brightness, contrast, compression and moderate resizing
    leave it nearly as it is.

    Args:
        image: [N, S, S].
        shapes: Height and width of the files [N, 2], where the images were padded to squares: the borders are
            left out.
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
    """Return pairs [P, 2] of thumbnails nearer than a cosine distance, and their distances [P].

    Pairs across splits come first, then the nearest. Exact copies are no pairs here.

    Args:
        prints: Of every image [N, 2304].
        pixels: Hash of each image [N, 4]: of exact copies it is one.
        split: Its split [N].
        below: The distance.
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
