"""Multi-reader multi-case analysis: a published study, an independent oracle, and simulated truth."""

import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.statistics.oracle import guarded, obuchowski_rockette
from xray_tl.errors import InputError
from xray_tl.statistics.covariance import ACCURACY, AUROC, BRIER, ECE, NLL, Metric, auroc, delong
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.mrmc import cells, mrmc, two_treatment_table
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.simulation import STRUCTURES, NestedArm, simulate, simulate_nested

PAIR = ("arm 0", "arm 1")


def _study(readers: int = 4, cases: int = 40, seed: int = 0, ties: bool = False) -> Readings:
    drawn = simulate(
        (0.8, 0.87), STRUCTURES["LH"], readers, cases // 2, cases // 2, np.random.default_rng(seed)
    )
    return _with(drawn, np.round(drawn.rating) if ties else drawn.rating)


def _with(study: Readings, rating: np.ndarray, readerless: frozenset[str] = frozenset()) -> Readings:
    return Readings(study.treatments, study.readers, study.truth, rating, readerless)


@pytest.mark.skipif("XRAY_TL_VANDYKE" not in os.environ, reason="XRAY_TL_VANDYKE names no file")
def test_the_published_table_is_reproduced() -> None:
    """Van Dyke 1993, as analysed in the guide of MRMCaov: empirical AUC, DeLong, random readers and cases."""
    study = Readings.of_table(pd.read_csv(os.environ["XRAY_TL_VANDYKE"]))
    analysis = mrmc(study)
    difference = analysis.pairs["1", "2"]
    assert difference.value == pytest.approx(-0.04380032, abs=1e-6)
    assert difference.se == pytest.approx(0.0206825, abs=1e-6)
    hillis = difference.hillis
    assert hillis.df == pytest.approx(15.06611, abs=1e-4)  # given to five decimals
    assert hillis.p == pytest.approx(0.05123303, abs=1e-6)
    assert (hillis.lower, hillis.upper) == pytest.approx((-0.0878671960, 0.0002665519), abs=1e-6)
    one, two = analysis.arms["1"], analysis.arms["2"]
    assert (one.value, two.value) == pytest.approx((0.8970370, 0.9408374), abs=1e-6)
    assert (one.hillis.lower, one.hillis.upper) == pytest.approx((0.8253461, 0.9687280), abs=1e-6)
    assert (two.hillis.lower, two.hillis.upper) == pytest.approx((0.8942155, 0.9874592), abs=1e-6)
    table = two_treatment_table(cells(study), "1", "2")
    published = {"cov1": 0.0003420090, "cov2": 0.0003395265, "cov3": 0.0002358497, "error": 0.0007921325}
    assert {key: table[key] for key in published} == pytest.approx(published, abs=1e-6)
    # Beside them what this project judges by, from the published components.
    shared = 2 * (published["cov2"] - published["cov3"])
    squared = 5 * (0.0206825**2 - shared)
    expected = guarded(-0.04380032, shared, squared, 5)
    assert difference.p == pytest.approx(expected["guarded_p"], abs=1e-5)
    found = (difference.lower, difference.upper)
    assert found == pytest.approx((expected["guarded_lower"], expected["guarded_upper"]), abs=1e-5)
    assert difference.p > hillis.p
    assert difference.lower < hillis.lower < hillis.upper < difference.upper


@pytest.mark.parametrize("ties", [False, True])
def test_a_pair_equals_the_textbook_by_loops(ties: bool) -> None:
    study = _study(ties=ties)
    pair, expected = mrmc(study).pairs[PAIR], obuchowski_rockette(study.truth, study.rating)
    found = {"value": pair.value, "se": pair.se, **asdict(pair.hillis)}
    found |= {f"guarded_{key}": getattr(pair, key) for key in ("lower", "upper", "p")}
    assert found == pytest.approx(expected, rel=1e-9)


def test_each_pair_uses_its_own_arms_alone() -> None:
    study = simulate((0.7, 0.8, 0.95), STRUCTURES["HL"], 4, 20, 20, np.random.default_rng(2))
    two = Readings(study.treatments[:2], study.readers, study.truth, study.rating[:2])
    assert mrmc(study).pairs[PAIR] == mrmc(two).pairs[PAIR]


