"""Seeds that stand apart from the others of their arm."""

from dataclasses import replace

import numpy as np
import pytest

from xray_tl.statistics.apart import ENOUGH, FALSE_ALARM, stand_apart
from xray_tl.statistics.comparison import compare
from xray_tl.statistics.comparison_text import format_comparison
from xray_tl.statistics.covariance import METRICS
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.wording import Terms

MARGIN = 0.02
HEALTHY = np.array((0.88, 0.89, 0.885, 0.88, 0.892, 0.886, 0.879, 0.891, 0.884, 0.887))


def test_a_seed_or_two_that_collapsed_are_told() -> None:
    assert stand_apart(HEALTHY, MARGIN) == ()
    for seeds, low in ((4, (2,)), (5, (0,)), (5, (0, 3)), (10, (9,)), (10, (1, 7))):
        value = HEALTHY[:seeds].copy()
        value[list(low)] -= 0.3
        assert stand_apart(value, MARGIN) == low
        assert stand_apart(1.7 - value, MARGIN) == low, "either side"


@pytest.mark.parametrize("value", [[], [0.9], [0.9, 0.2], [0.9] * 5, [0.9, 0.9 + 1e-12, 0.9, 0.9]])
def test_where_nothing_varies_or_nothing_can_be_told_it_is_silent(value: list[float]) -> None:
    assert stand_apart(np.array(value), MARGIN) == ()


def test_within_the_margin_no_seed_stands_apart() -> None:
    """As at a ceiling, where most seeds are perfect and one is not quite."""
    assert stand_apart(np.array((1, 1, 1, 1, 0.985)), MARGIN) == ()
    assert stand_apart(np.array((1, 1, 1, 1, 0.5)), MARGIN) == (4,)


def test_of_four_seeds_it_is_grubbs_own_test() -> None:
    """Its published critical value for four, two-sided at 1 %: |x - mean| / SD = 1.496."""
    for distance, told in ((1.494, ()), (1.498, (3,))):
        centre = np.array((-1.0, 0.0, 1.0))
        low, high = 1.0, 1e4
        for _ in range(100):
            far = (low * high) ** 0.5
            value = np.append(centre, far)
            grubbs = (far - value.mean()) / value.std(ddof=1)
            low, high = (far, high) if grubbs < distance else (low, far)
        assert stand_apart(value, MARGIN) == told


@pytest.mark.parametrize("seeds", [3, 4, 5, 6, 8, 12, 20])
def test_of_gaussian_seeds_it_is_wrong_in_one_arm_of_a_hundred_at_most(seeds: int) -> None:
    """Three standard errors of 10 000 arms."""
    arms = np.random.default_rng(seeds).normal(size=(10_000, seeds))
    wrong = np.mean([bool(stand_apart(arm, 0.0)) for arm in arms])
    assert wrong <= FALSE_ALARM + 3 * np.sqrt(FALSE_ALARM * (1 - FALSE_ALARM) / 10_000)
    assert wrong > 0.002, "it would tell something"


def _study(seeds: int, shift: float, collapsed: tuple[int, ...] = (2,)) -> Readings:
    """Draw two arms `shift` apart, of which seeds of the first collapse to chance."""
    generator = np.random.default_rng(3)
    truth = np.arange(400) < 200
    case = generator.normal(scale=0.9, size=400)
    rating = 2.5 * truth + case + generator.normal(scale=0.4, size=(2, seeds, 400))
    rating[0] += shift * truth
    for seed in collapsed:
        rating[0, seed] = generator.normal(size=400)
    return Readings(("a", "b"), tuple(f"s{seed}" for seed in range(seeds)), truth, rating)


def test_it_is_named_and_a_verdict_of_few_seeds_carries_the_caution() -> None:
    study = _study(8, 0.0)
    worse = replace(study, rating=study.rating * [[[1.0]], [[-1.0]]])  # better even so
    for readings, cautioned in ((worse, True), (_study(8, 0.0, ()), False)):
        done = compare(readings, METRICS["auroc"])
        (verdict,) = done.verdicts.values()
        assert verdict.kind != "undecided"
        text, found = format_comparison(done, Terms("seed", "image")), done.as_json()
        (sentence,) = [
            line for line in text.splitlines() if "is better than" in line or "are equivalent" in line
        ]
        said = "; but seed s2 of a stands apart from its others, so that fewer than 12 seeds can mislead."
        assert sentence.endswith(said) == cautioned
        assert ("Seed s2 of a stands apart from its others: verdicts of fewer" in text) == cautioned
        assert found["pairs"][0]["stand_apart"] == ({"a": ["s2"]} if cautioned else {})
        assert [row["stand_apart"] for row in found["treatments"]] == [["s2"] if cautioned else [], []]


def test_with_twelve_seeds_the_verdict_stands_alone_and_the_seed_is_still_named() -> None:
    study = _study(ENOUGH, 0.0)
    done = compare(replace(study, rating=study.rating * [[[1.0]], [[-1.0]]]), METRICS["auroc"])
    assert done.apart == {"a": ("s2",)}
    assert not done.verdicts["a", "b"].apart


def test_fixed_readers_and_treatments_without_any_are_no_sample_to_stand_apart_from() -> None:
    study = _study(8, 0.0)
    assert not compare(study, METRICS["auroc"], readers="fixed").apart
    alone = replace(study, rating=np.stack([study.rating[1], study.rating[1] + 0.0]))
    alone = replace(alone, readerless=frozenset("b"))
    assert not compare(alone, METRICS["auroc"]).apart
