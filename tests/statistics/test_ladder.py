"""Sequential p values of a contrast whose readers come in rungs, and the chance that the last one decides."""

from dataclasses import replace

import numpy as np
import pytest

from xray_tl.statistics.boundaries import levels
from xray_tl.statistics.estimates import Estimate, estimate
from xray_tl.statistics.ladder import (
    LARGEST,
    Course,
    cases_that_decide,
    cautious_share,
    chance,
    climb,
    information,
)
from xray_tl.statistics.verdict import equivalence

RUNGS = (5, 8, 12, 20)
K = 4e-5


def _estimates(true: float, sd: float, seed: int = 0, k: float = K, cases: int = 1000) -> list[Estimate]:
    """Return a contrast at each rung: readers vary by `sd`, cases by k."""
    generator = np.random.default_rng(seed)
    value = true + generator.normal(scale=np.sqrt(k)) + generator.normal(scale=sd, size=RUNGS[-1])
    return [_of(value[:readers], k, cases) for readers in RUNGS]


def _of(value: np.ndarray, k: float = K, cases: int = 1000) -> Estimate:
    return estimate(value, np.full((len(value), len(value)), k) + np.eye(len(value)) * 1e-6, cases)


def _course(true: float, sd: float, seed: int = 0, looks: int = 4) -> Course:
    return climb(_estimates(true, sd, seed)[:looks], RUNGS)


def test_information_is_the_variance_of_the_last_rung_over_that_of_each() -> None:
    assert information(RUNGS, 0.0) == pytest.approx([5 / 20, 8 / 20, 12 / 20, 1])
    assert information(RUNGS, 1.0) == pytest.approx([1.05 / (1 + 1 / rung) for rung in RUNGS])
    assert information(RUNGS, np.array([0.1, np.inf])).shape == (2, 4)
    assert information(RUNGS, np.inf) == pytest.approx(information(RUNGS, LARGEST))


def test_the_share_of_cases_is_taken_for_too_small_in_nine_of_ten_studies() -> None:
    """Of lambda, k / tau^2: 20 000 draws of S^2, within four standard errors."""
    generator, draws = np.random.default_rng(0), 20_000
    for readers in (5, 20):
        between = generator.chisquare(readers - 1, draws) / (readers - 1)
        below = (cautious_share(0.3, between, readers) <= 0.3).mean()
        assert below == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / draws))
    assert float(cautious_share(0.0, 0.0, 5)) == 0
    assert float(cautious_share(1.0, 0.0, 5)) == LARGEST


def test_the_sequential_p_value_is_the_smallest_overall_level_so_far() -> None:
    """It reaches a level exactly where the nominal p of a look is the level of that look; it never rises."""
    course = _course(0.01, 0.012)
    so_far = [course.up_to(count).p for count in range(1, 5)]
    assert so_far == sorted(so_far, reverse=True)
    assert so_far[0] < 1
    for place, look in enumerate(course.looks):
        found = look.estimate.spread
        share = cautious_share(found.cases, found.readers * RUNGS[place], RUNGS[place])
        reached = information(RUNGS, share)
        assert levels(reached, look.p)[place] == pytest.approx(look.estimate.p, rel=1e-3)
        same = equivalence(look.estimate, 0.02)
        assert levels(reached, look.p_equivalent, sides=1)[place] == pytest.approx(same, rel=1e-3)
        assert look.p >= look.estimate.p
        assert look.p_equivalent >= equivalence(look.estimate, 0.02)
    assert course.p == min(look.p for look in course.looks)


def test_one_rung_is_the_test_without_looks() -> None:
    (first, *_) = _estimates(0.02, 0.012)
    (look,) = climb([first], (5,)).looks
    assert look.p == pytest.approx(first.p, rel=1e-4)
    assert look.p_equivalent == pytest.approx(equivalence(first, 0.02), rel=1e-4)
    assert (look.estimate.lower, look.estimate.upper) == pytest.approx((first.lower, first.upper))


def test_a_look_does_not_know_of_later_ones_but_of_the_order_of_readers() -> None:
    whole = _estimates(0.02, 0.012)
    for count in range(1, 4):
        assert climb(whole[:count], RUNGS) == climb(whole, RUNGS).up_to(count)
    value = np.random.default_rng(1).normal(0.02, 0.012, 20)
    forth, back = (climb([_of(order[:5])], RUNGS) for order in (value, value[::-1]))
    assert forth.p != back.p


def test_the_repeated_interval_is_wider_and_excludes_zero_where_p_does() -> None:
    for seed in range(4):
        for look in _course(0.015, 0.012, seed).looks:
            found = look.estimate
            plain = found.interval(0.95)
            assert found.upper - found.lower > plain[1] - plain[0]
            assert (found.lower > 0 or found.upper < 0) == (look.p <= 0.05)


def test_arms_that_no_reader_varies_have_one_look_with_the_whole_level() -> None:
    only = replace(estimate(np.array([0.03]), np.array([[1e-4]]), 1000), readerless=True)
    course = climb([only], RUNGS)
    assert (course.p, course.rungs, course.at_top) == (only.p, (5,), True)
    assert course.looks[0].estimate == only


def test_the_chance_at_the_last_rung_is_what_simulated_readers_give() -> None:
    """Of a flat prior: given five readers, D_20 is normal about D_5 with variance V_5 - V_20."""
    (first, *_) = _estimates(0.012, 0.015, seed=3)
    course = climb([first], RUNGS)
    s2, k = first.components.readers, first.components.shared
    generator, draws = np.random.default_rng(0), 4000
    moved = generator.normal(first.value, np.sqrt(s2 / 5 - s2 / 20), draws)
    top = information(RUNGS, cautious_share(k, s2, 20))
    two, one = levels(top, 0.05 / 3)[-1], levels(top, 0.05, sides=1)[-1]
    about = replace(first, readers=20).spread
    decided = [2 * about.beyond(abs(d)) <= two or about.beyond(0.02 - abs(d)) <= one for d in moved]
    found = chance(course, family=3)
    assert 0.1 < found < 0.9
    assert found == pytest.approx(np.mean(decided), abs=4 * np.sqrt(0.25 / draws))


def test_where_cases_hold_the_variance_more_readers_are_futile_and_cases_are_asked_for() -> None:
    between = 0.01  # half of the margin: neither told from 0 nor equivalent with this many cases
    course = climb([_of(np.linspace(-1, 1, 5) * 0.003 + between, k=4e-4)], RUNGS)
    assert chance(course) < 0.1
    wanted = cases_that_decide(course)
    assert wanted in (2000, 4000, 8000, 16000)
    assert chance(course, cases=wanted) >= 0.5 > chance(course, cases=wanted // 2)
    loud = climb([_of(np.linspace(-1, 1, 5) * 0.03 + between)], RUNGS)
    assert chance(loud) > 0.1, "here it is readers that vary"
