"""Readers that stand apart from the others of their treatment, as a seed does whose training collapsed.

p values and intervals take readers' values for a Gaussian sample. Where one reader in ten falls far below the
rest, verdicts of a few are wrong too often however p is computed (`benchmarks/collapsing_seeds.py`). Only a
reader that did fall can be told here: of a treatment none of whose readers did yet, nothing is known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from xray_tl.statistics.estimates import ROUNDING

Array = NDArray[np.float64]

FALSE_ALARM = 0.01
"""Largest probability that any of the readers of a treatment is said to stand apart if all are Gaussian."""
LEAST_FOR_TWO = 5
"""Smallest number of readers of which two may stand apart."""
ENOUGH = 12
"""Number of readers from which a verdict carries no caution of readers that stand apart."""


def stand_apart(value: Array, least: float) -> tuple[int, ...]:
    """Return the readers, at most two, that stand apart from all others; empty if none does.

    Grubbs' test (1950), in the form of Student's t: of r readers, the one farthest from the mean of the
    others stands apart if its t exceeds that of r - 2 degrees of freedom at FALSE_ALARM / (2 r) on each side.
    From five readers on the test is repeated without that reader, each at half of the level, since one of two
    readers that stand apart hides the other.

    Args:
        value: Value of each reader [R].
        least: Distance from the mean of the others up to which no reader stands apart.
    """
    repeated = len(value) >= LEAST_FOR_TWO
    level = FALSE_ALARM / 2 if repeated else FALSE_ALARM
    first = _farthest(value)
    if first is None:
        return ()
    rest = np.delete(np.arange(len(value)), first)
    if repeated:
        second = _farthest(value[rest])
        if second is not None and _is_apart(value[rest], second, level, least):
            return tuple(sorted((first, int(rest[second]))))
    return (first,) if _is_apart(value, first, level, least) else ()


def _farthest(value: Array) -> int | None:
    """Return the reader farthest from the mean; `None` if there are too few for the test."""
    return int(np.abs(value - value.mean()).argmax()) if len(value) > 2 else None


def _is_apart(value: Array, reader: int, level: float, least: float) -> bool:
    others = np.delete(value, reader)
    count = len(others)
    distance = abs(float(value[reader] - others.mean()))
    critical = -float(stdtrit(count - 1, level / 2 / len(value)))
    by_chance = critical * float(others.std(ddof=1)) * np.sqrt(1 + 1 / count)
    return distance > max(least, by_chance, ROUNDING)
