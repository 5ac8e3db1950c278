"""Variance components of runs nested in draws, such as seeds of several pretrainings; cases are crossed.

The value of run s of draw w is c_ws = mu + A_w + S_ws + (what cases add), over new samples of cases with the
covariance V. Method of moments on two quadratic forms, as in the nested analysis of variance with unweighted
means (Searle, Casella & McCulloch, Variance Components, 1992, ch. 3), less what cases add to each, tr(F V):

    MSW = sum_ws (c_ws - c_w)^2 / (runs - draws)        E MSW = var S + tr(F_W V)
    s^2 = sum_w (c_w - c)^2 / (draws - 1)               E s^2 = var A + var S mean(1 / n_w) + tr(F_s V)

with c_w the mean of the n_w runs of a draw, and c that of the c_w. With as many runs n in each draw, n s^2 is
the mean square between draws. An estimate may be below 0; its SD is then 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Nested:
    """Variance components of a contrast, untruncated; NaN where the runs do not tell.

    Attributes:
        images: Variance over new samples of cases that all draws have in common.
        runs: Variance between the runs of a draw; NaN where no draw has two.
        draws: Variance between draws; where no draw has two runs, of draws and runs together.
        counts: Number of runs of each draw.
    """

    images: float
    runs: float
    draws: float
    counts: tuple[int, ...]

    @property
    def confounded(self) -> bool:
        """Tell whether draws and runs cannot be told apart: no draw has two runs."""
        return max(self.counts) == 1


def nested(value: Array, over_cases: Array, draw: Array) -> Nested:
    """Estimate the variance components of a contrast.

    Args:
        value: Value of each run [K].
        over_cases: Covariance of the values over new cases [K, K].
        draw: Draw of each run [K].
    """
    names, place, counts = np.unique(draw, return_inverse=True, return_counts=True)
    member = (place == np.arange(len(names))[:, None]).astype(np.float64)  # [W, K]
    mean = member / counts[:, None]
    runs = draws = float("nan")
    if len(value) > len(names):
        within = np.eye(len(value)) - mean.T @ member
        runs = _beyond_cases(within, value, over_cases) / (len(value) - len(names))
    means, between = mean @ value, mean @ over_cases @ mean.T
    if len(names) == 1:
        return Nested(float(between[0, 0]), runs, draws, tuple(map(int, counts)))
    centred = np.eye(len(names)) - 1 / len(names)
    draws = _beyond_cases(centred, means, between) / (len(names) - 1)
    if not np.isnan(runs):
        draws -= runs * float((1 / counts).mean())
    images = float((between.sum() - np.trace(between)) / (len(names) * (len(names) - 1)))
    return Nested(images, runs, draws, tuple(map(int, counts)))


def _beyond_cases(form: Array, value: Array, over_cases: Array) -> float:
    """Return a quadratic form of the values, less what cases are expected to add to it."""
    return float(value @ form @ value - np.trace(form @ over_cases))
