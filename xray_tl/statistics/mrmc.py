"""Multi-reader multi-case analysis: test whether a difference exceeds chance among readers and cases.

The Obuchowski-Rockette model (1995), for any contrast of treatments. A reader's value of the contrast is
c_j = sum_i l_i theta_ij, theta_ij being the metric of reader j with treatment i. Over r readers

    S^2 = mean square of the c_j between readers
    v   = mean variance of a c_j over new cases
    k   = mean covariance over new cases of c_j and c_j', of different readers

and the mean over readers has the squared standard error (S^2 + r max(k, 0)) / r. Its p value and interval
keep both sources of variance apart (`guarded`). Beside them stands what published tables give: one t
distribution with (S^2 + r max(k, 0))^2 / (S^4 / (r - 1)) degrees of freedom (Hillis 2007). For one treatment
(l = 1) and for two (l = 1, -1) these are the published formulas, with S^2 = 2 MS(T*R) and k = 2 (Cov2 - Cov3)
for two. Only the treatments of the contrast enter, and only readers who used all of them; no variance is
pooled over other arms.

Where readers come in groups that share a draw, such as seeds of one pretraining, the group takes the place of
the reader: its theta is the mean over its readers. With equally many readers in every group this is the exact
test of the nested analysis of variance, else that of unweighted means.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xray_tl.errors import InputError
from xray_tl.statistics.covariance import AUROC, Metric, mean_covariance, mean_value
from xray_tl.statistics.estimates import LEVEL, Estimate, estimate
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.two_runs import as_proportion

Array = NDArray[np.float64]
Sampling = Literal["random", "fixed"]


@dataclass(frozen=True)
class Cells:
    """Values of a metric for every reader and treatment, with their covariance over cases.

    A reader stands here for an independent draw: for a group of readers, if there are groups.

    Attributes:
        readings: The study.
        value: theta [T, R]; NaN where a reader did not use a treatment.
        covariance: Covariance over new cases [T, R, T, R].
        metric: The metric.
    """

    readings: Readings
    value: Array
    covariance: Array
    metric: Metric

    @property
    def readers(self) -> tuple[str, ...]:
        """Return the names of the independent draws [R]."""
        return self.readings.draws

    @property
    def read(self) -> NDArray[np.bool_]:
        """Return which of them used which treatment [T, R]."""
        return ~np.isnan(self.value)

    def of(self, readers: Collection[str]) -> Cells:
        """Return the values of some of the readers; treatments that need none keep theirs."""
        used = np.array([name in readers for name in self.readers])
        alone = np.array([name in self.readings.readerless for name in self.readings.treatments])
        return replace(self, value=np.where(used | alone[:, None], self.value, np.nan))

    def contrast(
        self,
        weights: Mapping[str, float],
        readers: Sampling = "random",
        cases: Sampling = "random",
        level: float = LEVEL,
    ) -> Estimate:
        """Estimate a contrast of treatments, sum_i l_i theta_i, over the readers who used all of them.

        The interval is clipped to the metric's range.

        Args:
            weights: Treatment -> l.
            readers: Whether the readers are a sample; one reader never is.
            cases: Whether the cases are a sample.
            level: Level of the confidence interval.

        Raises:
            InputError: A treatment is unknown, no reader used all of them, or readers and cases are both
                fixed.
        """
        names = self.readings.treatments
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise InputError(f"treatment {unknown[0]} is not in the study: choose from {', '.join(names)}")
        rows = np.array([names.index(name) for name in weights])
        factor = np.array(list(weights.values()), dtype=np.float64)
        alone = self.readings.readerless.issuperset(weights)
        common = np.flatnonzero(self.read[rows].all(0))[: 1 if alone else None]
        if not len(common):
            raise InputError(f"no reader used all of {', '.join(weights)}")
        value = factor @ self.value[np.ix_(rows, common)]
        block = self.covariance[np.ix_(rows, common, rows, common)]
        over_cases = np.einsum("i,irjs,j->rs", factor, block, factor)
        is_difference = bool(np.isclose(factor.sum(), 0))
        random = (readers == "random" and len(common) > 1, cases == "random")
        found = estimate(value, over_cases, self.readings.cases, random, level, is_difference)
        found = replace(found.within(*self.metric.bounds(factor)), readerless=alone)
        return as_proportion(found, self.readings, self.metric, weights, level)

    def analyse(
        self, readers: Sampling = "random", cases: Sampling = "random", level: float = LEVEL
    ) -> Analysis:
        """Estimate every treatment and every pair of treatments that has a reader in common.

        Args:
            readers: Whether readers are a sample of readers (`random`) or all that matter (`fixed`).
            cases: Whether cases are a sample of cases.
            level: Level of the confidence intervals.
        """
        names, read = self.readings.treatments, self.read
        return Analysis(
            {name: self.contrast({name: 1}, readers, cases, level) for name in names},
            {
                (names[a], names[b]): self.contrast({names[a]: 1, names[b]: -1}, readers, cases, level)
                for a, b in combinations(range(len(names)), 2)
                if (read[a] & read[b]).any()
            },
        )


@dataclass(frozen=True)
class Analysis:
    """Estimates of a study: each treatment's mean and each pair's difference (first minus second)."""

    arms: dict[str, Estimate]
    pairs: dict[tuple[str, str], Estimate]


def cells(readings: Readings, metric: Metric = AUROC) -> Cells:
    """Compute a metric for every reader and treatment, with its covariances over cases.

    With several targets or folds it is computed within each and averaged; the cases of a patient are one
    sampling unit. Of a group of readers the mean is returned, for each treatment over those who used it.

    Raises:
        InputError: The metric has no covariance (ECE: use the bootstrap), or needs probabilities.
    """
    if metric.influence is None:
        raise InputError(f"{metric.name} has no case variance but by the bootstrap")
    read = readings.read
    if metric.of_probabilities and not ((readings.rating[read] >= 0) & (readings.rating[read] <= 1)).all():
        raise InputError(f"metric={metric.name} needs ratings that are probabilities, in [0, 1]")
    shape = (*read.shape, *read.shape)
    value = np.full(read.shape, np.nan)
    truth, rating, strata = readings.truth, readings.rating[read], readings.strata
    value[read] = mean_value(metric, truth, rating, strata)
    covariance = np.full((read.size, read.size), np.nan)
    covariance[np.ix_(read.ravel(), read.ravel())] = mean_covariance(
        metric.influence, truth, rating, strata, readings.units
    )
    if readings.group is None:
        return Cells(readings, value, covariance.reshape(shape), metric)
    share = readings.share
    by_group = np.einsum("tgr,trus,uhs->tguh", share, np.nan_to_num(covariance.reshape(shape)), share)
    known = share.sum(2) > 0
    by_group[~(known[:, :, None, None] & known)] = np.nan
    return Cells(readings, mean_of_draws(value, share), by_group, metric)


def mean_of_draws(value: Array, share: Array) -> Array:
    """Average values of readers [..., T, R] within their draws: [..., T, G]; NaN where a draw has none."""
    mean = np.einsum("tgr,...tr->...tg", share, np.nan_to_num(value))
    return np.asarray(np.where(share.any(2), mean, np.nan))


def mrmc(
    readings: Readings,
    metric: Metric = AUROC,
    readers: Sampling = "random",
    cases: Sampling = "random",
    level: float = LEVEL,
) -> Analysis:
    """Analyse a study: estimates of every treatment and every pair; see `Cells.analyse`.

    With one reader only the variance over cases is used: for AUROC this is DeLong's test; proportions have
    their own methods (`two_runs`).
    """
    return cells(readings, metric).analyse(readers, cases, level)


def two_treatment_table(computed: Cells, first: str, second: str) -> dict[str, float]:
    """Return the mean squares and error (co)variances of a pair, in the terms of Obuchowski & Rockette.

    `cov1`: same reader, other treatment; `cov2`: other reader, same treatment; `cov3`: both differ.
    """
    names = computed.readings.treatments
    rows = np.array([names.index(first), names.index(second)])
    common = np.flatnonzero(computed.read[rows].all(0))
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
