"""Two-way bootstrap: readers and cases drawn again together; for metrics that no formula covers. No torch.

It errs on the wide side: the variance that cases cause within a reader is counted in both resamplings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xray_tl.errors import InputError
from xray_tl.evaluation.covariance import Metric, mean_value
from xray_tl.evaluation.estimates import LEVEL
from xray_tl.evaluation.readings import Readings

Array = NDArray[np.float64]

Units = NDArray[np.int64] | list[NDArray[np.int64]]
"""Places of single cases, or of every patient's cases."""

RESAMPLES = 1000


class TwoWayBootstrap:
    """Resampled metrics of a study: cases within their class, readers each by each.

    Cases of one patient, and a case's targets, are drawn together, and then whatever their class. Every draw
    is averaged over targets and folds.

    Args:
        readings: The study.
        metric: What is resampled.
        seed: Draws the resamples.
        resamples: How many.
    """

    def __init__(self, readings: Readings, metric: Metric, seed: int, resamples: int = RESAMPLES) -> None:
        self.readings = readings
        self.metric = metric
        generator = np.random.default_rng(seed)
        read, truth, strata = readings.read, readings.truth, readings.strata
        rating = readings.rating[read]
        self.observed = np.full(read.shape, np.nan)
        self.observed[read] = mean_value(metric, truth, rating, strata)
        self._value = np.full((resamples, *read.shape), np.nan)
        groups = _groups(readings)
        for draw in range(resamples):
            chosen = np.concatenate(
                [_drawn(units, generator.integers(0, len(units), len(units))) for units in groups]
            )
            drawn = [chosen]
            if readings.stratum is not None:
                own = readings.stratum[chosen]
                drawn = [chosen[own == value] for value in np.unique(own)]
            self._value[draw, read] = mean_value(metric, truth, rating, drawn)
        count = len(readings.readers)
        self._drawn = generator.random((resamples, count))

    def contrast(self, weights: Mapping[str, float], level: float = LEVEL) -> tuple[float, float, float]:
        """Return a contrast's value and its interval, over readers who used all its treatments.

        The interval is the basic one (Davison & Hinkley, Bootstrap Methods, 1997, eq. 5.6), which takes off
        what resampling adds: of calibration errors more than there is. It ends where the metric does.

        Raises:
            InputError: No reader used all of them.
        """
        names = self.readings.treatments
        rows = np.array([names.index(name) for name in weights])
        factor = np.array(list(weights.values()), dtype=np.float64)
        common = np.flatnonzero(self.readings.read[rows].all(0))
        if not len(common):
            raise InputError(f"no reader used all of {', '.join(weights)}")
        by_reader = np.einsum("i,bij->bj", factor, self._value[:, rows][:, :, common])
        chosen = (self._drawn[:, : len(common)] * len(common)).astype(np.int64)
        drawn = np.take_along_axis(by_reader, chosen, axis=1).mean(1)
        tail = (1 - level) / 2
        low, high = np.quantile(drawn, (tail, 1 - tail))
        value = float((factor @ self.observed[np.ix_(rows, common)]).mean())
        lower, upper = np.clip((2 * value - high, 2 * value - low), *self.metric.bounds(factor))
        return value, float(lower), float(upper)


def _drawn(units: Units, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the units drawn."""
    if isinstance(units, np.ndarray):
        return units[chosen]
    return np.concatenate([units[place] for place in chosen])


def _groups(readings: Readings) -> list[Units]:
    """Return what is drawn, as places in the study: positive and negative cases, or patients of any class."""
    everywhere, truth = np.arange(len(readings.truth)), readings.truth
    if readings.patients == len(truth):
        return [everywhere[truth], everywhere[~truth]]
    order = np.argsort(readings.units, kind="stable")
    return [np.split(order, np.cumsum(np.bincount(readings.units))[:-1])]
