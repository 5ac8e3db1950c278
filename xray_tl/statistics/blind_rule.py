"""Blind rule: how many cases the next study needs, from the variances of an earlier one alone.

Two treatments that are truly equal are shown to be so in 80 % of studies if the squared standard error of
their difference is at most (margin / (z_.95 + z_.90))^2: two one-sided tests at 5 %, each of which may fail
in 10 %. Cases may take half of that; the other half is left to readers. The part of cases is k, which shrinks
with their number. So from a study of N cases

    N* = N * 2 k(N) * ((z_.95 + z_.90) / margin)^2

Where treatments have no readers, cases may take all of it, and their part is v. The normal distribution
stands for many readers. With few, where readers take their whole half, the guarded tests show equivalence in
68 % of studies with five, 77 % with twelve, 78 % with twenty (`benchmarks/coverage.py --only images`).

No difference enters. A look at variances is no look at the result, so that the next study's tests keep their
error rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from scipy.stats import norm

from xray_tl.statistics.estimates import Components, Estimate
from xray_tl.statistics.verdict import ALPHA, MARGIN, POWER, Pair


@dataclass(frozen=True)
class NextCases:
    """Numbers of cases that the pairs of a study ask of the next one.

    Attributes:
        of_pairs: Pair -> its N*.
        margin: Largest difference that counts as equivalent.
        few_readers: Whether some of them rest on two to four readers, who hardly tell k.
        readerless: Whether no treatment has readers.
    """

    of_pairs: Mapping[Pair, int]
    margin: float
    few_readers: bool
    readerless: bool

    @property
    def for_half(self) -> int:
        """Return the number that is enough for half of the pairs."""
        return sorted(self.of_pairs.values())[len(self.of_pairs) // 2]

    @property
    def for_all(self) -> int:
        """Return the number that is enough for every pair."""
        return max(self.of_pairs.values())


def wanted(components: Components, cases: int, margin: float = MARGIN, *, readerless: bool = False) -> int:
    """Return N*, the number of cases that a pair asks of the next study.

    Args:
        components: Variance components of the pair's difference.
        cases: Number of cases they were found with.
        margin: Largest difference that counts as equivalent.
        readerless: Whether neither treatment has readers.
    """
    allowed = (margin / (norm.ppf(1 - ALPHA) + norm.ppf((1 + POWER) / 2))) ** 2
    taken = components.error if readerless else 2 * max(components.shared, 0.0)
    return ceil(cases * taken / allowed)


def next_cases(pairs: Mapping[Pair, Estimate], margin: float = MARGIN) -> NextCases | None:
    """Return the numbers of cases that pairs ask of the next study; `None` where nothing tells them.

    A pair does not tell it if its cases are fixed, if it has one reader alone, if nothing varies, or if its k
    is estimated below 0.
    """
    known = {
        pair: found
        for pair, found in pairs.items()
        if found.random_cases and found.se > 0 and (found.random_readers or found.readerless)
    }
    numbers = {
        pair: number
        for pair, found in known.items()
        if (number := wanted(found.components, found.cases, margin, readerless=found.readerless))
    }
    if not numbers:
        return None
    return NextCases(
        numbers,
        margin,
        few_readers=any(known[pair].few_readers for pair in numbers),
        readerless=all(known[pair].readerless for pair in numbers),
    )
