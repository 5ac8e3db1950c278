"""Multi-reader multi-case analysis: is a difference more than chance among readers and cases? No torch.

The Obuchowski-Rockette model (1995) with the degrees of freedom of Hillis (2007), for any contrast of
treatments. A reader's value of the contrast is c_j = sum_i l_i theta_ij, theta_ij being the metric of
reader j with treatment i. Over r readers

    S^2 = mean square of the c_j between readers
    v   = mean variance of a c_j over new cases
    k   = mean covariance over new cases of c_j and c_j', of different readers

and the mean over readers has the squared standard error (S^2 + r max(k, 0)) / r with
(S^2 + r max(k, 0))^2 / (S^4 / (r - 1)) degrees of freedom. For one treatment (l = 1) and for two (l = 1, -1)
these are the published formulas, with S^2 = 2 MS(T*R) and k = 2 (Cov2 - Cov3) for two. Only the treatments of
the contrast enter: no variance is pooled over other arms, and only readers who used all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from xray_tl.errors import InputError
from xray_tl.evaluation.covariance import AUROC, Metric
from xray_tl.evaluation.readings import Readings

Array = NDArray[np.float64]
Sampling = Literal["random", "fixed"]

LEVEL = 0.95


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

    def interval(self, level: float) -> tuple[float, float]:
        """Return the confidence interval at another level."""
        half = float(student_t.ppf((1 + level) / 2, self.df)) * self.se
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Cells:
    """The metric of every reader and treatment.

    Attributes:
        readings: The study.
        value: theta [T, R]; NaN where a reader did not use a treatment.
        covariance: Over new cases [T, R, T, R].
    """

    readings: Readings
    value: Array
    covariance: Array

    def contrast(
        self,
        weights: Mapping[str, float],
        readers: Sampling = "random",
        cases: Sampling = "random",
        level: float = LEVEL,
    ) -> Estimate:
        """Estimate sum_i l_i theta_i over the readers who used every treatment i.

        Args:
            weights: Treatment -> l.
            readers: Whether the readers are a sample; one reader never is.
            cases: Whether the cases are a sample.
            level: Of the confidence interval.

        Raises:
            InputError: A treatment is unknown, no reader used all of them, or nothing is random.
        """
        names = self.readings.treatments
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise InputError(f"treatment {unknown[0]} is not in the study: choose from {', '.join(names)}")
        rows = np.array([names.index(name) for name in weights])
        factor = np.array(list(weights.values()), dtype=np.float64)
        alone = self.readings.readerless.issuperset(weights)
        common = np.flatnonzero(self.readings.read[rows].all(0))[: 1 if alone else None]
        if not len(common):
            raise InputError(f"no reader used all of {', '.join(weights)}")
        value = factor @ self.value[np.ix_(rows, common)]
        block = self.covariance[np.ix_(rows, common, rows, common)]
        over_cases = np.einsum("i,irjs,j->rs", factor, block, factor)
        is_difference = bool(np.isclose(factor.sum(), 0))
        random = (readers == "random" and len(common) > 1, cases == "random")
        return estimate(value, over_cases, len(self.readings.truth), random, level, is_difference)


@dataclass(frozen=True)
class Analysis:
    """Estimates of a study: each treatment's mean and each pair's difference (first minus second)."""

    arms: dict[str, Estimate]
    pairs: dict[tuple[str, str], Estimate]


def cells(readings: Readings, metric: Metric = AUROC) -> Cells:
    """Compute a metric of every reader and treatment with its covariances over cases.

    Raises:
        InputError: The metric has no covariance (ECE): use the bootstrap.
    """
    if metric.covariance is None:
        raise InputError(f"{metric.name} has no case variance but by the bootstrap")
    read = readings.read
    shape = (*read.shape, *read.shape)
    value = np.full(read.shape, np.nan)
    value[read] = metric.value(readings.truth, readings.rating[read])
    covariance = np.full((read.size, read.size), np.nan)
    covariance[np.ix_(read.ravel(), read.ravel())] = metric.covariance(readings.truth, readings.rating[read])
    return Cells(readings, value, covariance.reshape(shape))


def mrmc(
    readings: Readings,
    metric: Metric = AUROC,
    readers: Sampling = "random",
    cases: Sampling = "random",
    level: float = LEVEL,
) -> Analysis:
    """Analyse a study: per-treatment and per-pair estimates.

    Pairs that no reader has in common are left out. One seed: the variance over cases alone.

    Args:
        readings: The study.
        metric: What is compared.
        readers: Whether readers are a sample of readers (`random`) or all that matter (`fixed`).
        cases: Whether cases are a sample of cases.
        level: Of the confidence intervals.
    """
    computed = cells(readings, metric)
    read = readings.read
    index = {name: row for row, name in enumerate(readings.treatments)}
    return Analysis(
        {name: computed.contrast({name: 1}, readers, cases, level) for name in readings.treatments},
        {
            (a, b): computed.contrast({a: 1, b: -1}, readers, cases, level)
            for a, b in combinations(readings.treatments, 2)
            if (read[index[a]] & read[index[b]]).any()
        },
    )


def two_treatment_table(computed: Cells, first: str, second: str) -> dict[str, float]:
    """Return the mean squares and error (co)variances of a pair in the terms of Obuchowski & Rockette.

    `cov1`: same reader, other treatment; `cov2`: other reader, same treatment; `cov3`: both other.
    """
    names = computed.readings.treatments
    rows = np.array([names.index(first), names.index(second)])
    common = np.flatnonzero(computed.readings.read[rows].all(0))
    value = computed.value[np.ix_(rows, common)]
    block = computed.covariance[np.ix_(rows, common, rows, common)]
    count = len(common)
    same, other = np.eye(count, dtype=bool), ~np.eye(count, dtype=bool)
    own, cross = block[[0, 1], :, [0, 1], :], block[[0, 1], :, [1, 0], :]
    result = {"error": float(own[:, same].mean()), "cov1": float(cross[:, same].mean())}
    if count > 1:
        by_reader, by_treatment = value.mean(0), value.mean(1)
        residual = value - by_treatment[:, None] - by_reader + value.mean()
        result |= {
            "cov2": float(own[:, other].mean()),
            "cov3": float(cross[:, other].mean()),
            "ms_treatment": float(count * ((by_treatment - value.mean()) ** 2).sum()),
            "ms_reader": float(2 * by_reader.var(ddof=1)),
            "ms_treatment_reader": float((residual**2).sum() / (count - 1)),
        }
    return result


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
    se = float(np.sqrt(squared))
    half = float(student_t.ppf((1 + level) / 2, df)) * se
    p = float("nan")
    if is_difference:
        p = float(2 * student_t.sf(abs(mean) / se, df)) if se > 0 else float(mean == 0)
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
