"""Readers and cases drawn again together."""

from dataclasses import replace

import numpy as np
import pytest

from xray_tl.errors import InputError
from xray_tl.statistics.bootstrap import NO_DRAW, TwoWayBootstrap
from xray_tl.statistics.comparison import compare
from xray_tl.statistics.comparison_text import format_comparison
from xray_tl.statistics.covariance import ACCURACY, AUROC, BRIER, ECE, SENSITIVITY, SPECIFICITY, Metric
from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.simulation import STRUCTURES, NestedArm, simulate, simulate_nested
from xray_tl.statistics.wording import Terms

PAIR = {"arm 0": 1.0, "arm 1": -1.0}


def _study(readers: int = 6, cases: int = 100) -> Readings:
    return simulate((0.8, 0.87), STRUCTURES["LH"], readers, cases, cases, np.random.default_rng(3))


def test_its_width_is_near_that_of_the_analysis() -> None:
    """Same variances, estimated twice: 1 000 resamples give a standard error to 2 %, the model differs more.

    Resampling readers with replacement loses a factor (r - 1) / r of their variance, and counts the case
    variance within readers twice: together within a quarter.
    """
    study = _study()
    value, lower, upper = TwoWayBootstrap(study, AUROC, seed=0).contrast(PAIR)
    expected = mrmc(study).pairs["arm 0", "arm 1"]
    assert value == pytest.approx(expected.value)
    assert (upper - lower) / (2 * 1.96 * expected.se) == pytest.approx(1, abs=0.25)


def test_readers_are_drawn_too() -> None:
    study = _study()
    cells = study.rating.copy()
    cells[0, :3, study.truth] += 2.0  # half of the readers see much more with treatment 0
    uneven = Readings(study.treatments, study.readers, study.truth, cells)
    _, low, high = TwoWayBootstrap(uneven, AUROC, seed=0).contrast(PAIR)
    _, low_even, high_even = TwoWayBootstrap(study, AUROC, seed=0).contrast(PAIR)
    assert high - low > 1.5 * (high_even - low_even)


def test_readers_of_one_group_are_drawn_together() -> None:
    """Five groups of SD 0.05 a treatment, four readers each: drawn one by one, it is half as wide or less."""
    arms = (NestedArm(0.85, 0.05, 0.002), NestedArm(0.8, 0.05, 0.002))
    study = simulate_nested(arms, 5, 4, 1000, np.random.default_rng(0))
    value, low, high = TwoWayBootstrap(study, AUROC, seed=0, resamples=200).contrast(PAIR)
    assert value == pytest.approx(mrmc(study).pairs["arm 0", "arm 1"].value)
    _, narrow_low, narrow_high = TwoWayBootstrap(
        replace(study, group=None), AUROC, seed=0, resamples=200
    ).contrast(PAIR)
    assert high - low > 1.5 * (narrow_high - narrow_low)
    single = simulate_nested(arms, 5, 1, 100, np.random.default_rng(0))
    plain = replace(single, group=None)
    found, expected = (
        TwoWayBootstrap(s, AUROC, seed=0, resamples=50).contrast(PAIR) for s in (single, plain)
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_it_is_there_for_metrics_without_a_formula() -> None:
    study = _study(readers=3, cases=40)
    probability = 1 / (1 + np.exp(-study.rating))
    calibration = Readings(study.treatments, study.readers, study.truth, probability)
    value, lower, upper = TwoWayBootstrap(calibration, ECE, seed=0, resamples=200).contrast({"arm 0": 1.0})
    assert 0 <= lower < upper
    assert 0 < value < 1
    again = TwoWayBootstrap(calibration, ECE, seed=0, resamples=200).contrast({"arm 0": 1.0})
    assert (value, lower, upper) == again


def test_an_interval_is_never_turned_around() -> None:
    """By luck perfectly calibrated: every resample is worse, and twice 0 less that is below the least ECE."""
    truth = np.arange(40) % 4 == 0
    truth[20:] = ~truth[20:]
    probability = np.where(np.arange(40) < 20, 0.25, 0.75)[None, None]
    study = Readings(("arm",), ("0",), truth, probability)
    value, low, high = TwoWayBootstrap(study, ECE, seed=0, resamples=100).contrast({"arm": 1.0})
    assert (value, low, high) == (pytest.approx(0), 0, 0)


def test_images_of_one_patient_are_drawn_together() -> None:
    """Every image twice: drawn apart, they halve a variance that they do not halve drawn as one patient's.

    Two widths of 400 resamples each are known to about 5 %: their ratio, sqrt(2), to 7 %, of which two.
    """
    study = _study(readers=2, cases=60)
    probability = 1 / (1 + np.exp(-study.rating))
    twice = np.concatenate([np.arange(120)] * 2)
    doubled = replace(study, truth=study.truth[twice], rating=probability[..., twice])
    widths = []
    for unit in (None, twice):
        _, lower, upper = TwoWayBootstrap(replace(doubled, unit=unit), BRIER, seed=0, resamples=400).contrast(
            {"arm 0": 1.0}
        )
        widths.append(upper - lower)
    assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.14)


