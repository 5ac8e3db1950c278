"""Multi-reader multi-case analysis by loops, straight from the definitions; no code of the package."""

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, stats

Array = NDArray[np.float64]


def kernel(positive: float, negative: float) -> float:
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def auroc(truth: NDArray[np.bool_], score: Array) -> float:
    pairs = list(itertools.product(score[truth], score[~truth]))
    return sum(kernel(a, b) for a, b in pairs) / len(pairs)


def delong_covariance(truth: NDArray[np.bool_], one: Array, other: Array) -> float:
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)

    def by_positive(score: Array) -> list[float]:
        return [sum(kernel(score[i], score[j]) for j in negative) / len(negative) for i in positive]

    def by_negative(score: Array) -> list[float]:
        return [sum(kernel(score[i], score[j]) for i in positive) / len(positive) for j in negative]

    def covariance(a: list[float], b: list[float]) -> float:
        mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
        return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / (len(a) - 1)

    return covariance(by_positive(one), by_positive(other)) / len(positive) + covariance(
        by_negative(one), by_negative(other)
    ) / len(negative)


def obuchowski_rockette(truth: NDArray[np.bool_], rating: Array) -> dict[str, float]:
    """Two treatments [2, R, N], random readers and cases, as the textbook writes it."""
    readers = rating.shape[1]
    theta = [[auroc(truth, rating[i, j]) for j in range(readers)] for i in range(2)]
    cells = list(itertools.product(range(2), range(readers)))

    def mean_covariance(same_treatment: bool, same_reader: bool) -> float:
        values = [
            delong_covariance(truth, rating[i, j], rating[k, m])
            for (i, j), (k, m) in itertools.product(cells, cells)
            if (i == k) == same_treatment and (j == m) == same_reader
        ]
        return sum(values) / len(values)

    cov2, cov3 = mean_covariance(True, False), mean_covariance(False, False)
    grand = sum(map(sum, theta)) / (2 * readers)
    by_treatment = [sum(row) / readers for row in theta]
    by_reader = [(theta[0][j] + theta[1][j]) / 2 for j in range(readers)]
    interaction = sum((theta[i][j] - by_treatment[i] - by_reader[j] + grand) ** 2 for i, j in cells) / (
        readers - 1
    )
    denominator = interaction + max(readers * (cov2 - cov3), 0)
    se = math.sqrt(2 / readers * denominator)
    df = denominator**2 / (interaction**2 / (readers - 1))
    difference = by_treatment[0] - by_treatment[1]
    half = float(stats.t.ppf(0.975, df)) * se
    return {
        "value": difference,
        "se": se,
        "df": df,
        "lower": difference - half,
        "upper": difference + half,
        "p": float(2 * stats.t.sf(abs(difference) / se, df)),
    } | guarded(difference, 2 * max(cov2 - cov3, 0), 2 * interaction, readers)


def guarded_tail(distance: float, k: float, squared: float, readers: int) -> float:
    """P(N(0, k) + sqrt(squared / readers) t >= distance), as a convolution over the values of t."""
    df = readers - 1
    height = math.gamma((df + 1) / 2) / math.gamma(df / 2) / math.sqrt(df * math.pi)

    def density(t: float) -> float:
        beyond = math.erfc((distance - math.sqrt(squared / readers) * t) / math.sqrt(2 * k)) / 2
        return beyond * height * (1 + t * t / df) ** (-(df + 1) / 2)

    edges = [-np.inf, -10.0, 0.0, 10.0, 1000.0, np.inf]
    return math.fsum(
        integrate.quad(density, *ends, epsabs=1e-14, epsrel=1e-10, limit=200)[0]
        for ends in itertools.pairwise(edges)
    )


def guarded(difference: float, k: float, squared: float, readers: int) -> dict[str, float]:
    def excess(half: float) -> float:
        return guarded_tail(half, k, squared, readers) - 0.025

    half = float(optimize.bisect(excess, 0, 100 * math.sqrt(k + squared / readers), xtol=1e-13))
    return {
        "guarded_lower": difference - half,
        "guarded_upper": difference + half,
        "guarded_p": 2 * guarded_tail(abs(difference), k, squared, readers),
    }
