"""Reasons why a difference does not vary over readers and cases, and so cannot be tested."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from xray_tl.statistics.estimates import ROUNDING
from xray_tl.statistics.mrmc import Cells

Sameness = Literal["perfect", "constant", "alike", "no variance"]
"""Why a difference has no variance.

- `perfect`: both treatments reach the best possible value of the metric.
- `constant`: both give all cases the same score.
- `alike`: the metric cannot tell their scores apart; for AUROC: both put the cases in the same order.
- `no variance`: the difference is the same for every reader, and the variation over cases cancels out.
"""

NOTHING_VARIES: tuple[Sameness, ...] = get_args(Sameness)


def why_the_same(computed: Cells, first: str, second: str) -> Sameness:
    """Return why the difference of two treatments has no variance, over the readers who used both."""
    study, metric = computed.readings, computed.metric
    rows = np.array([study.treatments.index(first), study.treatments.index(second)])
    common = np.flatnonzero(computed.read[rows].all(0))
    value = computed.value[np.ix_(rows, common)]
    if np.allclose(value, metric.largest if metric.higher_is_better else 0, rtol=0, atol=ROUNDING):
        return "perfect"
    rating = study.rating[rows][study.share[np.ix_(rows, common)].any(1)]
    if all((np.ptp(rating[:, stratum], axis=-1) == 0).all() for stratum in study.strata):
        return "constant"
    block = computed.covariance[np.ix_(rows, common, rows, common)]
    moved = block[0, :, 0] + block[1, :, 1] - block[0, :, 1] - block[1, :, 0]
    same = np.abs(value[0] - value[1]) < ROUNDING
    return "alike" if same.all() and (np.abs(np.diag(moved)) < ROUNDING**2).all() else "no variance"
