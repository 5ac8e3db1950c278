"""One run, and one against another."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.statistics.oracle import auroc, delong_covariance
from xray_tl.statistics.covariance import METRICS, Metric
from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.two_runs import Flags, delong_test, mcnemar_test, wilson

TRUTH = np.arange(40) % 2 == 0
GENERATOR = np.random.default_rng(1)
FIRST, SECOND = GENERATOR.normal(size=(2, 40)) + TRUTH


def test_delongs_test_equals_its_definition() -> None:
    difference, se, p = delong_test(TRUTH, FIRST, SECOND)
    assert difference == pytest.approx(auroc(TRUTH, FIRST) - auroc(TRUTH, SECOND))
    variance = sum(
        sign * delong_covariance(TRUTH, a, b)
        for sign, a, b in ((1, FIRST, FIRST), (1, SECOND, SECOND), (-2, FIRST, SECOND))
    )
    assert se == pytest.approx(variance**0.5)
    assert p == pytest.approx(2 * stats.norm.sf(abs(difference) / se))
    assert delong_test(TRUTH, FIRST, FIRST) == (0, 0, 1)


def test_mcnemars_test_is_a_sign_test_of_the_cases_that_differ() -> None:
    first = np.array([True] * 9 + [False] * 2 + [True] * 20)
    second = np.array([False] * 9 + [True] * 2 + [True] * 20)
    assert mcnemar_test(first, second) == pytest.approx(2 * stats.binom.cdf(2, 11, 0.5))
    assert mcnemar_test(first, first) == 1


def test_wilsons_interval_is_the_published_one() -> None:
    """81 of 263: Newcombe 1998, table I, method 3."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def _study(readers: int = 1, **options: object) -> Readings:
    rating = (
        np.random.default_rng(2).normal(size=(2, readers, 40)) + np.array([1.5, 0.5])[:, None, None] * TRUTH
    )
    names = tuple(f"reader {index}" for index in range(readers))
    return replace(Readings(("a", "b"), names, TRUTH, rating), **options)


@pytest.mark.parametrize(
    ("metric", "among"), [("accuracy", TRUTH | ~TRUTH), ("sensitivity", TRUTH), ("specificity", ~TRUTH)]
)
def test_proportions_of_one_reader_have_wilsons_interval_and_mcnemars_p(metric: str, among: Flags) -> None:
    study = _study()
    found = mrmc(study, METRICS[metric], level=0.9)
    right = ((study.rating[:, 0] >= 0) == TRUTH)[:, among]
    for name, hits in zip(study.treatments, right, strict=True):
        arm = found.arms[name]
        assert (arm.lower, arm.upper) == wilson(int(hits.sum()), len(hits), 0.9)
        assert arm.value == pytest.approx(hits.mean())
    assert found.pairs["a", "b"].p == mcnemar_test(right[0], right[1])


def test_more_readers_and_cases_that_vary_together_have_not() -> None:
    several = (_study(readers=2), _study(unit=np.arange(40) // 4), _study(stratum=np.arange(40) // 20))
    plain = replace(METRICS["accuracy"], hits=None)
    for study in several:
        assert _said(study, METRICS["accuracy"]) == _said(study, plain)
    assert _said(_study(), METRICS["accuracy"]) != _said(_study(), plain), (
        "else the check above could not fail"
    )


def test_the_runs_of_one_group_are_no_single_reader() -> None:
    """But a group with one run of each treatment is, even if these are of different names."""
    both = _study(readers=2)
    plain = replace(METRICS["accuracy"], hits=None)
    group = replace(both, group=("a", "a"))
    assert _said(group, METRICS["accuracy"]) == _said(group, plain)
    rating = both.rating.copy()
    rating[0, 1] = rating[1, 0] = np.nan
    apart = replace(group, rating=rating)
    one = replace(_study(), rating=both.rating[[0, 1], [0, 1]][:, None])
    assert _said(apart, METRICS["accuracy"]) == _said(one, METRICS["accuracy"])
    assert _said(apart, METRICS["accuracy"]) != _said(apart, plain)


def _said(study: Readings, metric: Metric) -> list[tuple[float, ...]]:
    found = mrmc(study, metric)
    return [(arm.lower, arm.upper) for arm in found.arms.values()] + [(found.pairs["a", "b"].p,)]


def test_auroc_of_one_reader_is_delongs_test() -> None:
    study = _study()
    pair = mrmc(study).pairs["a", "b"]
    assert (pair.value, pair.se, pair.p) == pytest.approx(delong_test(TRUTH, *study.rating[:, 0]), rel=1e-12)
