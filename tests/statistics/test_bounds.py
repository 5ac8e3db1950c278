"""Areas with soft truth, the bounds of a posterior, and a classifier set against them."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.special import expit, ndtr
from sklearn.metrics import roc_auc_score

from xray_tl.statistics.bounds import Array, _resampled, against_ceiling, bounds, weighted_auroc


def binormal(images: int, d: float, seed: int) -> tuple[Array, Array]:
    """Labels, and the ideal log-odds of a feature with unit variance and means d apart."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(images) < 0.5).astype(float)
    feature = generator.normal(size=images) + d * truth
    return truth, d * (feature - d / 2)


def brute_force(positive: Array, score: Array, weight: Array) -> float:
    wins = pairs = 0.0
    for i, j in product(range(len(score)), repeat=2):
        if i == j:
            continue
        pair = weight[i] * weight[j] * positive[i] * (1 - positive[j])
        pairs += pair
        wins += pair * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return wins / pairs


def test_areas_are_those_of_all_pairs() -> None:
    generator = np.random.default_rng(0)
    score = generator.integers(0, 8, size=30).astype(float)  # with ties
    soft = generator.random(30)
    hard = (soft > 0.4).astype(float)
    ones = np.ones(30)
    weight = generator.integers(0, 4, size=(3, 30)).astype(float)
    assert weighted_auroc(hard, score)[0] == pytest.approx(roc_auc_score(hard, score), abs=1e-12)
    for positive in (hard, soft):
        area, _ = weighted_auroc(positive, score)
        assert area == pytest.approx(brute_force(positive, score, ones), abs=1e-12)
        expected = [brute_force(positive, score, row) for row in weight]
        np.testing.assert_allclose(_resampled(weight, positive, score), expected, atol=1e-12)


def test_the_standard_error_is_delongs() -> None:
    truth, score = binormal(60, 1.0, seed=1)
    positive, negative = score[truth == 1], score[truth == 0]
    wins = (positive[:, None] > negative[None]).astype(float)
    # DeLong, DeLong & Clarke-Pearson 1988, with m and n in place of m - 1 and n - 1
    expected = wins.mean(1).var() / len(positive) + wins.mean(0).var() / len(negative)
    assert weighted_auroc(truth, score)[1] == pytest.approx(math.sqrt(expected), rel=1e-9)


def test_the_standard_error_of_a_soft_area_is_its_spread() -> None:
    logits = [binormal(200, 1.5, seed)[1] for seed in range(400)]
    areas, errors = zip(*(weighted_auroc(expit(logit), logit) for logit in logits), strict=True)
    # the relative error of a standard deviation from 400 draws is 1 / sqrt(800): 3.5 %
    assert np.std(areas) == pytest.approx(np.mean(errors), rel=4 / math.sqrt(800))
    assert np.mean(areas) == pytest.approx(ndtr(1.5 / math.sqrt(2)), abs=4 * np.std(areas) / 20)


def test_bounds_of_a_binormal_feature() -> None:
    _, logit = binormal(40_000, 2.0, seed=2)
    best = bounds(logit)
    x = np.linspace(-9, 11, 40_001)
    density = (np.exp(-(x**2) / 2) + np.exp(-((x - 2) ** 2) / 2)) / 2 / math.sqrt(2 * math.pi)
    p = expit(2 * (x - 1))
    entropy = -(p * np.log(np.clip(p, 1e-300, 1)) + (1 - p) * np.log(np.clip(1 - p, 1e-300, 1)))
    step = x[1] - x[0]
    for name, expected in (
        ("auroc", ndtr(math.sqrt(2))),
        ("accuracy", ndtr(1.0)),
        ("nll", (density * entropy).sum() * step),
        ("brier", (density * p * (1 - p)).sum() * step),
    ):
        assert abs(best[name] - expected) < 4 * best[f"{name}_se"], name


def test_bounds_of_certain_posteriors_are_finite() -> None:
    best = bounds(np.array([-np.inf, -900.0, 900.0, np.inf]))
    assert (best["auroc"], best["accuracy"], best["nll"], best["brier"]) == (1.0, 1.0, 0.0, 0.0)


def test_efficiency_of_a_noisy_ideal_observer() -> None:
    # Noise of variance v on the feature leaves (1 / sqrt(1 + v))^2 of the squared detectability.
    covered = 0
    for seed in range(12):
        truth, logit = binormal(800, 2.0, seed)
        noise = np.random.default_rng(1000 + seed).normal(size=800)
        result = against_ceiling(truth, logit / 2 + noise, logit, seed=0)
        covered += result["efficiency_ci"][0] < 0.5 < result["efficiency_ci"][1]
        assert not result["above_ceiling"]
    assert covered >= 9, "fewer has a probability of 0.2 % at 95 % coverage"


def test_chance_is_near_0_and_the_wrong_way_round_below() -> None:
    truth, logit = binormal(1000, 2.0, seed=5)
    guess = against_ceiling(truth, np.random.default_rng(0).normal(size=1000), logit, seed=0)
    assert abs(guess["efficiency"]) < 0.02
    reverse = against_ceiling(truth, -logit, logit, seed=0)
    assert reverse["efficiency"] < -0.8


def test_a_score_that_knows_the_label_is_above_the_ceiling() -> None:
    truth, logit = binormal(300, 1.0, seed=6)
    cheat = against_ceiling(truth, truth + np.random.default_rng(0).normal(size=300) / 3, logit, seed=0)
    assert cheat["above_ceiling"]
    assert cheat["excess_ci"][0] > 0
    assert all(math.isfinite(value) for value in (cheat["efficiency"], *cheat["efficiency_ci"]))
    same = against_ceiling(truth, logit, logit, seed=0)
    assert same["excess_ci"] == [0.0, 0.0]
    assert not same["above_ceiling"]


def test_few_images_give_numbers_and_no_warning() -> None:
    # In some resamples the ideal observer is at chance: they have no efficiency and are left out.
    truth, logit = binormal(12, 0.1, seed=3)
    result = against_ceiling(truth, logit, logit, seed=0)
    assert all(math.isfinite(value) for value in (*result["efficiency_ci"], *result["excess_ci"]))
