"""Many studies at once whose readers come in rungs: when each would be decided, and as what.

The rules are those of `ladder`, for one contrast, vectorised over studies; levels are interpolated in lambda.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from xray_tl.statistics.boundaries import Sides, levels
from xray_tl.statistics.guarded import upper_tail
from xray_tl.statistics.ladder import LARGEST, LEAST_CHANCE, cautious_share, information
from xray_tl.statistics.verdict import ALPHA, MARGIN

Array = NDArray[np.float64]
Places = NDArray[np.int64]

SHARES = np.concatenate(([0.0], np.geomspace(1e-4, LARGEST, 120)))
NEVER = np.iinfo(np.int64).max
HALVINGS = 26
"""Steps of a bisection: the distance is found to 2e-8 of where it is looked for."""


@dataclass(frozen=True)
class Looks:
    """Simulated studies at each rung.

    Attributes:
        rungs: Numbers of readers [L].
        value: Estimate of the contrast [studies, L].
        between: S^2, mean square between readers [studies, L].
        cases: k, variance due to cases [studies, L].
    """

    rungs: tuple[int, ...]
    value: Array
    between: Array
    cases: Array


@dataclass(frozen=True)
class Outcome:
    """What became of simulated studies; the place of a rung, or L where it never was.

    Attributes:
        better: Rung at which the contrast was first told from 0, and not known to be equivalent before.
        equivalent: Rung at which it was first shown to be equivalent, and not told from 0 before or then.
        ends: Rung at which the study ended: decided, given up as futile, or the last one.
        readers: Number of readers at that rung.
        told: Side of 0 on which it ended as told, 1 or -1; 0 if it did not.
    """

    better: Places
    equivalent: Places
    ends: Places
    readers: Places
    told: Places

    @property
    def rates(self) -> tuple[float, float]:
        """Return how often a study ended with the contrast told from 0, and how often as equivalent."""
        return float((self.better <= self.ends).mean()), float((self.equivalent <= self.ends).mean())


def draw(
    true: float,
    cases: float,
    between: float,
    rungs: tuple[int, ...],
    studies: int,
    generator: np.random.Generator,
) -> Looks:
    """Draw studies of Gaussian readers.

    Args:
        true: True value of the contrast.
        cases: k, variance due to cases.
        between: tau^2, variance of a reader's value beyond it.
        rungs: Numbers of readers.
        studies: Number of studies.
        generator: Source of randomness.
    """
    shared = generator.normal(true, np.sqrt(cases), (studies, 1))
    value = generator.normal(0, np.sqrt(between), (studies, rungs[-1]))
    means = np.stack([value[:, :count].mean(1) for count in rungs], 1)
    squares = np.stack([value[:, :count].var(1, ddof=1) for count in rungs], 1)
    return Looks(rungs, shared + means, squares, np.full_like(means, cases))


def judged(
    looks: Looks, margin: float = MARGIN, alpha: float = ALPHA, family: int = 1, *, futility: bool = True
) -> Outcome:
    """Judge simulated studies rung by rung.

    Args:
        looks: The studies.
        margin: Largest difference that counts as equivalent.
        alpha: Error rate.
        family: Number of contrasts over which Holm's method has to tell this one from 0: its first step.
        futility: Whether a study ends that its last rung would hardly decide.
    """
    last = len(looks.rungs)
    told = _first(p_values(looks) <= nominal(looks, alpha / family))
    same = _first(p_values(looks, margin) <= nominal(looks, alpha, sides=1))
    ends = np.minimum(np.minimum(told, same), last - 1)
    if futility:
        ends = np.minimum(ends, _first(np.stack(_hopeless(looks, margin, alpha, family), 1)))
    better = np.where(told <= same, told, last)
    equivalent = np.where(same < told, same, last)
    side = np.sign(looks.value[np.arange(len(ends)), ends]).astype(np.int64)
    readers = np.asarray(looks.rungs)[ends]
    return Outcome(better, equivalent, ends, readers, np.where(better <= ends, side, 0))


def beaten(
    pairs: Sequence[tuple[str, str]], readers: Sequence[Places], told: Sequence[Places]
) -> dict[str, Places]:
    """Return with how many readers each study knows an arm to be beaten, or `NEVER`, by arm [studies].

    Args:
        pairs: Names of two arms, the first minus the second.
        readers: Number of readers with which each pair would end by itself [studies].
        told: Side of 0 on which it would [studies]; a pair that a defeat has ended tells nothing later.
    """
    found = {arm: np.full(readers[0].shape, NEVER) for pair in pairs for arm in pair}
    for count in np.unique(readers):
        before = {arm: at < count for arm, at in found.items()}
        for (first, second), ends, side in zip(pairs, readers, told, strict=True):
            now = (ends == count) & ~before[first] & ~before[second]
            for loser, of in ((second, 1), (first, -1)):
                lost = now & (side == of)
                found[loser] = np.where(lost, np.minimum(found[loser], count), found[loser])
    return found


def p_values(looks: Looks, margin: float | None = None) -> Array:
    """Return guarded p values [studies, L]: of no difference, or, with a margin, of one beyond it."""
    columns = []
    for place, count in enumerate(looks.rungs):
        size = np.abs(looks.value[:, place])
        tail = upper_tail(
            size if margin is None else margin - size,
            looks.cases[:, place],
            looks.between[:, place] / count,
            count - 1,
        )
        columns.append(2 * tail if margin is None else tail)
    return np.stack(columns, 1)


def nominal(looks: Looks, alpha: float, sides: Sides = 2) -> Array:
    """Return the nominal level of every look [studies, L]."""
    table = _table(looks.rungs, alpha, sides)
    columns = []
    for place, count in enumerate(looks.rungs):
        share = cautious_share(looks.cases[:, place], looks.between[:, place], count)
        columns.append(_interpolated(share, table[:, place]))
    return np.stack(columns, 1)


def distance(tail: Array, cases: Array, readers: Array, df: float) -> Array:
    """Return the distance that is exceeded with the probability `tail` on one side; `upper_tail` inverted."""
    low = np.zeros(np.broadcast(tail, cases, readers).shape)
    high = 2 * (-ndtri(tail) * np.sqrt(cases) - stdtrit(df, tail) * np.sqrt(readers))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = upper_tail(middle, cases, readers, df) > tail
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)


def _hopeless(looks: Looks, margin: float, alpha: float, family: int) -> list[NDArray[np.bool_]]:
    """Tell, for each rung, which studies the last one would hardly decide (`ladder.chance`)."""
    last = looks.rungs[-1]
    two, one = (
        _table(looks.rungs, level, sides)[:, -1] for level, sides in ((alpha / family, 2), (alpha, 1))
    )
    found = []
    for place, count in enumerate(looks.rungs):
        cases, between = looks.cases[:, place], looks.between[:, place]
        share = cautious_share(cases, between, last)
        told = distance(_interpolated(share, two) / 2, cases, between / last, last - 1)
        same = margin - distance(_interpolated(share, one), cases, between / last, last - 1)
        moved = np.sqrt(between * (1 / count - 1 / last))
        value = looks.value[:, place]
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = ndtr((value - told) / moved) + ndtr((-value - told) / moved)
            chance += np.where(same > 0, ndtr((same - value) / moved) - ndtr((-same - value) / moved), 0.0)
        found.append((chance < LEAST_CHANCE) & (same < told) & (count < last))
    return found


@cache
def _table(rungs: tuple[int, ...], alpha: float, sides: Sides) -> Array:
    """Return the levels of all rungs for each of `SHARES`."""
    return np.stack([levels(information(rungs, share), alpha, sides) for share in SHARES])


def _interpolated(share: Array, level: Array) -> Array:
    at = np.interp(np.log(share + SHARES[1]), np.log(SHARES + SHARES[1]), np.log(level))
    return np.asarray(np.exp(at))


def _first(holds: NDArray[np.bool_]) -> Places:
    """Return the place of the first rung at which it holds, or L."""
    return np.where(holds.any(1), holds.argmax(1), holds.shape[1])
