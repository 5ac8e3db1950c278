"""The guarded p value: its limits, an independent convolution, and its size, which Hillis' exceeds."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from tests.statistics.oracle import guarded_tail
from xray_tl.statistics.guarded import Spread, upper_tail
from xray_tl.statistics.verdict import holm

LEVELS = (0.05, 0.005, 0.001, 1e-4)
Array = np.ndarray


@pytest.mark.parametrize("readers", [2, 3, 5, 8, 20, 200])
def test_without_variance_of_one_kind_it_is_the_test_of_the_other(readers: int) -> None:
    """Student's t exactly where cases do not vary, the normal where readers do not; near there, nearly so."""
    df = readers - 1
    for p in (0.4, 0.05, 1e-3, 1e-5):
        student, normal = float(stats.t.isf(p, df)), float(stats.norm.isf(p))
        assert Spread(0.0, 4.0, df).beyond(2 * student) == pytest.approx(p, rel=1e-12)
        assert Spread(4.0, 0.0, float("inf")).beyond(2 * normal) == pytest.approx(p, rel=1e-12)
        assert float(upper_tail(student, 1e-20, 1.0, df)) == pytest.approx(p, rel=1e-8)
        if readers > 2:  # of two readers even the smallest variance has the tail of Cauchy's distribution
            assert float(upper_tail(normal, 1.0, 1e-20, df)) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize("readers", [2, 3, 5, 20])
def test_it_equals_a_convolution_by_other_means(readers: int) -> None:
    for k, squared, distance in ((1e-4, 3e-4, 0.0), (1e-4, 3e-4, 0.03), (4e-5, 1e-3, 0.1), (1e-3, 1e-5, 0.1)):
        found = Spread(k, squared / readers, readers - 1).beyond(distance)
        assert found == pytest.approx(guarded_tail(distance, k, squared, readers), rel=1e-7)


def test_it_equals_simulated_sums_of_both_parts() -> None:
    """Within four standard errors of a million draws."""
    generator, draws = np.random.default_rng(0), 1_000_000
    about = Spread(1.0, 0.5, 4)
    sums = generator.normal(size=draws) + np.sqrt(0.5) * generator.standard_t(4, size=draws)
    for distance in (0.5, 2.0, 4.0):
        p = about.beyond(distance)
        assert (sums >= distance).mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / draws))


def test_the_interval_is_where_the_tail_has_its_level() -> None:
    for about in (Spread(1e-4, 3e-4, 4), Spread(0, 3e-4, 4), Spread(1e-4, 0, 4), Spread(1e-6, 1e-2, 1)):
        for level in (0.5, 0.9, 0.95, 0.9999):
            assert about.beyond(about.half_width(level)) == pytest.approx((1 - level) / 2, rel=1e-6)
        assert about.beyond(0.0) == pytest.approx(0.5)
        assert about.beyond(-0.01) == pytest.approx(1 - about.beyond(0.01))


def _size(readers: int, ratio: float, level: float, by: str) -> float:
    """Return P(p <= level) of no difference, exactly but for the rule of integration over chi^2.

    Readers' differences have variance 1, and cases the variance `ratio`, which is known. Given S^2 the
    estimate is normal, and p <= level beyond a critical distance.
    """
    df = readers - 1
    quantile = (np.arange(400) + 0.5) / 400
    squared = stats.chi2.ppf(quantile, df) / df
    if by == "hillis":
        critical = [
            stats.t.isf(level / 2, df * (1 + readers * ratio / s) ** 2) * np.sqrt(ratio + s / readers)
            for s in squared
        ]
    else:
        critical = [Spread(ratio, s / readers, df).reach(level / 2) for s in squared]
    return float(np.mean(2 * ndtr(-np.array(critical) / np.sqrt(ratio + 1 / readers))))


@pytest.mark.parametrize(("readers", "ratio"), [(5, 0.02), (5, 0.1), (5, 1.0), (8, 0.1), (20, 0.1)])
def test_it_is_never_above_its_level(readers: int, ratio: float) -> None:
    for level in LEVELS:
        assert _size(readers, ratio, level, "guarded") <= 1.001 * level


@pytest.mark.slow
@pytest.mark.parametrize("readers", [2, 3, 4, 5, 6, 8, 12, 20])
def test_it_is_never_above_its_level_on_a_fine_grid(readers: int) -> None:
    for ratio in (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
        for level in LEVELS:
            assert _size(readers, ratio, level, "guarded") <= 1.001 * level


def test_hillis_exceeds_small_levels_where_seeds_are_few() -> None:
    """So that the tests above can fail: three times 0.001 with five seeds, which is where Holm looks."""
    assert _size(5, 0.1, 0.001, "hillis") == pytest.approx(0.0030, abs=0.0001)
    assert _size(5, 0.1, 0.001, "guarded") == pytest.approx(0.00050, abs=0.00001)
    assert _size(5, 0.1, 0.05, "hillis") == pytest.approx(0.0560, abs=0.001)


def test_of_seven_equal_arms_none_is_called_better_too_often() -> None:
    """Some loud, five seeds, Holm over 21 pairs; three standard errors of 3 000 Gaussian studies."""
    generator, studies, seeds = np.random.default_rng(1), 3000, 5
    own = np.array((0.045, 0.030, 0.020, 0.045, 0.011, 0.019, 0.076))
    k = 4e-5
    arm = own[:, None] * generator.normal(size=(studies, len(own), seeds))
    arm += np.sqrt(k / 2) * generator.normal(size=(studies, len(own), 1))
    low, high = np.triu_indices(len(own), 1)
    difference = arm[:, low] - arm[:, high]
    mean, squared = np.abs(difference.mean(-1)), difference.var(-1, ddof=1)
    guarded = 2 * upper_tail(mean, k, squared / seeds, seeds - 1)
    se = np.sqrt(k + squared / seeds)
    hillis = 2 * stats.t.sf(mean / se, (seeds - 1) * (1 + k * seeds / squared) ** 2)
    rates = [float(np.mean([min(holm(row)) <= 0.05 for row in found])) for found in (guarded, hillis)]
    slack = 3 * np.sqrt(0.05 * 0.95 / studies)
    assert rates[0] <= 0.05 + slack
    assert rates[1] > 0.05 + slack, "else the check above shows nothing"