def test_fixed_readers_leave_the_variance_of_their_mean_score_over_cases() -> None:
    study = _study()
    fixed = mrmc(study, readers="fixed").pairs[PAIR]
    covariance = delong(study.truth, study.rating.reshape(-1, len(study.truth)))
    weight = np.repeat((1, -1), 4) / 4
    assert fixed.se**2 == pytest.approx(weight @ covariance @ weight)
    assert fixed.hillis.df == np.inf
    normal = stats.norm(fixed.value, fixed.se)
    assert (fixed.lower, fixed.upper) == pytest.approx(normal.interval(0.95))
    assert (fixed.p, fixed.hillis.p) == pytest.approx((2 * stats.norm.sf(abs(fixed.value) / fixed.se),) * 2)
    assert not fixed.random_readers


def test_fixed_cases_leave_a_paired_t_test_over_readers() -> None:
    study = _study()
    found = mrmc(study, cases="fixed").pairs[PAIR]
    one, two = cells(study).value
    expected = stats.ttest_rel(one, two)
    assert (found.p, found.hillis.p, found.hillis.df) == pytest.approx((expected.pvalue, expected.pvalue, 3))
    interval = expected.confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    with pytest.raises(InputError, match="cannot both be fixed"):
        mrmc(study, readers="fixed", cases="fixed")


