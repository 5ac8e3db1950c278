"""Identifier of a test set, the same on every machine: tells whether two runs used the same images."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from xray_tl.data.films.radiographs import RadiographSource
from xray_tl.data.splits import Source

DIGITS = 9
"""Significant digits of the numbers that enter an identifier.

The shapes of findings contain sines, whose last digit differs between machines; different configurations
differ in much earlier digits.
"""


def name_images(source: Source, count: int, target_auroc: float | None = None) -> str:
    """Return an identifier of a source's first images: 64 hex digits, equal if the images are the same.

    Generated images are identified by their source's `identity`. For one `data.target_auroc` two machines may
    compute a d0 that differs in its last digit, since they round the scores of the search differently: such
    images are identified by the target AUROC instead of d0. Radiographs in files are identified by their
    files' contents and truths, in any order; the libraries that decode them and the size at which they are
    read do not matter. Their names are in the predictions.

    Args:
        source: The images.
        count: Number of images that are used.
        target_auroc: The AUROC from which the source's d0 was computed; `None`: d0 was given.
    """
    identity: dict[str, Any]
    if isinstance(source, RadiographSource):
        identity = {"films": sorted(_films(source)), "targets": source.identity()["targets"]}
    else:
        identity = source.identity()
        if target_auroc is not None:
            identity["finding"] |= {"d0": None, "target_auroc": target_auroc}
    text = json.dumps(_rounded({**identity, "count": count}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _films(source: RadiographSource) -> list[str]:
    """Return a hash of each radiograph: of its file's content, before decoding, and its truth.

    The images of a MedMNIST file, which exists in several sizes, have no files of their own: only their
    truths are hashed.
    """
    listing, contents = source.collection.listing, source.collection.films.contents
    in_files = (listing.table["path"] != "").to_numpy()
    return [
        hashlib.sha256(
            (contents[row].tobytes() if in_files[row] else b"") + listing.truth[row].tobytes()
        ).hexdigest()
        for row in source.rows
    ]


def _rounded(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(float(f"{value:.{DIGITS}g}"), DIGITS + 3) + 0.0 if isinstance(value, float) else value
