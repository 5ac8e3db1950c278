"""Estimates over readers and cases: standard errors, degrees of freedom, confidence intervals.

`mrmc` states the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from xray_tl.errors import InputError

Array = NDArray[np.float64]

LEVEL = 0.95
LEAST_READERS = 5
"""With fewer readers there is no verdict, and intervals are narrower than their level requires."""

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
    def own(self) -> float:
        """Return the variance between readers that is not due to the sampling of cases (at least 0)."""
        return max(0.0, self.readers - self.error + self.shared)


@dataclass(frozen=True)
class Estimate:
    """A contrast of treatments, averaged over readers.

    Attributes:
        value: The estimate.
        se: Its standard error.
        df: Degrees of freedom; infinite if no variance between readers enters.
        lower: Lower end of its confidence interval.
        upper: Upper end.
        p: Two-sided p value of no difference; NaN for a single treatment.
        readers: Number of readers.
        cases: Number of cases.
        components: Variance components.
        random_readers: Whether it generalises to new readers; with one reader it never does.
        random_cases: Whether it generalises to new cases.
        judged_by: Method that gives the interval or, for a difference, p.
        readerless: Whether none of its treatments has readers, so that cases are all that varies.
    """

    value: float
    se: float
    df: float
    lower: float
    upper: float
    p: float
    readers: int
    cases: int
    components: Components
    random_readers: bool
    random_cases: bool
    judged_by: Literal["t", "Wilson", "McNemar"] = "t"
    readerless: bool = False

    @property
    def enough_readers(self) -> bool:
        """Tell whether it has as many readers as a verdict needs, or needs none."""
        return self.readerless or (self.random_readers and self.readers >= LEAST_READERS)

    @property
    def too_narrow(self) -> bool:
        """Tell whether its interval is narrower than its level requires, because it has too few readers.

        With two to four readers the degrees of freedom are estimated from as few values: whenever the
        variance between readers is estimated too small, they are estimated too large
        (`benchmarks/coverage.py` measures the effect).
        """
        return self.random_readers and self.readers < LEAST_READERS

    def within(self, low: float, high: float) -> Estimate:
        """Return the estimate with its interval clipped to [low, high], the range of the metric."""
        return replace(self, lower=max(self.lower, low), upper=min(self.upper, high))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval at another level."""
        half = float(student_t.ppf((1 + level) / 2, self.df)) * self.se
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
    squared, df = squared_error(components, readers, random_readers=random_readers, random_cases=random_cases)
    se = float(np.sqrt(squared)) if squared > ROUNDING**2 else 0.0
    half = float(student_t.ppf((1 + level) / 2, df)) * se
    p = float("nan")
    if is_difference:
        p = float(2 * student_t.sf(abs(mean) / se, df)) if se > 0 else 1.0  # no variance, no evidence
    return Estimate(
        mean, se, df, mean - half, mean + half, p, readers, cases, components, random_readers, random_cases
    )


def projected(now: Estimate, readers: int, cases: int) -> tuple[float, float]:
    """Return the standard error and degrees of freedom expected with other numbers of readers and cases.

    The variance due to cases shrinks with their number, the readers' own variance does not (Hillis,
    Obuchowski & Berbaum 2011).
    """
    shrink = now.cases / cases
    parts = now.components
    error, shared = parts.error * shrink, max(parts.shared, 0.0) * shrink
    random_readers = now.random_readers and readers > 1
    between = parts.own + max(error - shared, 0.0) if random_readers else parts.readers
    squared, df = squared_error(
        Components(between, error, shared),
        readers,
        random_readers=random_readers,
        random_cases=now.random_cases,
    )
    return float(np.sqrt(squared)), df


def squared_error(
    components: Components, readers: int, *, random_readers: bool, random_cases: bool
) -> tuple[float, float]:
    """Return the squared standard error of a mean over readers, and its degrees of freedom.

    Raises:
        InputError: Neither readers nor cases are a sample.
    """
    shared = max(components.shared, 0.0)
    if random_readers:
        between = components.readers
        total = between + (readers * shared if random_cases else 0.0)
        df = total**2 / (between**2 / (readers - 1)) if between > 0 else float("inf")
        return total / readers, df
    if not random_cases:
        raise InputError("readers and cases cannot both be fixed: nothing would be left to chance")
    return (components.error + (readers - 1) * shared) / readers, float("inf")
