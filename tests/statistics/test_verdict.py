"""Better, equivalent, undecided; and what would decide."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xray_tl.statistics.covariance import delong
from xray_tl.statistics.estimates import LEAST_READERS, Components, Estimate, Hillis, projected, spread
from xray_tl.statistics.guarded import Spread, upper_tail
from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.simulation import STRUCTURES, simulate
from xray_tl.statistics.verdict import MARGIN, Need, Verdict, equivalence, holm, need, verdicts

PAIR = ("a", "b")


def _estimate(
    value: float,
    readers: int = 5,
    cases: int = 400,
    own: float = 1e-4,
    error: float = 3e-4,
    shared: float = 1e-4,
) -> Estimate:
    components = Components(own + error - shared, error, shared)
    random = readers > 1
    about = spread(components, readers, random_readers=random, random_cases=True)
    half, p = about.half_width(0.95), 2 * about.beyond(abs(value))
    hillis = Hillis(about.hillis_df, np.nan, np.nan, np.nan)  # which judges nothing
    se, ends = about.squared**0.5, (value - half, value + half)
    return Estimate(value, se, *ends, p, readers, cases, components, hillis, random, random_cases=True)


def _judged(estimate: Estimate, margin: float = MARGIN, *, higher_is_better: bool = True) -> Verdict:
    return verdicts({PAIR: estimate}, margin, higher_is_better=higher_is_better)[PAIR]


def test_better_is_an_interval_that_excludes_zero() -> None:
    critical = _estimate(0).upper
    for factor, kind in ((1.01, "better"), (0.99, "undecided")):
        assert _judged(_estimate(factor * critical), margin=0.001).kind == kind
    assert _judged(_estimate(0.1)).better == "a"
    assert _judged(_estimate(-0.1)).better == "b"
    assert _judged(_estimate(0.1), higher_is_better=False).better == "b"


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_fewer_than_five_readers_never_make_one_better(readers: int) -> None:
    found = _judged(_estimate(0.4, readers=readers))
    assert found.kind == "undecided"
    assert found.reason == "few readers"


@pytest.mark.parametrize("readers", [2, 3, 4])
def test_fewer_than_five_readers_never_make_arms_equivalent(readers: int) -> None:
    """Not even where the two tests alone would find them so."""
    alike = _estimate(0.001, readers=readers, own=1e-7, error=2e-5, shared=1e-5)
    assert equivalence(alike, MARGIN) < 0.05, "else the check below shows nothing"
    found = _judged(alike)
    assert (found.kind, found.reason) == ("undecided", "few readers")
    assert found.need == Need(LEAST_READERS, None), "no fewer of them would show it, nor more cases"
    assert _judged(replace(alike, readers=LEAST_READERS)).kind == "equivalent"


def test_arms_that_differ_by_the_margin_are_seldom_called_equivalent() -> None:
    """At most 5 %, give or take 3 standard errors of 300 studies; fewer than five readers never."""
    for readers in (2, 5):
        generator, count = np.random.default_rng(5), 0
        for _ in range(300):
            study = simulate((0.87, 0.85), STRUCTURES["LL"], readers, 300, 300, generator)
            count += verdicts(mrmc(study).pairs)["arm 0", "arm 1"].kind == "equivalent"
        assert count / 300 <= (0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5 if readers >= LEAST_READERS else 0)


def test_intervals_of_two_to_four_random_readers_are_known_to_rest_on_few() -> None:
    assert [_estimate(0.1, readers=count).few_readers for count in range(1, 7)] == [
        *(False, True, True, True),
        *(False, False),
    ]
    assert not replace(_estimate(0.1, readers=3), random_readers=False).few_readers


def test_treatments_without_readers_are_judged_over_cases_alone() -> None:
    """The very scores that one reader alone would leave undecided; the p value is DeLong's."""
    study = simulate((0.95, 0.7), STRUCTURES["LL"], 1, 100, 100, np.random.default_rng(3))
    alone = replace(study, readerless=frozenset(study.treatments))
    names = (study.treatments[0], study.treatments[1])
    found, expected = mrmc(alone).pairs[names], delong(study.truth, study.rating[:, 0])
    se = (expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]) ** 0.5
    assert found.readerless
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / se))
    assert verdicts({names: found})[names].better == names[0]
    one = verdicts(mrmc(study).pairs)[names]
    assert (one.kind, one.reason) == ("undecided", "few readers")
    half = mrmc(replace(study, readerless=frozenset(names[:1]))).pairs[names]
    assert verdicts({names: half})[names].reason == "few readers", "the other one still needs readers"


