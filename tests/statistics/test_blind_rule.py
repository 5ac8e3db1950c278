"""How many cases the next study needs, from variances alone."""

from dataclasses import replace

import numpy as np
import pytest

from tests.statistics.test_verdict import _estimate
from xray_tl.statistics.blind_rule import next_cases, wanted
from xray_tl.statistics.estimates import Components
from xray_tl.statistics.guarded import upper_tail
from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.simulation import Structure, simulate
from xray_tl.statistics.verdict import Pair, equivalence

PAIR: Pair = ("arm 0", "arm 1")
EQUAL = (0.85, 0.85)
LOUD = Structure(0.03, 0.3, 0.1, 0.2, 0.4)
MARGIN = 0.05


def test_the_rule_by_hand() -> None:
    """2 x 46e-6 x (2.9264 / 0.02)^2 = 1.9697 times the 1000 images; alone 3e-4 / 2 x ... for v."""
    components = Components(4e-4, 9.8e-5, 4.6e-5)
    assert wanted(components, 1000) == 1970
    assert wanted(components, 1000, margin=0.01) == pytest.approx(4 * 1970, abs=4)
    assert wanted(replace(components, shared=-1e-6), 1000) == 0
    alone = Components(float("nan"), 9.2e-5, 0.0)
    assert wanted(alone, 1000, readerless=True) == 1970, "cases may take all where there are no readers"


def test_no_difference_enters() -> None:
    """Not its size, its sign, or whether it is significant."""
    found = [next_cases({PAIR: _estimate(value)}) for value in (0.0, 0.3, -0.3)]
    assert found[0] is not None
    assert found[0] == found[1] == found[2]


def test_numbers_for_half_of_the_pairs_and_for_all() -> None:
    few, some, many = (_estimate(0.1, shared=shared) for shared in (1e-5, 2e-5, 8e-5))
    found = next_cases({("a", "b"): some, ("a", "c"): many, ("b", "c"): few})
    assert found is not None
    assert found.for_half == found.of_pairs["a", "b"]
    assert found.for_all == found.of_pairs["a", "c"]
    assert found.for_all == pytest.approx(4 * found.for_half, abs=4)
    assert (found.few_readers, found.readerless) == (False, False)
    rough = next_cases({("a", "b"): some, ("a", "c"): _estimate(0.1, readers=3)})
    assert rough is not None
    assert rough.few_readers


def test_what_tells_nothing_is_left_out() -> None:
    known = _estimate(0.1)
    one = _estimate(0.1, readers=1)
    mute = {
        "fixed cases": replace(known, random_cases=False),
        "one reader": one,
        "fixed readers": replace(known, random_readers=False),
        "nothing varies": replace(known, se=0.0),
        "negative k": _estimate(0.1, shared=-1e-5),
    }
    for name, found in mute.items():
        assert next_cases({("a", name): found}) is None, name
    for name in ("one reader", "negative k"):
        both = next_cases({("a", "b"): known, ("a", name): mute[name]})
        assert both is not None
        assert list(both.of_pairs) == [("a", "b")], f"{name}: else half of the pairs would ask for no case"
    alone = next_cases({("a", "b"): replace(one, readerless=True)})
    assert alone is not None
    assert alone.readerless


def _components(cases: int, studies: int, generator: np.random.Generator) -> Components:
    """Return the mean components of earlier studies."""
    found = [
        mrmc(simulate(EQUAL, LOUD, 8, cases // 2, cases // 2, generator)).pairs[PAIR].components
        for _ in range(studies)
    ]
    return Components(*np.mean([(part.readers, part.error, part.shared) for part in found], axis=0))


def test_with_so_many_cases_equal_arms_are_shown_to_be_in_80_percent_of_studies() -> None:
    """As many readers as make their part of the variance no larger than the cases': 400 studies.

    The rule takes the normal distribution; what the guarded tests cost with so many readers is computed from
    drawn estimates and mean squares. k is the mean of 60 earlier studies.
    """
    generator = np.random.default_rng(21)
    before = _components(400, 60, generator)
    cases = wanted(before, 400, MARGIN)
    shared = before.shared * 400 / cases
    squared = before.own + before.unshared * 400 / cases
    readers = int(np.ceil(squared / shared))
    assert readers >= 12, "else the tests are far from normal"
    shown = 0
    for _ in range(400):
        study = simulate(EQUAL, LOUD, readers, cases // 2, cases - cases // 2, generator)
        shown += equivalence(mrmc(study).pairs[PAIR], MARGIN) <= 0.05
    scale = squared / readers * generator.chisquare(readers - 1, 20_000) / (readers - 1)
    missed = np.abs(generator.normal(scale=(shared + squared / readers) ** 0.5, size=20_000))
    expected = (upper_tail(MARGIN - missed, shared, scale, readers - 1) <= 0.05).mean()
    assert 0.75 <= expected <= 0.82
    error = (0.8 * 0.2 / 400) ** 0.5
    assert shown / 400 == pytest.approx(expected, abs=3 * error)
