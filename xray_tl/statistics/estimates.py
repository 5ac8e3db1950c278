"""Estimates over readers and cases: standard errors, p values, confidence intervals.

`mrmc` and `guarded` state the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from xray_tl.errors import InputError
from xray_tl.statistics.guarded import Spread

Array = NDArray[np.float64]

LEVEL = 0.95
LEAST_READERS = 5
"""With fewer readers there is no verdict: they hardly tell how readers vary."""

ROUNDING = 1e-9
"""Largest value that rounding (64 bits) gives to a standard error of 0; every true one is larger."""


@dataclass(frozen=True)
class Components:
    """Variance components of a contrast.

    Attributes:
        readers: S^2, mean square between readers; NaN with one reader.
        error: v, variance of one reader's value over new cases.
        shared: k, covariance over new cases of two readers' values; 0 with one reader.
    """

    readers: float
    error: float
    shared: float

    @property
    def unshared(self) -> float:
        """Return v - max(k, 0), the variance over new cases that each reader has alone."""
        return max(0.0, self.error - max(self.shared, 0.0))

    @property
    def own(self) -> float:
        """Return the variance between readers that is not due to the sampling of cases (at least 0)."""
        return max(0.0, self.readers - self.unshared)

    def cases_share(self, readers: int) -> float:
        """Return the share of a mean's squared standard error that endless cases would take away.

        Of k + S^2 / r cases have k + (v - k) / r, and the readers' own variance the rest, `own` / r. A
        negative k counts as 0. Where S^2 is less than v - k, cases have all. So both shares lie in [0, 1].
        """
        return 1 - self.own / readers / (max(self.shared, 0.0) + self.readers / readers)


@dataclass(frozen=True)
class Hillis:
    """What the t distribution with Hillis' degrees of freedom gives, as in published tables; judges nothing.

    Attributes:
        df: Degrees of freedom; infinite if no variance between readers enters.
        lower: Lower end of the confidence interval.
        upper: Upper end.
        p: Two-sided p value of no difference; NaN for a single treatment.
    """

    df: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True)
class Estimate:
    """A contrast of treatments, averaged over readers.

    Attributes:
        value: The estimate.
        se: Its standard error.
        lower: Lower end of its confidence interval, guarded.
        upper: Upper end.
        p: Two-sided p value of no difference, guarded; NaN for a single treatment.
        readers: Number of readers.
        cases: Number of cases.
        components: Variance components.
        hillis: Interval and p value by Hillis' degrees of freedom, from the same standard error.
        random_readers: Whether it generalises to new readers; with one reader it never does.
        random_cases: Whether it generalises to new cases.
        judged_by: Method that gives the interval or, for a difference, p.
        readerless: Whether none of its treatments has readers, so that cases are all that varies.
    """

    value: float
    se: float
    lower: float
    upper: float
    p: float
    readers: int
    cases: int
    components: Components
    hillis: Hillis
    random_readers: bool
    random_cases: bool
    judged_by: Literal["guarded", "Wilson", "McNemar"] = "guarded"
    readerless: bool = False

    @property
    def enough_readers(self) -> bool:
        """Tell whether it has as many readers as a verdict needs, or needs none."""
        return self.readerless or (self.random_readers and self.readers >= LEAST_READERS)

    @property
    def few_readers(self) -> bool:
        """Tell whether its interval rests on two to four readers, too few for a verdict."""
        return self.random_readers and self.readers < LEAST_READERS

    @property
    def cases_share(self) -> float:
        """Return the share of the squared standard error that is due to cases; the rest is readers' own.

        It is NaN where a verdict could not rest on it: fewer than `LEAST_READERS` readers, readers or cases
        that are fixed, or a standard error of 0.
        """
        if not (self.enough_readers and self.random_cases and self.se > 0):
            return float("nan")
        return 1.0 if self.readerless else self.components.cases_share(self.readers)

    @property
    def spread(self) -> Spread:
        """Return the distribution of the estimate about the truth."""
        return spread(
            self.components,
            self.readers,
            random_readers=self.random_readers,
            random_cases=self.random_cases,
        )

    def reversed(self) -> Estimate:
        """Return the estimate of the contrast with the other sign."""
        hillis = replace(self.hillis, lower=-self.hillis.upper, upper=-self.hillis.lower)
        return replace(self, value=-self.value, lower=-self.upper, upper=-self.lower, hillis=hillis)

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate with its intervals clipped to [low, high], the range of the metric."""
        hillis = replace(self.hillis, lower=max(self.hillis.lower, low), upper=min(self.hillis.upper, high))
        return replace(self, lower=max(self.lower, low), upper=min(self.upper, high), hillis=hillis)

    def interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval at another level."""
        half = self.spread.half_width(level) if self.se > 0 else 0.0
        return self.value - half, self.value + half


def _components(value: Array, over_cases: Array) -> Components:
    readers = len(value)
    error = float(np.trace(over_cases)) / readers
    if readers == 1:
        return Components(float("nan"), error, 0.0)
    shared = (float(over_cases.sum()) - readers * error) / (readers * (readers - 1))
    return Components(float(value.var(ddof=1)), error, shared)


def estimate(
    value: Array,
    over_cases: Array,
    cases: int,
    random: tuple[bool, bool] = (True, True),
    level: float = LEVEL,
    is_difference: bool = True,
) -> Estimate:
    """Average the readers' values of a contrast, with standard error, confidence interval and p value.

    Args:
        value: Value of the contrast for each reader, c_j [R].
        over_cases: Their covariance over new cases [R, R].
        cases: Number of cases.
        random: Whether the readers, and whether the cases, are a sample.
        level: Level of the confidence interval.
        is_difference: Whether 0 means no difference; only then there is a p value.

    Raises:
        InputError: Neither readers nor cases are a sample.
    """
    readers, mean = len(value), float(value.mean())
    random_readers, random_cases = random
    random_readers = random_readers and readers > 1
    components = _components(value, over_cases)
    about = spread(components, readers, random_readers=random_readers, random_cases=random_cases)
    se = float(np.sqrt(about.squared)) if about.squared > ROUNDING**2 else 0.0
    half = about.half_width(level) if se > 0 else 0.0
    p = float("nan")
    if is_difference:
        p = min(1.0, 2 * about.beyond(abs(mean))) if se > 0 else 1.0  # no variance, no evidence
    return Estimate(
        mean,
        se,
        mean - half,
        mean + half,
        p,
        readers,
        cases,
        components,
        _hillis(mean, se, about.hillis_df, level, is_difference),
        random_readers,
        random_cases,
    )


def _hillis(mean: float, se: float, df: float, level: float, is_difference: bool) -> Hillis:
    half = float(student_t.ppf((1 + level) / 2, df)) * se
    p = float("nan")
    if is_difference:
        p = float(2 * student_t.sf(abs(mean) / se, df)) if se > 0 else 1.0
    return Hillis(df, mean - half, mean + half, p)


def projected(now: Estimate, readers: int, cases: int) -> Spread:
    """Return the spread that is expected with other numbers of readers and cases.

    The variance due to cases shrinks with their number, the readers' own variance does not (Hillis,
    Obuchowski & Berbaum 2011).
    """
    shrink = now.cases / cases
    parts = now.components
    random_readers = now.random_readers and readers > 1
    between = parts.own + parts.unshared * shrink if random_readers else parts.readers
    return spread(
        Components(between, parts.error * shrink, parts.shared * shrink),
        readers,
        random_readers=random_readers,
        random_cases=now.random_cases,
    )


def more_cases_help(now: Estimate) -> bool:
    """Tell whether twice the cases would narrow the interval more than twice the readers.

    The share of cases does not tell: (v - k) / r shrinks with readers too, who also give degrees of freedom.
    """
    cases, readers = projected(now, now.readers, 2 * now.cases), projected(now, 2 * now.readers, now.cases)
    return cases.half_width(LEVEL) < readers.half_width(LEVEL)


def spread(components: Components, readers: int, *, random_readers: bool, random_cases: bool) -> Spread:
    """Return the distribution of a mean over readers about the truth.

    Raises:
        InputError: Neither readers nor cases are a sample.
    """
    shared = max(components.shared, 0.0)
    if random_readers:
        return Spread(shared if random_cases else 0.0, components.readers / readers, readers - 1)
    if not random_cases:
        raise InputError("readers and cases cannot both be fixed: nothing would be left to chance")
    return Spread((components.error + (readers - 1) * shared) / readers, 0.0, float("inf"))
