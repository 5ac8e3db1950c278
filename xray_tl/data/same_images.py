"""Which images are the same ones: a test set named by what it follows from, alike on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from xray_tl.data.films.radiographs import RadiographSource
from xray_tl.data.splits import Source

DIGITS = 9
"""Significant digits of a number in a name.

Shapes of findings have sines among their numbers, whose last digit is each machine's own; what is stated in a
configuration differs far above it.
"""


def name_images(source: Source, count: int, target_auroc: float | None = None) -> str:
    """Name the first images of a source: 64 hex digits, equal where the images are the same.

    Generated images are those that their source's identity generates. Two machines find, for one
    `data.target_auroc`, a d0 that may differ in its last digit, since they round the search's scores
    differently and any rounding has an edge: such images go by the target that d0 was found for. Films go by
    their files and truths, in any order: neither the libraries that decode them nor the size they are read at
    make them other films. Their names stand in the predictions.

    Args:
        source: The images.
        count: How many of them are used.
        target_auroc: What the source's d0 was found for; `None`: it was stated.
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
    """Hash each film: its file's content, before it is decoded, and its truth.

    The images of a MedMNIST file, which comes in several sizes, have no files: their truths alone.
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
