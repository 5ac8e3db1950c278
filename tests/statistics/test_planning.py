"""Sizes of studies from variances alone: against the analysis itself, and what more readers and images do."""

import numpy as np
import pytest

from xray_tl.statistics.estimates import Estimate, estimate
from xray_tl.statistics.planning import COUNTS, fewest, fixed, parts, staged

RUNGS = (5, 8, 12, 20)


def _known(sd: float, k: float, mean: float = 0.0, cases: int = 1000) -> Estimate:
    """Return an estimate of five readers with exactly this SD, and a covariance k of cases."""
    value = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    value = mean + sd * value / value.std(ddof=1)
    return estimate(value, np.full((5, 5), k), cases)


def test_variance_of_cases_shrinks_with_their_number_and_that_of_readers_stays() -> None:
    known = _known(0.01, 4e-5)
    assert parts(known, 1000) == pytest.approx((4e-5, 1e-4))
    assert parts(known, 4000) == pytest.approx((1e-5, 1e-4))


def test_chances_are_those_of_the_analysis_of_simulated_readers() -> None:
    """Of 400 studies of 12 readers, judged by `estimate` itself, within four standard errors."""
    known, generator = _known(0.012, 2e-5), np.random.default_rng(1)
    told = 0
    for _ in range(400):
        value = 0.02 + generator.normal(0, np.sqrt(2e-5)) + generator.normal(0, 0.012, 12)
        told += estimate(value, np.full((12, 12), 2e-5), 1000).p <= 0.05 / 3
    found = fixed(known, 1000, 0.02, family=3).better[COUNTS.index(12)]
    assert found == pytest.approx(told / 400, abs=4 * np.sqrt(0.25 / 400))


def test_the_difference_that_was_seen_does_not_enter() -> None:
    one, other = (fixed(_known(0.012, 2e-5, mean), 1000, 0.02) for mean in (0.0, 0.3))
    assert one.better == pytest.approx(other.better)
    assert one.same == pytest.approx(other.same)


def test_more_readers_more_images_and_fewer_contrasts_decide_more_often() -> None:
    known = _known(0.015, 4e-5)
    few, many = fixed(known, 1000, 0.02).better[[0, -1]]
    assert many > few + 0.1
    wanted = [fewest(fixed(known, cases, 0.02).better) for cases in (1000, 4000)]
    assert wanted[0] is not None
    assert wanted[1] is not None
    assert wanted[0] > wanted[1] >= 5
    assert fixed(known, 1000, 0.02, family=6).better.max() < fixed(known, 1000, 0.02).better.max() - 0.1
    assert fewest(fixed(_known(0.015, 4e-4), 1000, 0.02).better) is None, "images alone are too few"


def test_nothing_is_equivalent_within_a_margin_of_0() -> None:
    known = _known(0.015, 4e-5)
    assert not fixed(known, 1000, 0.0, margin=0.0).same.any()
    assert not staged(known, 1000, 0.0, RUNGS, margin=0.0).equivalent


def test_rungs_end_early_where_the_difference_is_large() -> None:
    known = _known(0.015, 1e-5)
    large, none = staged(known, 1000, 0.05, RUNGS), staged(known, 1000, 0.0, RUNGS)
    assert large.better > 0.99
    assert large.readers.mean() < none.readers.mean()
    assert none.better <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(none.readers))
    assert set(none.readers) <= set(RUNGS)