def test_one_reader_says_nothing_of_others() -> None:
    study = _study(readers=1)
    found = mrmc(study).pairs[PAIR]
    covariance = delong(study.truth, study.rating[:, 0])
    assert found.se**2 == pytest.approx(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert not found.random_readers
    assert np.isnan(found.components.readers)


def test_a_treatment_without_readers_brings_no_reader_variance() -> None:
    study = _study(readers=5)
    rating = study.rating.copy()
    rating[1] = rating[1, 0]
    found = mrmc(_with(study, rating, frozenset({"arm 1"})))
    alone = found.arms["arm 1"]
    assert alone.readers == 1
    assert alone.se**2 == pytest.approx(delong(study.truth, rating[1, :1])[0, 0])
    # Reader variance of the other arm alone; case variance of the difference.
    values = auroc(study.truth, rating[0])
    covariance = delong(study.truth, rating[:, :].reshape(-1, len(study.truth)))
    a, ab, b = covariance[:5, :5], covariance[:5, 5], covariance[5, 5]
    between_readers = (a.sum() - np.trace(a)) / 20
    expected = values.var(ddof=1) / 5 + max(between_readers + b - 2 * ab.mean(), 0)
    pair = found.pairs[PAIR]
    assert pair.se**2 == pytest.approx(expected)
    assert (pair.readers, pair.random_readers, pair.readerless) == (5, True, False)
    assert alone.readerless


def test_a_pair_takes_the_readers_that_both_arms_have() -> None:
    study = _study(readers=5)
    rating = study.rating.copy()
    rating[1, 4] = np.nan
    found = mrmc(_with(study, rating))
    assert (found.arms["arm 0"].readers, found.pairs[PAIR].readers) == (5, 4)
    four = Readings(study.treatments, study.readers[:4], study.truth, study.rating[:, :4])
    assert found.pairs[PAIR] == mrmc(four).pairs[PAIR]


def test_arms_without_a_common_reader_are_no_pair() -> None:
    study = _study(readers=2)
    rating = study.rating.copy()
    rating[0, 0] = rating[1, 1] = np.nan
    assert not mrmc(_with(study, rating)).pairs
    with pytest.raises(InputError, match="no reader used all of"):
        cells(_with(study, rating)).contrast({"arm 0": 1, "arm 1": -1})


def _nested(draws: int = 5, seeds: int = 3, cases: int = 60) -> Readings:
    arms = (NestedArm(0.85, 0.02, 0.01), NestedArm(0.8, 0.03, 0.02))
    return simulate_nested(arms, draws, seeds, cases, np.random.default_rng(8))


def test_groups_of_one_reader_change_nothing() -> None:
    study = _nested(seeds=1)
    plain = mrmc(replace(study, group=None, readers=study.draws))
    assert study.group is not None
    for found, expected in zip(
        (*mrmc(study).arms.values(), *mrmc(study).pairs.values()),
        (*plain.arms.values(), *plain.pairs.values()),
        strict=True,
    ):
        one, other = (np.nan_to_num(list(_numbers(estimate))) for estimate in (found, expected))
        assert one == pytest.approx(other, rel=1e-12, abs=1e-12)


def _numbers(estimate: Estimate) -> Iterator[float]:
    for value in (asdict(estimate) | asdict(estimate.hillis) | asdict(estimate.components)).values():
        if isinstance(value, float | int):
            yield float(value)


def test_a_balanced_nested_design_has_the_error_of_its_analysis_of_variance() -> None:
    """SE^2 = MSB / (W S) + k; k: mean covariance over cases of two draws' mean differences, run by run."""
    study = _nested()
    truth, rating = study.truth, study.rating
    difference = auroc(truth, rating[0]) - auroc(truth, rating[1])
    means = difference.reshape(5, 3).mean(1)
    between = 3 * ((means - difference.mean()) ** 2).sum() / 4
    runs = list(np.ndindex(5, 3))

    def covariance(first: int, second: int) -> float:
        return sum(
            sign_a * sign_b * float(delong(truth, np.stack((rating[a, first], rating[b, second])))[0, 1])
            for a, sign_a in ((0, 1), (1, -1))
            for b, sign_b in ((0, 1), (1, -1))
        )

    shared = np.mean(
        [
            covariance(one, other)
            for one, (draw, _) in enumerate(runs)
            for other, (second, _) in enumerate(runs)
            if draw != second
        ]
    )
    found = mrmc(study).pairs[PAIR]
    assert (found.value, found.readers) == (pytest.approx(difference.mean()), 5)
    assert found.se**2 == pytest.approx(between / 15 + max(shared, 0), rel=1e-9)
    assert mrmc(study, cases="fixed").pairs[PAIR].se ** 2 == pytest.approx(between / 15, rel=1e-9)


def test_a_group_gives_each_treatment_the_mean_of_its_own_readers() -> None:
    """The first arm lacks one run of draw 0, the second all runs of draw 1."""
    study = _nested()
    rating = study.rating.copy()
    rating[0, 0] = rating[1, 3:6] = np.nan
    uneven = replace(study, rating=rating)
    area = [auroc(study.truth, study.rating[row]).reshape(5, 3) for row in range(2)]
    computed = cells(uneven)
    assert computed.value[0] == pytest.approx([area[0][0, 1:].mean(), *area[0][1:].mean(1)])
    assert np.isnan(computed.value[1]).tolist() == [False, True, False, False, False]
    found = mrmc(uneven).pairs[PAIR]
    kept = [0, 2, 3, 4]
    expected = (computed.value[0] - area[1].mean(1))[kept]
    assert (found.readers, found.value) == (4, pytest.approx(expected.mean()))
    assert found.components.readers == pytest.approx(expected.var(ddof=1))


def test_an_interaction_is_a_difference_of_differences() -> None:
    study = simulate((0.7, 0.8, 0.85, 0.9), STRUCTURES["LH"], 5, 40, 40, np.random.default_rng(4))
    weights = {"arm 0": 1.0, "arm 1": -1.0, "arm 2": -1.0, "arm 3": 1.0}
    found = cells(study).contrast(weights)
    by_reader = np.array([1, -1, -1, 1]) @ cells(study).value
    assert found.value == pytest.approx(by_reader.mean())
    assert found.components.readers == pytest.approx(by_reader.var(ddof=1))
    with pytest.raises(InputError, match="treatment arm 9 is not in the study"):
        cells(study).contrast({"arm 9": 1})


def test_the_order_of_cases_and_any_rising_scale_do_not_matter() -> None:
    study = _study()
    order = np.random.default_rng(1).permutation(len(study.truth))
    shuffled = Readings(study.treatments, study.readers, study.truth[order], np.exp(study.rating[..., order]))
    one, other = mrmc(study).pairs[PAIR], mrmc(shuffled).pairs[PAIR]
    assert (one.value, one.se, one.p) == pytest.approx((other.value, other.se, other.p))


def test_the_jackknife_of_a_proportion_is_its_binomial_variance() -> None:
    study = _study(readers=2)
    found = cells(study, ACCURACY)
    right = (study.rating >= 0) == study.truth
    expected = right.reshape(4, -1).var(axis=1, ddof=1) / len(study.truth)
    assert np.diag(found.covariance.reshape(4, 4)) == pytest.approx(expected)
    with pytest.raises(InputError, match="ece has no case variance but by the bootstrap"):
        cells(study, ECE)


@pytest.mark.parametrize("metric", [BRIER, NLL])
def test_a_loss_of_what_is_no_probability_is_refused(metric: Metric) -> None:
    with pytest.raises(InputError, match=f"metric={metric.name} needs ratings that are probabilities"):
        cells(_study(), metric)


def test_memory_does_not_grow_with_the_square_of_the_cases() -> None:
    study = _study(readers=6, cases=20_000)
    tracemalloc.start()
    mrmc(study)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * study.rating.nbytes < 20_000**2 * 8 / 50  # a square of cases would be 3.2 GB


def _covered(estimates: list[Estimate], truth: float) -> int:
    return sum(estimate.lower <= truth <= estimate.upper for estimate in estimates)


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_the_interval_covers_simulated_truth(name: str) -> None:
    """Coverage of 200 studies: between 92.5 and 97.5 %, give or take 3 standard errors of 200."""
    generator = np.random.default_rng(5)
    found = [
        mrmc(simulate((0.8, 0.86), STRUCTURES[name], 5, 50, 50, generator), AUROC).pairs[PAIR]
        for _ in range(200)
    ]
    slack = 3 * np.sqrt(0.95 * 0.05 / 200)
    assert 0.925 - slack <= _covered(found, -0.06) / 200 <= 0.975 + slack


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STRUCTURES))
@pytest.mark.parametrize(("readers", "cases"), [(5, 100), (6, 400)])
def test_coverage_and_false_positives_of_many_studies(name: str, readers: int, cases: int) -> None:
    """2 000 studies a structure, without and with a difference."""
    generator = np.random.default_rng(6)
    half = cases // 2
    for aurocs in ((0.85, 0.85), (0.80, 0.86)):
        found = [
            mrmc(simulate(aurocs, STRUCTURES[name], readers, half, half, generator)).pairs[PAIR]
            for _ in range(2000)
        ]
        truth = aurocs[0] - aurocs[1]
        assert 0.925 <= _covered(found, truth) / 2000 <= 0.975
        if truth == 0:
            significant = sum(estimate.p <= 0.05 for estimate in found) / 2000
            assert significant <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_a_t_test_over_seeds_alone_is_fooled_where_cases_are_few() -> None:
    """Under the null, cases shared by all seeds move their differences together: the t test rejects often."""
    generator = np.random.default_rng(7)
    naive = sound = 0
    for _ in range(300):
        study = simulate((0.85, 0.85), STRUCTURES["HL"], 5, 50, 50, generator)
        one, two = auroc(study.truth, study.rating[0]), auroc(study.truth, study.rating[1])
        naive += stats.ttest_rel(one, two).pvalue <= 0.05
        sound += mrmc(study).pairs[PAIR].p <= 0.05
    slack = 3 * np.sqrt(0.05 * 0.95 / 300)
    assert naive / 300 > 0.05 + slack
    assert sound / 300 <= 0.05 + slack


