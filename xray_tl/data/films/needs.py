"""Checks that a split has what training and testing need: images of every class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from xray_tl.data.films.listing import Listing
from xray_tl.data.films.names import as_option

EMPTY = "it was given so, or there are too few patients"
NO_TEST = "; data.test_from=train draws it from the given training images"


def refusals(listing: Listing, split: Sequence[str], needed: Sequence[str]) -> Iterator[str]:
    """Yield the reasons why a split cannot be used, one line per fault.

    Args:
        listing: The images.
        split: The part of each image [N].
        needed: Parts that are needed: `train`, `val`, `test`.
    """
    part = np.array(split, dtype=object)
    for name in needed:
        truth = listing.truth[part == name]
        if not len(truth):
            yield f"the {name} split is empty: {EMPTY}{NO_TEST if name == 'test' else ''}"
            continue
        if name == "train":
            yield from _never_trained(listing, truth, part)
        if not two_sided(truth).any():
            yield f"the {name} split has images of one class only{_why_one_sided(listing, truth)}"


def two_sided(truth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which targets have positive and negative images [T]; truths [N, T] may be NaN."""
    return np.asarray((truth == 1).any(0) & (truth == 0).any(0))


def _never_trained(listing: Listing, truth: NDArray[np.float32], part: NDArray[np.object_]) -> Iterator[str]:
    """Yield a line on targets for which no training image has a known or positive truth."""
    if listing.kind == "binary":
        return
    names = np.array(listing.targets, dtype=object)
    unknown = ~np.isfinite(truth).any(0)
    absent = ~(truth == 1).any(0) & ~unknown
    if unknown.any():
        yield f"no training image has a known {', '.join(names[unknown])}: data.label_columns leaves it out"
    if absent.any():
        counts = ", ".join(
            f"{int(np.nansum(listing.truth[part == name][:, absent]))} {name}" for name in ("val", "test")
        )
        left = as_option(names[~absent & ~unknown])
        which = ", ".join(names[absent])
        yield f"{which} has no training images ({counts}): data.labels={left} leaves it out"


def _why_one_sided(listing: Listing, truth: NDArray[np.float32]) -> str:
    """Return an explanation for a column whose known values are all the same, such as 1 and empty cells."""
    if listing.kind != "binary" or listing.negative is not None or not np.isfinite(truth).any():
        return ""
    value = int(np.nanmax(truth))
    return f": every known {listing.targets[0]} is {value}, an empty cell or -1 is not known"
