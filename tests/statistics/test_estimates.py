"""Shares of a variance, and what the projection to other sizes makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from tests.statistics.test_verdict import _estimate
from xray_tl.statistics.estimates import LEAST_READERS, Components, more_cases_help, projected
from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.simulation import Structure, simulate


@pytest.mark.parametrize(
    ("components", "share"),
    [
        (Components(3e-4, 2e-4, 1e-4), 1.2 / 1.6),  # images 1e-4 + 1e-4 / 5, readers 2e-4 / 5
        (Components(3e-4, 1e-4, -1e-5), 0.2 / 0.6),  # k < 0 counts as 0: images 1e-4 / 5
        (Components(5e-5, 2e-4, 1e-4), 1.0),  # S^2 below v - k: nothing is the readers' own
        (Components(3e-4, 0.0, 0.0), 0.0),
    ],
)
def test_cases_and_readers_share_the_variance(components: Components, share: float) -> None:
    assert components.cases_share(5) == pytest.approx(share)


@pytest.mark.parametrize("shared", [1e-4, -1e-5])
def test_the_share_is_what_endless_cases_take_away_and_the_present_size_changes_nothing(
    shared: float,
) -> None:
    now = _estimate(0.01, own=2e-4, error=3e-4, shared=shared)
    assert now.se**2 == pytest.approx(projected(now, now.readers, now.cases).squared)
    left = projected(now, now.readers, 10**9 * now.cases).squared
    assert 1 - now.cases_share == pytest.approx(left / now.se**2)


def test_the_readers_own_variance_is_found() -> None:
    """Over 300 studies: phi(z)^2 times the variance of (TR), for both treatments."""
    structure = Structure(0.002, 0.3, 0.3, 0.2, 0.2)
    generator = np.random.default_rng(12)
    own = [
        found.readers - found.error + found.shared  # not cut off at 0, so that it has no bias
        for _ in range(300)
        for found in [
            mrmc(simulate((0.85, 0.85), structure, 6, 60, 60, generator)).pairs["arm 0", "arm 1"].components
        ]
    ]
    expected = 2 * structure.reader * norm.pdf(norm.ppf(0.85)) ** 2
    assert np.mean(own) == pytest.approx(expected, abs=3 * np.std(own) / 300**0.5)
    assert np.mean(own) > 3 * np.std(own) / 300**0.5, "else the line above shows nothing"


def test_there_is_no_share_where_no_verdict_could_rest_on_it() -> None:
    enough = _estimate(0.01)
    assert 0 < enough.cases_share < 1
    unknown = (
        _estimate(0.01, readers=LEAST_READERS - 1),
        _estimate(0.01, readers=1),
        replace(enough, random_readers=False),
        replace(enough, random_cases=False),
        replace(enough, se=0.0),
    )
    assert all(np.isnan(found.cases_share) for found in unknown)
    assert replace(_estimate(0.01, readers=1), readerless=True).cases_share == 1


def test_what_helps_more_is_not_told_by_the_share() -> None:
    images = _estimate(0.01, own=1e-5, error=3e-4, shared=2e-4)
    seeds = _estimate(0.01, own=1e-3, error=3e-4, shared=1e-4)
    together = _estimate(0.01, own=4e-4, error=6e-4, shared=5e-5)  # most of the images' part is (v - k) / r
    assert [more_cases_help(found) for found in (images, seeds, together)] == [True, False, False]
    assert [found.cases_share > 0.5 for found in (images, seeds, together)] == [True, False, True]
