"""Metrics of many score vectors and their covariances."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tests.evaluation.oracle import delong_covariance
from xray_tl.evaluation.covariance import METRICS, auroc, delong, jackknife
from xray_tl.evaluation.metrics import calibration_error

GENERATOR = np.random.default_rng(0)
TRUTH = np.arange(60) % 3 == 0
RATING = np.round(GENERATOR.normal(size=(3, 60)) + 0.8 * TRUTH, 1)  # with ties
PROBABILITY = 1 / (1 + np.exp(-RATING))


def test_areas_and_their_covariances_equal_the_definitions() -> None:
    assert auroc(TRUTH, RATING) == pytest.approx([roc_auc_score(TRUTH, row) for row in RATING])
    expected = [[delong_covariance(TRUTH, a, b) for b in RATING] for a in RATING]
    assert delong(TRUTH, RATING) == pytest.approx(np.array(expected))


def test_the_jackknife_of_an_area_is_nearly_delongs() -> None:
    """They differ by terms of the order 1/N (here 60 cases, 20 of them positive)."""
    found, expected = jackknife(auroc, TRUTH, RATING), delong(TRUTH, RATING)
    assert np.diag(found) == pytest.approx(np.diag(expected), rel=2 / 20)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("brier", lambda row: brier_score_loss(TRUTH, row)),
        ("nll", lambda row: log_loss(TRUTH, row)),
        ("auroc", lambda row: roc_auc_score(TRUTH, row)),
        ("accuracy", lambda row: ((row >= 0) == TRUTH).mean()),
        ("sensitivity", lambda row: (row[TRUTH] >= 0).mean()),
        ("specificity", lambda row: (row[~TRUTH] < 0).mean()),
    ],
)
def test_metrics_equal_their_reference(name: str, reference: Callable[[NDArray[np.float64]], float]) -> None:
    metric = METRICS[name]
    rating = PROBABILITY if name in ("brier", "nll") else RATING
    assert metric.value(TRUTH, rating) == pytest.approx([reference(row) for row in rating])
    assert metric.covariance is not None
    covariance = metric.covariance(TRUTH, rating)
    assert (np.linalg.eigvalsh(covariance) > -1e-15).all()
    assert (np.diag(covariance) > 0).all()


def test_the_calibration_error_is_that_of_one_run() -> None:
    expected = [calibration_error(TRUTH.astype(float), row) for row in PROBABILITY]
    assert METRICS["ece"].value(TRUTH, PROBABILITY) == pytest.approx(expected)


def test_delong_agrees_with_another_implementation() -> None:
    stats = pytest.importorskip("MLstatkit.stats")
    from xray_tl.evaluation.two_runs import delong_test

    theirs = stats.Delong_test(TRUTH.astype(int), PROBABILITY[0], PROBABILITY[1])
    assert delong_test(TRUTH, RATING[0], RATING[1])[2] == pytest.approx(theirs[1])