def _few_positive(positive: int = 3, both: int = 1) -> Readings:
    """Return a study of 40 patients with two images each, of whom few have a positive one."""
    study = simulate((0.8, 0.87), STRUCTURES["LH"], 3, 2 * positive + both, 80 - 2 * positive - both,
                     np.random.default_rng(4))  # fmt: skip
    unit = np.concatenate([np.arange(2 * positive) // 2, positive + np.arange(both)])
    rest = np.arange(80 - 2 * positive - both)  # first the other image of those who have both
    other = np.where(rest < both, positive + rest, positive + both + (rest - both) // 2)
    return replace(study, unit=np.concatenate([unit, other]))


@pytest.mark.parametrize(("positive", "both"), [(3, 1), (2, 0), (1, 1), (1, 4), (0, 2)])
@pytest.mark.parametrize("metric", [AUROC, SENSITIVITY, SPECIFICITY, BRIER], ids=lambda metric: metric.name)
def test_no_draw_of_patients_lacks_a_class(positive: int, both: int, metric: Metric) -> None:
    study = _few_positive(positive, both)
    if metric is BRIER:
        study = replace(study, rating=1 / (1 + np.exp(-study.rating)))
    drawn = TwoWayBootstrap(study, metric, seed=0, resamples=200)
    assert np.isfinite(drawn._value).all()
    _, lower, upper = drawn.contrast({"arm 0": 1.0})
    assert lower < upper or metric is SENSITIVITY, "it varies, though two may be found by every reader"


def test_a_fold_s_cases_are_drawn_within_it() -> None:
    """Each fold has two positive cases: drawn from all of them, most draws leave one without."""
    study = simulate((0.8, 0.87), STRUCTURES["LH"], 3, 10, 50, np.random.default_rng(4))
    fold = np.concatenate([np.arange(10) // 2, np.arange(50) % 5])
    drawn = TwoWayBootstrap(replace(study, stratum=fold), SENSITIVITY, seed=0, resamples=100)
    assert np.isfinite(drawn._value).all()


def test_draws_of_patients_with_several_targets_have_both_classes_of_each() -> None:
    """Of each of three targets two of 30 patients have it: a draw of all 30 lacks it in 13 %."""
    study = simulate((0.8, 0.87), STRUCTURES["LH"], 2, 6, 84, np.random.default_rng(4))
    target, patient = np.arange(90) % 3, np.arange(90) // 3
    drawn = TwoWayBootstrap(
        replace(study, stratum=target, case=patient, unit=patient), AUROC, seed=0, resamples=300
    )
    assert drawn.possible
    assert np.isfinite(drawn._value).all()


def test_what_no_draw_can_have_is_said_and_not_nan() -> None:
    """Of a hundred targets each has two positive patients: no draw has them all."""
    truth = np.concatenate([np.arange(40) // 2 == target % 20 for target in range(100)])
    patient, target = np.tile(np.arange(40), 100), np.arange(4000) // 40
    rating = np.random.default_rng(0).normal(size=(2, 2, 4000)) + truth
    study = Readings(("a", "b"), ("0", "1"), truth, rating, frozenset(), target, patient, patient)
    done = compare(study, ACCURACY)
    assert (done.resampled, done.notes) == ({}, (NO_DRAW,))
    text = format_comparison(done, Terms(metric="accuracy"))
    assert NO_DRAW in text
    assert "nan" not in text
    assert done.as_json()["notes"] == [NO_DRAW]


def test_arms_without_a_common_reader_cannot_be_compared() -> None:
    study = _study(readers=2, cases=10)
    rating = study.rating.copy()
    rating[0, 0] = rating[1, 1] = np.nan
    split = Readings(study.treatments, study.readers, study.truth, rating)
    with pytest.raises(InputError, match="no reader used all of arm 0, arm 1"):
        TwoWayBootstrap(split, AUROC, seed=0, resamples=2).contrast(PAIR)
