"""Verdicts on differences (better, equivalent or undecided), and the sample size that would decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from xray_tl.statistics.estimates import LEAST_READERS, Estimate, projected
from xray_tl.statistics.sameness import Sameness

Pair = tuple[str, str]
Kind = Literal["better", "differs", "equivalent", "undecided"]
Reason = Literal["", "few readers", "fixed readers", "many pairs"] | Sameness

MARGIN = 0.02
"""Largest difference that still counts as equivalent."""
ALPHA = 0.05
POWER = 0.8
MOST_READERS = 200
MOST_CASES = 1_000_000


@dataclass(frozen=True)
class Need:
    """Sample sizes that would decide with a power of 80 %, if the true difference is the observed one.

    Attributes:
        readers: Total number of readers needed, with the present cases; `None`: no number is enough.
        cases: Total number of cases needed, with the present readers; `None`: no number is enough.
    """

    readers: int | None
    cases: int | None


@dataclass(frozen=True)
class Verdict:
    """Verdict on the difference of a pair of treatments, or on another contrast.

    Attributes:
        kind: `better`, `equivalent` or `undecided`; in the place of `better` it is `differs` (from 0) for a
            contrast that is no pair.
        better: The better treatment, if `kind` is `better`.
        p: p value of no difference, adjusted for the number of pairs, or of contrasts in its family (Holm).
        p_equivalent: p value of a difference beyond the margin (two one-sided tests).
        need: Sample sizes that would decide, if `kind` is `undecided`.
        reason: Why it is undecided whatever the interval says: `no variance`, or a more exact reason of this
            kind (`sameness`); `few readers`; `fixed readers`, who do not represent others; `many pairs`, for
            which the adjusted p value is too large; else empty.
        apart: Treatment of the pair -> its readers that stand apart (`apart`), if it has such readers and the
            pair too few for a verdict in spite of them.
    """

    kind: Kind
    better: str | None
    p: float
    p_equivalent: float
    need: Need | None = None
    reason: Reason = ""
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def verdicts(
    pairs: Mapping[Pair, Estimate],
    margin: float = MARGIN,
    alpha: float = ALPHA,
    *,
    higher_is_better: bool = True,
) -> dict[Pair, Verdict]:
    """Return the verdict on every pair; with one pair, `better` means that the interval excludes 0.

    With fewer than `LEAST_READERS` readers, or with fixed readers, every pair is `undecided`. Two treatments
    that need no readers are compared over cases alone.

    Args:
        pairs: Differences, first minus second.
        margin: Largest difference that still counts as equivalent.
        alpha: Error rate: over all pairs together for `better` (Holm 1979), per pair for `equivalent` (two
            one-sided tests, Schuirmann 1987).
        higher_is_better: Whether a larger metric is the better one.
    """
    adjusted = holm([estimate.p for estimate in pairs.values()])
    return {
        pair: judge(pair, estimate, p, margin, alpha, higher_is_better=higher_is_better, family=len(pairs))
        for (pair, estimate), p in zip(pairs.items(), adjusted, strict=True)
    }


def as_json(estimate: Estimate, verdict: Verdict) -> dict[str, Any]:
    """Return all numbers of a difference and its verdict as JSON values."""
    return {
        **asdict(estimate),
        "few_readers": estimate.few_readers,
        "cases_share": estimate.cases_share,
        "p_holm": verdict.p,
        "p_equivalent": verdict.p_equivalent,
        "verdict": verdict.kind,
        "better": verdict.better,
        "need": asdict(verdict.need) if verdict.need else None,
        "stand_apart": dict(verdict.apart),
    }


def holm(p: Sequence[float]) -> list[float]:
    """Return p values adjusted for multiple comparisons (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return [float(value) for value in adjusted]


def equivalence(estimate: Estimate, margin: float) -> float:
    """Return the p value of two one-sided tests: small where the difference lies within ± margin.

    It is 1 if the standard error is 0: arms without errors on a few easy cases are not shown to be alike.
    """
    return estimate.spread.beyond(margin - abs(estimate.value)) if estimate.se > 0 else 1.0


def need(
    estimate: Estimate, margin: float = MARGIN, alpha: float = ALPHA, power: float = POWER, pairs: int = 1
) -> Need:
    """Return the number of readers, or of cases, that would show a difference or equivalence.

    Projected from the variance components (Hillis, Obuchowski & Berbaum 2011): the variance due to cases
    shrinks with their number, the readers' own variance does not. The observed difference is taken as the
    true one, so the result is only a guide to the size of a study. With several pairs a difference must be
    significant at alpha / pairs. No number of cases can replace missing readers or fixed readers; fixed cases
    cannot be increased.
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
        if estimate.enough_readers and estimate.random_cases
        else None
    )
    return Need(readers, cases)


def judge(
    pair: Pair | None,
    estimate: Estimate,
    p: float,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    *,
    higher_is_better: bool = True,
    family: int = 1,
) -> Verdict:
    """Return the verdict on one difference of a family.

    Args:
        pair: The treatments whose difference it is, first minus second; `None` for another contrast.
        estimate: The difference.
        p: Its adjusted p value.
        margin: Largest difference that still counts as equivalent.
        alpha: Error rate of the family.
        higher_is_better: Whether a larger metric is the better one.
        family: Number of differences in the family.
    """
    p_equivalent = equivalence(estimate, margin)
    enough = estimate.enough_readers
    if p <= alpha and enough:
        if pair is None:
            return Verdict("differs", None, p, p_equivalent)
        first_wins = (estimate.value > 0) == higher_is_better
        return Verdict("better", pair[0] if first_wins else pair[1], p, p_equivalent)
    if p_equivalent <= alpha and enough:
        return Verdict("equivalent", None, p, p_equivalent)
    reason: Reason = ""
    if estimate.se == 0:
        reason = "no variance"
    elif not enough and estimate.readers < LEAST_READERS:
        reason = "few readers"
    elif not enough:
        reason = "fixed readers"
    elif estimate.p <= alpha:
        reason = "many pairs"
    return Verdict("undecided", None, p, p_equivalent, need(estimate, margin, alpha, pairs=family), reason)


def _decides(
    estimate: Estimate, readers: int, cases: int, margin: float, alpha: float, power: float, pairs: int
) -> bool:
    about, size = projected(estimate, readers, cases), abs(estimate.value)
    told = about.beyond(size - about.reach(alpha / 2 / pairs)) <= 1 - power
    critical = margin - about.reach(alpha)  # both one-sided tests have to reject
    chance = 1 - sum(about.beyond(critical + side) for side in (size, -size))
    return told or chance >= power


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest count at which a monotone condition holds, or `None`."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
