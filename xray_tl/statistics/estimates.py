"""Estimates over readers and cases: standard errors, degrees of freedom, intervals; no torch.

The formulas stand in `mrmc`.
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
"""Fewer never make a verdict, and their intervals are narrower than they claim."""

ROUNDING = 1e-9
"""What computing with 64 bits leaves of a standard error of 0, at most; no true one is as small."""


@dataclass(frozen=True)
class Components:
    """Variance components of a contrast.

    Attributes:
        readers: S^2, mean square between readers; NaN of one reader.
        error: v, variance of one reader's value over new cases.
        shared: k, covariance over new cases of two readers' values; 0 of one reader.
    """

    readers: float
    error: float
    shared: float

    @property
    def own(self) -> float:
        """Return the variance between readers that the sampling of cases does not explain (at least 0)."""
        return max(0.0, self.readers - self.error + self.shared)


@dataclass(frozen=True)
class Estimate:
    """A contrast of treatments, averaged over readers.

    Attributes:
        value: The estimate.
        se: Its standard error.
        df: Degrees of freedom; infinite where no reader variance enters.
        lower: Lower end of its confidence interval.
        upper: Upper end.
        p: Two-sided, of no difference; of one treatment: NaN.
        readers: Readers that entered.
        cases: Cases that entered.
        components: Variance components.
        random_readers: Whether it holds for new readers; with one reader it never does.
        random_cases: Whether it holds for new cases.
        judged_by: What gives the interval or, of a difference, p.
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

    @property
    def too_narrow(self) -> bool:
        """Tell whether its interval, being over so few random readers, is narrower than it claims.

        Of two to four, the degrees of freedom are estimated from as few numbers, and come out too many as
        often as the variance between readers comes out too small (`benchmarks/coverage.py` measures it).
        """
        return self.random_readers and self.readers < LEAST_READERS

    def within(self, low: float, high: float) -> Estimate:
        """Return it with an interval that ends where the metric does."""
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
    """Average readers' values of a contrast, and say how sure that is.

    Args:
        value: c_j [R].
        over_cases: Their covariance over new cases [R, R].
        cases: How many cases entered.
        random: Whether the readers, and whether the cases, are a sample.
        level: Of the confidence interval.
        is_difference: Whether 0 means no difference, so that there is a p value.

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
        p = float(2 * student_t.sf(abs(mean) / se, df)) if se > 0 else 1.0  # nothing varies, nothing is told
    return Estimate(
        mean, se, df, mean - half, mean + half, p, readers, cases, components, random_readers, random_cases
    )


def projected(now: Estimate, readers: int, cases: int) -> tuple[float, float]:
    """Return the standard error, and its degrees of freedom, with other numbers of readers and cases.

    What cases cause shrinks with their number, the readers' own variance does not (Hillis, Obuchowski &
    Berbaum 2011).
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