def test_folds_are_compared_within_themselves_alone() -> None:
    """Scores of two networks have no common scale: pooled, a shift between folds would hide every ranking."""
    study = _study()
    fold = np.arange(len(study.truth)) % 3
    folded = replace(study, stratum=fold)
    shifted = replace(folded, rating=study.rating + 10.0 * fold)
    expected = np.mean(
        [auroc(study.truth[fold == k], study.rating[0][:, fold == k]) for k in range(3)], axis=0
    )
    assert cells(folded).value[0] == pytest.approx(expected)
    assert mrmc(shifted).pairs[PAIR] == mrmc(folded).pairs[PAIR]
    pooled = replace(study, rating=shifted.rating)
    assert abs(mrmc(pooled).arms["arm 1"].value - mrmc(study).arms["arm 1"].value) > 0.1


def test_the_estimate_counts_images_and_varies_by_patient() -> None:
    study = _study()
    twice = np.concatenate([np.arange(len(study.truth))] * 2)
    doubled = Readings(
        study.treatments, study.readers, study.truth[twice], study.rating[..., twice], unit=twice
    )
    one, two = mrmc(study).pairs[PAIR], mrmc(doubled).pairs[PAIR]
    assert (one.cases, two.cases) == (len(study.truth), 2 * len(study.truth))
    assert two.value == pytest.approx(one.value)
    assert two.se == pytest.approx(one.se)
