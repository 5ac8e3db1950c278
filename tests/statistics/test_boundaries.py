"""Boundaries of repeated looks: published ones, what they spend, and the way back to an overall level."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from xray_tl.statistics import boundaries
from xray_tl.statistics.boundaries import bounds, levels, overall

FIFTHS = np.arange(1, 6) / 5
INFORMATION = np.array([0.3, 0.45, 0.65, 1.0])


def test_published_bounds_are_found_to_two_thousandths() -> None:
    """Spending functions of Lan & DeMets at five equal looks, two-sided 5 %, as their programs print them."""
    each_side = 2 * norm.sf(-ndtri(0.025 / 2) / np.sqrt(FIFTHS))
    obrien_fleming = bounds(FIFTHS, 2 * each_side)
    assert obrien_fleming == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)
    pocock = bounds(FIFTHS, 0.05 * np.log(1 + (np.e - 1) * FIFTHS))
    assert pocock == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.002)


@pytest.mark.parametrize("sides", [1, 2])
def test_simulated_looks_stop_as_often_as_is_spent(sides: boundaries.Sides) -> None:
    """Of independent increments, within four standard errors, look by look."""
    alpha, draws = 0.2, 200_000
    step = np.sqrt(np.diff(INFORMATION, prepend=0))
    score = (np.random.default_rng(0).normal(size=(draws, 4)) * step).cumsum(axis=1)
    z = score / np.sqrt(INFORMATION)
    p = sides * norm.sf(np.abs(z) if sides == 2 else z)
    stopped = p <= levels(INFORMATION, alpha, sides)
    first = np.where(stopped.any(1), stopped.argmax(1), 4)
    for look, share in enumerate(np.diff(alpha * INFORMATION**3, prepend=0)):
        assert (first == look).mean() == pytest.approx(share, abs=4 * np.sqrt(share / draws))


def test_one_look_has_the_whole_level() -> None:
    for p in (0.3, 0.05, 1e-4):
        assert levels([1.0], p) == pytest.approx([p])
        assert levels([1.0], p, sides=1) == pytest.approx([p])
        assert overall(p, [1.0]) == pytest.approx(p, rel=1e-4)
    assert overall(1.0, [1.0]) == 1


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.05 / 66, 1e-8])
def test_the_overall_level_of_a_level_is_where_it_came_from(alpha: float, sides: boundaries.Sides) -> None:
    for look, level in enumerate(levels(INFORMATION, alpha, sides), 1):
        assert overall(float(level), INFORMATION[:look], sides) == pytest.approx(alpha, rel=1e-4)


def test_an_overall_level_rises_with_p_and_never_lies_below_it() -> None:
    p = np.geomspace(1e-12, 0.9, 12)
    for look in range(1, 5):
        found = [overall(float(value), INFORMATION[:look]) for value in p]
        assert (np.diff(found) > -1e-9).all()
        assert (np.array(found) >= p * (1 - 1e-9)).all()


def test_levels_of_earlier_looks_do_not_depend_on_later_ones() -> None:
    assert levels(INFORMATION[:2], 0.05) == pytest.approx(levels(INFORMATION, 0.05)[:2], rel=1e-12)


def test_looks_that_hardly_differ_are_integrated_finely_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of information down to 0.0005, against five times the nodes."""
    close = 1 - np.array([0.0125, 0.0075, 0.0045, 0.002, 0.0005, 0.0])
    found = levels(close, 0.05)
    monkeypatch.setattr(boundaries, "NODES", 1001)
    boundaries._gauss_legendre.cache_clear()
    assert levels(close, 0.05) == pytest.approx(found, rel=1e-9)
    boundaries._gauss_legendre.cache_clear()
