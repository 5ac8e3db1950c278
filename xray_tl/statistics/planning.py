"""What a study of so many readers and cases would decide, from the variance components of an earlier one.

Variances alone enter, no difference, so that the tests of the study that is planned keep their error rates.
The variance due to cases shrinks with their number, the readers' own does not (Hillis, Obuchowski & Berbaum
2011). Studies of Gaussian readers are simulated, and judged as the study would be: guarded p values at the
first step of Holm's method over the question's contrasts, in one look or in rungs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from xray_tl.statistics.estimates import Estimate, projected
from xray_tl.statistics.ladder_simulation import Looks, draw, judged, p_values
from xray_tl.statistics.verdict import ALPHA, MARGIN, POWER

Array = NDArray[np.float64]

COUNTS = (*range(5, 13), 14, 16, 18, 20, 24, 28, 32, 40)
"""Numbers of readers that are looked at."""
STUDIES = 1000
"""Simulated studies: the standard error of a chance of 80 % is 1.3 %."""


@dataclass(frozen=True)
class Fixed:
    """Chances of a contrast in one look, by number of readers.

    Attributes:
        better: Chance to be told from 0 [len(COUNTS)].
        equivalent: Chance to be shown equivalent, and not told from 0 [len(COUNTS)].
        same: Chance of equivalence whatever else is told [len(COUNTS)].
    """

    better: Array
    equivalent: Array
    same: Array


@dataclass(frozen=True)
class Staged:
    """Chances of a contrast whose readers come in rungs.

    Attributes:
        better: How often it is told from 0.
        equivalent: How often it is shown to be equivalent.
        readers: Number of readers of each simulated study when it ends.
        told: 1 or -1, the side of 0 on which each study told it; 0: it did not.
    """

    better: float
    equivalent: float
    readers: NDArray[np.int64]
    told: NDArray[np.int64]


def fewest(rates: Array) -> int | None:
    """Return the fewest readers with a chance of 80 %; `None`: no number of `COUNTS` has it."""
    return next((count for count, rate in zip(COUNTS, rates, strict=True) if rate >= POWER), None)


def parts(known: Estimate, cases: int) -> tuple[float, float]:
    """Return k and tau^2 of a contrast with this number of cases.

    Args:
        known: The contrast in an earlier study.
        cases: Number of cases.
    """
    about = projected(known, known.readers, cases)
    return about.cases if known.random_readers else about.squared, about.readers * known.readers


@cache
def fixed(
    known: Estimate, cases: int, true: float, margin: float = MARGIN, family: int = 1, seed: int = 0
) -> Fixed:
    """Return the chances of a contrast in one look.

    Args:
        known: The contrast in an earlier study.
        cases: Number of cases.
        true: True difference.
        margin: Largest difference that counts as equivalent.
        family: Number of contrasts of its question.
        seed: Seed of the simulation.
    """
    looks = _drawn(known, cases, true, COUNTS, seed)
    told, same = p_values(looks) <= ALPHA / family, p_values(looks, margin) <= ALPHA
    return Fixed(told.mean(0), (same & ~told).mean(0), same.mean(0))


def staged(
    known: Estimate,
    cases: int,
    true: float,
    rungs: Sequence[int],
    margin: float = MARGIN,
    family: int = 1,
    seed: int = 0,
) -> Staged:
    """Return the chances of a contrast in rungs; beside them takes the arguments of `fixed`."""
    steps = tuple(rungs)[:1] if known.readerless else tuple(rungs)
    found = judged(_drawn(known, cases, true, steps, seed), margin, family=family)
    return Staged(*found.rates, found.readers, found.told)


def _drawn(known: Estimate, cases: int, true: float, counts: tuple[int, ...], seed: int) -> Looks:
    k, between = parts(known, cases)
    return draw(true, k, between, counts, STUDIES, np.random.default_rng(seed))
