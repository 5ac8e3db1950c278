"""Guarded p values and intervals: of a mean over readers whose variance has two sources.

Given the data, an estimate misses the truth by N(0, k) + sqrt(S^2 / r) t_(r-1), two independent terms: the
first is due to cases, whose variance k is known well, the second to r readers, whose variance S^2 is
estimated from as few values (Behrens 1929, Fisher 1935; the generalised p value of Tsui & Weerahandi 1989).

Hillis' degrees of freedom sum up both in one t distribution. When S^2 comes out small by chance, they are too
many and the standard error too small, both at once: at 0.05 this averages out, at the small levels of a
correction for many pairs it does not (`benchmarks/coverage.py --only family`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isinf

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, ndtr, ndtri, stdtr, stdtrit

Array = NDArray[np.float64]

STEP = 0.25
"""Largest distance of nodes in the logarithm of chi^2; the trapezoidal rule errs by exp(-pi^2 / STEP)."""
STEPS_PER_SD = 1.5
"""Smallest number of nodes per SD of that logarithm, which is about sqrt(2 / df)."""


@dataclass(frozen=True)
class Spread:
    """Distribution of an estimate about the truth: N(0, cases) + sqrt(readers) t_df.

    Attributes:
        cases: Variance due to cases, k; 0 if cases are fixed.
        readers: Squared scale of the part due to readers, S^2 / r; 0 if readers are fixed, or single.
        df: Degrees of freedom of that part, r - 1; infinite if there is no such part.
    """

    cases: float
    readers: float
    df: float

    @property
    def squared(self) -> float:
        """Return the squared standard error (Obuchowski & Rockette 1995)."""
        return self.cases + self.readers

    @property
    def hillis_df(self) -> float:
        """Return the degrees of freedom of a single t distribution in its place (Hillis 2007)."""
        if self.readers <= 0 or isinf(self.df):
            return float("inf")
        return self.df * self.squared**2 / self.readers**2

    def beyond(self, distance: float) -> float:
        """Return G(d), the probability that the estimate lies above the truth by `distance` or more."""
        if self.readers <= 0 or isinf(self.df):
            return float(ndtr(-distance / np.sqrt(self.squared)))
        if self.cases <= 0:
            return float(stdtr(self.df, -distance / np.sqrt(self.readers)))
        return float(upper_tail(distance, self.cases, self.readers, self.df))

    def reach(self, tail: float) -> float:
        """Return the distance that is exceeded with probability `tail` < 1/2 on one side, G(h) = tail."""
        normal = -float(ndtri(tail)) * np.sqrt(self.cases)
        if self.readers <= 0 or isinf(self.df):
            return -float(ndtri(tail)) * float(np.sqrt(self.squared))
        student = -float(stdtrit(self.df, tail)) * np.sqrt(self.readers)
        if self.cases <= 0:
            return float(student)
        return float(brentq(lambda d: self.beyond(d) - tail, 0.0, 2 * (normal + student), rtol=1e-10))

    def half_width(self, level: float) -> float:
        """Return half the width of the confidence interval."""
        return self.reach((1 - level) / 2)


def upper_tail(distance: ArrayLike, cases: ArrayLike, readers: ArrayLike, df: float) -> Array:
    """Return P(N(0, cases) + sqrt(readers) t_df >= distance), by quadrature over chi^2 with df degrees.

    Args:
        distance: Distances; this and the next two are broadcast against each other.
        cases: Variance of the normal part.
        readers: Squared scale of the t part.
        df: Its degrees of freedom, finite.
    """
    value, weight = _chi2_nodes(df)
    d, k, s = (np.asarray(part, dtype=np.float64)[..., None] for part in (distance, cases, readers))
    return np.asarray(ndtr(-d / np.sqrt(k + s * df / value)) @ weight)


@cache
def _chi2_nodes(df: float) -> tuple[Array, Array]:
    """Return nodes and weights for means over a chi^2 variable: a trapezoidal rule in its logarithm.

    Below the first node lies a probability of about exp(-46), above the last one less than exp(-30).
    """
    low, high = np.log(df) - 92 / df - 1, np.log(df + 8 * np.sqrt(2 * df) + 60)
    step = min(STEP, np.sqrt(2 / df) / STEPS_PER_SD)
    x = np.arange(low, high + step, step)
    weight = np.exp(df / 2 * x - np.exp(x) / 2 - df / 2 * np.log(2) - gammaln(df / 2))
    return np.exp(x), weight / weight.sum()
