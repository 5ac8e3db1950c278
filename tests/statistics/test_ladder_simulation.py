"""Simulated studies in rungs against the rules for one study, and the error rates that they keep."""

import numpy as np
import pytest

from xray_tl.statistics.estimates import estimate
from xray_tl.statistics.guarded import Spread
from xray_tl.statistics.ladder import chance, climb
from xray_tl.statistics.ladder_simulation import (
    NEVER,
    Looks,
    beaten,
    distance,
    draw,
    judged,
    nominal,
    p_values,
)

RUNGS = (5, 8, 12, 20)


def test_studies_at_once_are_judged_as_each_alone() -> None:
    """Rung by rung: p, level, futility, verdict; k is known, and readers are Gaussian."""
    generator, k = np.random.default_rng(0), 3e-5
    value = 0.012 + generator.normal(0, np.sqrt(k), (25, 1)) + generator.normal(0, 0.012, (25, 20))
    means, squares = (
        np.stack([of(value[:, :count]) for count in RUNGS], 1)
        for of in (lambda part: part.mean(1), lambda part: part.var(1, ddof=1))
    )
    looks = Looks(RUNGS, means, squares, np.full_like(means, k))
    found, levels = judged(looks, family=2), nominal(looks, 0.05)
    told, same = p_values(looks), p_values(looks, 0.02)
    for study in range(25):
        estimates = [estimate(value[study, :count], np.full((count, count), k), 1000) for count in RUNGS]
        course = climb(estimates, RUNGS)
        assert levels[study] == pytest.approx([look.level for look in course.looks], rel=1e-3)
        assert told[study] == pytest.approx([own.p for own in estimates], rel=1e-6)
        ends = len(RUNGS) - 1
        for place in range(len(RUNGS)):
            so_far = course.up_to(place + 1)
            decided = so_far.p * 2 <= 0.05 or so_far.p_equivalent <= 0.05
            if decided or (place < 3 and chance(so_far, family=2) < 0.1):
                ends = place
                break
        assert found.ends[study] == ends
        better = course.up_to(ends + 1).p * 2 <= 0.05
        assert (found.better[study] <= ends) == better
        assert found.told[study] == better * np.sign(estimates[ends].value)
    assert (same[:, -1] < 0.05).any()


def test_a_beaten_arm_beats_none_later() -> None:
    """In the first study b loses to a at 5, so that its verdict on c at 8 never comes.

    In the second b beats c at 5 and then loses; in the third a loses to c and to b at once; in the fourth c,
    which has lost, does not beat a later.
    """
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    readers = [np.array([5, 8, 5, 12]), np.array([8, 8, 5, 8]), np.array([8, 5, 8, 5])]
    told = [np.array([1, 1, -1, 0]), np.array([0, 0, -1, -1]), np.array([1, 1, 0, 1])]
    found = {arm: at.tolist() for arm, at in beaten(pairs, readers, told).items()}
    assert found == {
        "a": [NEVER, NEVER, 5, NEVER],
        "b": [5, 8, NEVER, NEVER],
        "c": [NEVER, 5, NEVER, 5],
    }


def test_a_distance_is_where_its_tail_begins() -> None:
    tail = np.array([0.3, 0.025, 1e-4])
    found = distance(tail, np.array(1e-4), np.array(4e-5), 7)
    assert found == pytest.approx([Spread(1e-4, 4e-5, 7).reach(float(p)) for p in tail], rel=1e-6)


def test_looking_at_each_rung_keeps_five_per_cent_where_the_plain_p_value_does_not() -> None:
    """20 000 studies; three standard errors of 5 % are 0.5 %."""
    looks = draw(0.0, 1e-5, 2e-4, RUNGS, 20_000, np.random.default_rng(1))
    found = judged(looks, futility=False)
    assert (found.better < len(RUNGS)).mean() <= 0.05 + 0.005
    assert (p_values(looks) <= 0.05).any(1).mean() > 0.09
    at_margin = judged(draw(0.02, 1e-5, 2e-4, RUNGS, 20_000, np.random.default_rng(2)), futility=False)
    assert (at_margin.equivalent < len(RUNGS)).mean() <= 0.05 + 0.005
    assert at_margin.rates[0] > 0.5


def test_futility_ends_what_cases_dominate_and_hardly_what_readers_do() -> None:
    generator = np.random.default_rng(3)
    cases, readers = (
        judged(draw(0.01, k, between, RUNGS, 2000, generator)) for k, between in ((4e-4, 1e-4), (1e-5, 2e-4))
    )
    assert cases.readers.mean() < 7
    assert readers.readers.mean() > 12
