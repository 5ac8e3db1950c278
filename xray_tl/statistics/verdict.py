"""Verdicts on differences: better, equivalent or undecided, and what would decide; no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from scipy.stats import t as student_t

from xray_tl.statistics.estimates import LEAST_READERS, Estimate, projected
from xray_tl.statistics.sameness import Sameness

Pair = tuple[str, str]
Kind = Literal["better", "equivalent", "undecided"]
Reason = Literal["", "few readers", "fixed readers", "many pairs"] | Sameness

MARGIN = 0.02
"""Largest difference that still counts as equivalent."""
ALPHA = 0.05
POWER = 0.8
MOST_READERS = 200
MOST_CASES = 1_000_000


@dataclass(frozen=True)
class Need:
    """What would probably (80 %) decide, if the difference is truly what it looks like.

    Attributes:
        readers: Readers in all, at the cases at hand; `None`: no number of them would.
        cases: Cases in all, at the readers at hand; `None`: no number of them would.
    """

    readers: int | None
    cases: int | None


@dataclass(frozen=True)
class Verdict:
    """What a pair's difference supports.

    Attributes:
        kind: `better`, `equivalent` or `undecided`.
        better: Which treatment, where `kind` is `better`.
        p: Of no difference, adjusted for the number of pairs (Holm).
        p_equivalent: Of a difference beyond the margin (two one-sided tests).
        need: Where `kind` is `undecided`.
        reason: Why it is undecided whatever the interval says: `no variance`, or which kind of that
            (`sameness`); `few readers`; `fixed readers`, which stand for no others; or `many pairs` among
            which the difference does not stand; else empty.
    """

    kind: Kind
    better: str | None
    p: float
    p_equivalent: float
    need: Need | None = None
    reason: Reason = ""


def verdicts(
    pairs: Mapping[Pair, Estimate],
    margin: float = MARGIN,
    alpha: float = ALPHA,
    *,
    higher_is_better: bool = True,
) -> dict[Pair, Verdict]:
    """Judge every pair; with one pair, `better` is an interval that excludes 0.

    Fewer than `LEAST_READERS`, or readers that stand for no others, make no verdict, of either kind.

    Args:
        pairs: Differences, first minus second.
        margin: Largest difference that still counts as equivalent.
        alpha: Error rate, over all pairs together for `better` (Holm 1979), a pair for `equivalent`
            (two one-sided tests, Schuirmann 1987).
        higher_is_better: Whether a larger metric is the better one.
    """
    adjusted = holm([estimate.p for estimate in pairs.values()])
    return {
        pair: _judge(pair, estimate, p, margin, alpha, higher_is_better, len(pairs))
        for (pair, estimate), p in zip(pairs.items(), adjusted, strict=True)
    }


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return [float(value) for value in adjusted]


def equivalence(estimate: Estimate, margin: float) -> float:
    """Return the p value of two one-sided tests: small where the difference lies within ± margin.

    It is 1 where nothing varies: arms without an error on a few easy cases are not shown to be alike.
    """
    distance = margin - abs(estimate.value)
    if estimate.se == 0:
        return 1.0
    return float(student_t.sf(distance / estimate.se, estimate.df))


def need(
    estimate: Estimate, margin: float = MARGIN, alpha: float = ALPHA, power: float = POWER, pairs: int = 1
) -> Need:
    """Return the readers, or the cases, at which the difference would be told, or equivalence shown.

    Projected from the variance components (Hillis, Obuchowski & Berbaum 2011): what cases cause shrinks with
    their number, the readers' own variance does not; the difference is taken for the true one, so that this
    is a guide to scale and no promise. Among several pairs a difference has to be told at alpha / pairs. No
    number of cases makes up for readers that are too few, or that stand for no others; cases that are taken
    as fixed are all there are.
    """
    if estimate.se == 0:
        return Need(None, None)
    readers = (
        _first(
            lambda count: _decides(estimate, count, estimate.cases, margin, alpha, power, pairs),
            max(estimate.readers + 1, LEAST_READERS),
            MOST_READERS,
        )
        if estimate.random_readers
        else None
    )
    cases = (
        _first(
            lambda count: _decides(estimate, estimate.readers, count, margin, alpha, power, pairs),
            estimate.cases + 1,
            MOST_CASES,
        )
        if estimate.readers >= LEAST_READERS and estimate.random_readers and estimate.random_cases
        else None
    )
    return Need(readers, cases)


def _judge(
    pair: Pair,
    estimate: Estimate,
    p: float,
    margin: float,
    alpha: float,
    higher_is_better: bool,
    pairs: int,
) -> Verdict:
    p_equivalent = equivalence(estimate, margin)
    enough = estimate.random_readers and estimate.readers >= LEAST_READERS
    if p <= alpha and enough:
        first_wins = (estimate.value > 0) == higher_is_better
        return Verdict("better", pair[0] if first_wins else pair[1], p, p_equivalent)
    if p_equivalent <= alpha and enough:
        return Verdict("equivalent", None, p, p_equivalent)
    reason: Reason = ""
    if estimate.se == 0:
        reason = "no variance"
    elif estimate.readers < LEAST_READERS:
        reason = "few readers"
    elif not estimate.random_readers:
        reason = "fixed readers"
    elif estimate.p <= alpha:
        reason = "many pairs"
    return Verdict("undecided", None, p, p_equivalent, need(estimate, margin, alpha, pairs=pairs), reason)


def _decides(
    estimate: Estimate, readers: int, cases: int, margin: float, alpha: float, power: float, pairs: int
) -> bool:
    se, df = projected(estimate, readers, cases)
    size = abs(estimate.value)
    reserve = _quantile(power, df)
    told = size >= (_quantile(1 - alpha / 2 / pairs, df) + reserve) * se
    critical = _quantile(1 - alpha, df)  # both one-sided tests have to reject
    chance = sum(_probability((margin + side) / se - critical, df) for side in (size, -size)) - 1
    return told or chance >= power


def _quantile(p: float, df: float) -> float:
    """Return a quantile of Student's t; ufuncs, since the search asks for thousands."""
    return float(ndtri(p) if np.isinf(df) else stdtrit(df, p))


def _probability(t: float, df: float) -> float:
    """Return the distribution function of Student's t."""
    return float(ndtr(t) if np.isinf(df) else stdtr(df, t))


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest count at which a monotone condition holds, or `None`."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
