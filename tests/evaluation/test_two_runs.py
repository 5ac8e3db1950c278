"""One run against another."""

import numpy as np
import pytest
from scipy import stats

from tests.evaluation.oracle import auroc, delong_covariance
from xray_tl.evaluation.two_runs import delong_test, mcnemar_test, wilson

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
