"""Two-way bootstrap, which resamples readers and cases, for metrics without a formula for the variance.

Its intervals are too wide rather than too narrow: both resamplings contain the variance that cases cause
within a reader.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from xray_tl.errors import InputError
from xray_tl.statistics.covariance import Metric, Rows, Truth, mean_value
from xray_tl.statistics.estimates import LEVEL
from xray_tl.statistics.mrmc import mean_of_draws
from xray_tl.statistics.readings import Readings

Array = NDArray[np.float64]

RESAMPLES = 1000
TRIES = 50
"""Largest number of tries to get a draw that has both classes in every target and fold."""
NO_DRAW = "No bootstrap: too few patients have or lack a target for draws that have both classes of each."


class TwoWayBootstrap:
    """Bootstrap of a study's metric over readers and over cases (or patients with all their cases).

    Readers of one group, who share a draw, are drawn together.

    With one target, patients are drawn within groups of the same fold and the same classes (only positive
    cases, only negative cases, or both), and no draw lacks a class. A group of one patient is joined with the
    smallest other group. With several targets no such grouping fits all of them: patients are drawn within
    the fold, whatever their classes, and a draw that lacks a class of a target is repeated. The metric of a
    draw is averaged over targets and folds.

    Args:
        readings: The study.
        metric: The metric that is resampled.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Attributes:
        possible: Whether draws with both classes of every target were found; if not, there are no intervals.
    """

    def __init__(self, readings: Readings, metric: Metric, seed: int, resamples: int = RESAMPLES) -> None:
        self.readings = readings
        self.metric = metric
        generator = np.random.default_rng(seed)
        read, truth, strata = readings.read, readings.truth, readings.strata
        rating = readings.rating[read]
        observed = np.full(read.shape, np.nan)
        observed[read] = mean_value(metric, truth, rating, strata)
        self._value = np.full((resamples, *read.shape), np.nan)
        self.possible = True
        draws = _Draws(readings, generator)
        for draw in range(resamples):
            chosen = draws.one()
            if chosen is None:
                self.possible = False
                break
            drawn = [chosen]
            if readings.stratum is not None:
                own = readings.stratum[chosen]
                drawn = [chosen[own == value] for value in np.unique(own)]
            self._value[draw, read] = mean_value(metric, truth, rating, drawn)
        share = readings.share
        self.observed, self._value = (mean_of_draws(found, share) for found in (observed, self._value))
        self._drawn = generator.random((resamples, len(readings.draws)))

    def contrast(self, weights: Mapping[str, float], level: float = LEVEL) -> tuple[float, float, float]:
        """Return a contrast's value and confidence interval, over readers who used all its treatments.

        The interval is the basic one (Davison & Hinkley, Bootstrap Methods, 1997, eq. 5.6), which corrects
        the bias of resampling: resampled calibration errors are too large. It is clipped to the metric's
        range, and is NaN if draws with both classes of every target were not found.

        Raises:
            InputError: No reader used all of them.
        """
        names = self.readings.treatments
        rows = np.array([names.index(name) for name in weights])
        factor = np.array(list(weights.values()), dtype=np.float64)
        common = np.flatnonzero(~np.isnan(self.observed[rows]).any(0))
        if not len(common):
            raise InputError(f"no reader used all of {', '.join(weights)}")
        by_reader = np.einsum("i,bij->bj", factor, self._value[:, rows][:, :, common])
        chosen = (self._drawn[:, : len(common)] * len(common)).astype(np.int64)
        drawn = np.take_along_axis(by_reader, chosen, axis=1).mean(1)
        value = float((factor @ self.observed[np.ix_(rows, common)]).mean())
        if not self.possible:
            return value, float("nan"), float("nan")
        tail = (1 - level) / 2
        low, high = np.quantile(drawn, (tail, 1 - tail))
        lower, upper = np.clip((2 * value - high, 2 * value - low), *self.metric.bounds(factor))
        return value, float(lower), float(upper)


class _Draws:
    """Random draws of a study's cases, as indices into its arrays.

    Args:
        readings: The study.
        generator: Source of the random numbers.
    """

    def __init__(self, readings: Readings, generator: np.random.Generator) -> None:
        self._generator = generator
        unit, truth = readings.units, readings.truth
        stratum = np.zeros(len(truth), np.int64) if readings.stratum is None else readings.stratum
        self._cell = 2 * stratum + truth  # a class of a stratum
        self._there = np.bincount(self._cell) > 0
        self._order, self._count = np.argsort(unit, kind="stable"), np.bincount(unit)
        self._start = np.cumsum(self._count) - self._count
        self._groups = _groups(unit, stratum, truth)

    def one(self) -> Rows | None:
        """Return one draw with both classes of every stratum, or `None` if none is found in `TRIES` tries."""
        for _ in range(TRIES):
            chosen = np.concatenate(
                [group[self._generator.integers(0, len(group), len(group))] for group in self._groups]
            )
            count = self._count[chosen]
            first = np.repeat(self._start[chosen] - (np.cumsum(count) - count), count)
            places = self._order[first + np.arange(len(first))]
            drawn = np.bincount(self._cell[places], minlength=len(self._there)) > 0
            if drawn[self._there].all():
                return np.asarray(places)
        return None


def _groups(unit: Rows, stratum: Rows, truth: Truth) -> list[Rows]:
    """Return groups of units (patients or cases); each unit is resampled within its group."""
    lies = np.zeros((int(unit.max()) + 1, int(stratum.max()) + 1), dtype=bool)
    lies[unit, stratum] = True
    # Strata that share a unit are targets of the same fold.
    fold = connected_components(lies.T.astype(np.int64) @ lies)[1][lies.argmax(1)]
    has = np.zeros((len(lies), 2), dtype=bool)
    has[unit, truth.astype(np.int64)] = True
    groups: list[Rows] = []
    for own in np.unique(fold):
        members = fold == own
        kinds = [members]
        if (lies[members].sum(1) == 1).all():
            kinds = [
                members & (has == wanted).all(1) for wanted in ((False, True), (True, True), (True, False))
            ]
        groups += _large_enough([np.flatnonzero(kind) for kind in kinds if kind.any()])
    return groups


def _large_enough(groups: list[Rows]) -> list[Rows]:
    """Join each group of one unit, which would never vary, with the smallest other group."""
    while len(groups) > 1 and min(map(len, groups)) == 1:
        first, second, *others = sorted(groups, key=len)
        groups = [np.concatenate((first, second)), *others]
    return groups
