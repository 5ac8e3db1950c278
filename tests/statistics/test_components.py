"""Variance components of nested runs: by hand, and where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from xray_tl.statistics.components import nested
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.simulation import NestedArm, simulate_nested


def test_a_balanced_design_by_hand() -> None:
    """Two runs of each of three draws: MSW 1, MSB 2 x 7; cases: v 0.5, 0.3 within a draw, 0.2 between.

    The cases' part of MSW is v - 0.3, that of s^2, the variance of the draws' means, (v + 0.3) / 2 - 0.2.
    """
    means = np.array([0.0, 3.0, (3 + np.sqrt(57)) / 2])  # variance 7
    assert means.var(ddof=1) == pytest.approx(7)
    half = np.sqrt(0.5)  # two runs at +- sqrt(1/2): mean square 1
    value = np.repeat(means, 2) + np.tile((half, -half), 3)
    draw = np.repeat(np.arange(3), 2)
    over_cases = np.full((6, 6), 0.2)
    over_cases[draw[:, None] == draw] = 0.3
    np.fill_diagonal(over_cases, 0.5)
    found = nested(value, over_cases, draw)
    assert found.runs == pytest.approx(1 - (0.5 - 0.3))
    assert found.draws == pytest.approx(7 - ((0.5 + 0.3) / 2 - 0.2) - found.runs / 2)
    assert found.images == pytest.approx(0.2)
    assert (found.counts, found.confounded) == ((2, 2, 2), False)


def test_one_run_of_each_draw_leaves_draw_and_run_together() -> None:
    value, over_cases = np.array([1.0, 2.0, 4.0]), 0.1 + 0.3 * np.eye(3)
    found = nested(value, over_cases, np.arange(3))
    assert found.draws == pytest.approx(value.var(ddof=1) - 0.3)
    assert found.images == pytest.approx(0.1)
    assert found.confounded
    assert np.isnan(found.runs)


def test_one_draw_tells_nothing_of_others() -> None:
    found = nested(np.array([1.0, 3.0]), 0.1 + 0.2 * np.eye(2), np.zeros(2))
    assert found.runs == pytest.approx(2 - 0.2)
    assert np.isnan(found.draws)
    assert found.images == pytest.approx(0.2), "of the mean over its two runs"


@pytest.mark.parametrize("uneven", [False, True])
def test_components_of_simulated_studies_are_those_that_were_drawn(uneven: bool) -> None:
    """Mean of 100 studies of 8 draws, 3 seeds: a mean square of 7 df is off by 53 %, its mean by 5 %."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(100):
        study = simulate_nested((NestedArm(0.85, 0.02, 0.01),), 8, 3, 200, generator)
        keep = np.arange(24) % 5 != 1 if uneven else np.ones(24, dtype=bool)
        computed = cells(replace(study, group=None))
        value, over_cases = computed.value[0][keep], computed.covariance[0, :, 0][np.ix_(keep, keep)]
        parts = nested(value, over_cases, np.repeat(np.arange(8), 3)[keep])
        found.append((parts.draws, parts.runs, parts.images))
    draws, runs, _ = np.mean(found, axis=0)
    slack = 3 * np.std(found, axis=0, ddof=1) / 10
    assert draws == pytest.approx(0.02**2, abs=slack[0])
    assert runs == pytest.approx(0.01**2, abs=slack[1])
    assert slack[0] < 0.3 * 0.02**2, "else the check above shows nothing"
