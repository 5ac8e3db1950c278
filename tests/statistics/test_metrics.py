"""Metrics against numbers worked out by hand, and against torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
)

from xray_tl.statistics.metrics import (
    calibration_error,
    choose_thresholds,
    negative_log_likelihood,
    summarise,
)

RNG = np.random.default_rng(0)


def _random(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = RNG.integers(0, 2, (count, 1)).astype(float)
    logit = RNG.normal(truth, 1.5)
    return truth, logit, 1 / (1 + np.exp(-logit))


def test_against_torchmetrics() -> None:
    truth, logit, probability = _random(500)
    ours = summarise(truth, logit, probability, [0.5])
    scores, labels = torch.from_numpy(probability[:, 0]), torch.from_numpy(truth[:, 0]).long()
    assert ours["auroc"] == pytest.approx(float(binary_auroc(scores, labels)), abs=1e-6)
    assert ours["average_precision"] == pytest.approx(
        float(binary_average_precision(scores, labels)), abs=1e-6
    )
    # Theirs computes in float32.
    assert ours["ece"] == pytest.approx(float(binary_calibration_error(scores, labels, n_bins=15)), abs=1e-5)


def test_by_hand() -> None:
    truth = np.array([[1.0], [1.0], [1.0], [0.0]])
    probability = np.array([[0.9], [0.6], [0.2], [0.4]])
    result = summarise(truth, np.log(probability / (1 - probability)), probability, [0.3])
    assert result["accuracy"] == 0.75
    assert result["accuracy_at_threshold"] == 0.5
    assert result["sensitivity"] == pytest.approx(2 / 3)
    assert result["specificity"] == 0
    assert result["auroc"] == pytest.approx(2 / 3)
    assert result["brier"] == pytest.approx((0.01 + 0.16 + 0.64 + 0.16) / 4)
    assert result["loss"] == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.6]).mean())


def test_auroc_ranks_logits_where_probabilities_saturate() -> None:
    logit = np.array([[50.0], [60.0]])
    assert summarise(np.array([[0.0], [1.0]]), logit, np.ones((2, 1)), [0.5])["auroc"] == 1


def test_threshold_separates_and_lies_between_the_scores() -> None:
    truth = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert choose_thresholds(truth, np.array([[0.1], [0.2], [0.6], [0.9]])) == pytest.approx([0.4])


def test_threshold_rescues_an_accuracy_that_a_shift_hides() -> None:
    truth = RNG.integers(0, 2, (400, 1)).astype(float)
    logit = RNG.normal(4 * truth, 1)  # best accuracy Phi(2) = 0.977, of 400 images +- 0.008
    shifted = 1 / (1 + np.exp(-(logit + 6)))
    result = summarise(truth, logit, shifted, choose_thresholds(truth, shifted))
    assert result["accuracy"] < 0.6
    assert result["accuracy_at_threshold"] > 0.977 - 4 * 0.008


def test_calibration_of_a_calibrated_score_shrinks_with_the_sample() -> None:
    probability = RNG.uniform(size=200_000)
    truth = (RNG.uniform(size=probability.size) < probability).astype(float)
    # Each of 15 bins misses by about sqrt(p (1 - p) / n_bin), at most 0.0044; their mean by less.
    assert calibration_error(truth, probability) < 0.0044
    assert calibration_error(1 - truth, probability) > 0.3


def test_multiclass() -> None:
    truth, probability = np.eye(3), np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    result = summarise(truth, np.log(probability), probability, [0.5] * 3, multiclass=True)
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["loss"] == pytest.approx(-np.log([0.7, 0.4, 0.8]).mean())
    assert negative_log_likelihood(truth, probability, multiclass=True) == result["loss"]