def test_treatments_without_readers_can_be_equivalent_or_need_more_cases() -> None:
    alone = {"random_readers": False, "readerless": True}
    alike = replace(_estimate(0.001, readers=1, error=2e-5, shared=1e-5), **alone)
    assert _judged(alike).kind == "equivalent"
    found = _judged(replace(_estimate(0.02, readers=1, error=3e-4, shared=1e-4), **alone))
    assert (found.kind, found.reason) == ("undecided", "")
    assert found.need is not None
    assert found.need.readers is None
    assert found.need.cases is not None
    assert found.need.cases > 400


def test_cases_that_are_taken_as_fixed_are_all_there_are() -> None:
    assert need(_estimate(0.1, own=1e-6)).cases is not None
    assert need(replace(_estimate(0.1, own=1e-6), random_cases=False)).cases is None


def test_equivalent_is_a_ninety_percent_interval_within_the_margin() -> None:
    estimate = _estimate(0.001)
    low, high = estimate.interval(0.90)
    edge = max(abs(low), abs(high))
    assert _judged(estimate, margin=edge * 1.001).kind == "equivalent"
    assert _judged(estimate, margin=edge * 0.999).kind == "undecided"


def test_arms_without_an_error_are_not_shown_to_be_alike() -> None:
    perfect = replace(_estimate(0.0), se=0.0, p=1.0)
    found = _judged(perfect)
    assert (found.kind, found.reason, found.need) == ("undecided", "no variance", Need(None, None))
    assert equivalence(perfect, 0.02) == 1


def test_no_number_of_cases_makes_up_for_readers() -> None:
    one, fixed = _estimate(0.1, readers=1), replace(_estimate(0.1), random_readers=False)
    assert [_judged(found).reason for found in (one, fixed)] == ["few readers", "fixed readers"]
    assert [need(found).cases for found in (one, fixed)] == [None, None]
    assert need(_estimate(0.1, own=1e-6)).cases is not None


def _decided(about: Spread, size: float) -> tuple[float, float]:
    """Simulate how often a difference, and how often equivalence, is shown: estimate and S^2 are drawn."""
    generator, studies = np.random.default_rng(4), 20_000
    drawn = generator.normal(size, about.squared**0.5, studies)
    scale = about.readers * generator.chisquare(about.df, studies) / about.df
    tails = [2 * upper_tail(np.abs(drawn), about.cases, scale, about.df)]
    tails += [upper_tail(MARGIN - np.abs(drawn), about.cases, scale, about.df)]
    return float((tails[0] <= 0.05).mean()), float((tails[1] <= 0.05).mean())


LEAST_POWER = 0.8 - 3 * (0.8 * 0.2 / 20_000) ** 0.5
MOST_POWER = 0.85
"""The projection takes the spread, wider than the normal distribution of an estimate, for the latter."""


def test_equivalence_is_projected_with_the_power_of_both_tests() -> None:
    """At no difference each of the two one-sided tests may fail: against simulated studies."""
    estimate = _estimate(0.0, own=1e-6)
    cases = need(estimate).cases
    assert cases is not None
    assert LEAST_POWER <= _decided(projected(estimate, 5, cases), 0.0)[1] <= MOST_POWER


def test_many_pairs_must_stand_among_each_other() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm 1979, by hand
    estimates = {(str(row), "b"): _estimate(0.035) for row in range(8)}
    assert _judged(_estimate(0.035)).kind == "better"
    among = verdicts(estimates)["0", "b"]
    assert among.kind == "undecided"
    assert among.reason == "many pairs"


def test_what_would_decide_is_where_power_reaches_80_percent() -> None:
    """Against simulated studies of the size that is named."""
    few_cases, few_readers = _estimate(0.025, own=3e-4, shared=2e-5), _estimate(0.025)
    readers, cases = need(few_cases).readers, need(few_readers).cases
    assert readers is not None
    assert cases is not None
    for about in (projected(few_cases, readers, 400), projected(few_readers, 5, cases)):
        assert LEAST_POWER <= _decided(about, 0.025)[0] <= MOST_POWER


def test_among_many_pairs_more_is_needed() -> None:
    estimate = _estimate(0.025, own=2e-5)
    alone, among = need(estimate).cases, need(estimate, pairs=20).cases
    assert alone is not None
    assert among is not None
    assert among > 1.2 * alone


def test_what_cannot_decide_is_not_promised() -> None:
    """Reader variance does not shrink with cases, shared case variance not with readers."""
    assert need(_estimate(0.019, own=2e-3)).cases is None
    assert need(_estimate(0.019, shared=2.9e-4)).readers is None


def test_false_verdicts_are_as_rare_as_promised() -> None:
    """Under the null `better` comes in at most 5 %, give or take 3 standard errors of 300 studies."""
    generator = np.random.default_rng(8)
    count = 0
    for _ in range(300):
        study = simulate((0.85, 0.85), STRUCTURES["LH"], 5, 40, 40, generator)
        count += verdicts(mrmc(study).pairs)["arm 0", "arm 1"].kind == "better"
    assert count / 300 <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
