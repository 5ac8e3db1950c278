"""Metrics of many score vectors and their covariances."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tests.statistics.oracle import delong_covariance
from xray_tl.statistics.covariance import AUROC, METRICS, Metric, auroc, delong, mean_covariance, mean_value
from xray_tl.statistics.metrics import calibration_error

GENERATOR = np.random.default_rng(0)
TRUTH = np.arange(60) % 3 == 0
RATING = np.round(GENERATOR.normal(size=(3, 60)) + 0.8 * TRUTH, 1)  # with ties
PROBABILITY = 1 / (1 + np.exp(-RATING))


def test_areas_and_their_covariances_equal_the_definitions() -> None:
    assert auroc(TRUTH, RATING) == pytest.approx([roc_auc_score(TRUTH, row) for row in RATING])
    expected = [[delong_covariance(TRUTH, a, b) for b in RATING] for a in RATING]
    assert delong(TRUTH, RATING) == pytest.approx(np.array(expected))


def _jackknife(metric: Metric, rating: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave each case out once (Efron 1982)."""
    left_out = np.array(
        [metric.value(np.delete(TRUTH, k), np.delete(rating, k, axis=1)) for k in range(len(TRUTH))]
    )
    centred = left_out - left_out.mean(0)
    return np.asarray((len(TRUTH) - 1) / len(TRUTH) * centred.T @ centred)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.influence])
def test_influences_add_up_to_the_jackknife(name: str) -> None:
    """Of means exactly; DeLong's differs by terms of the order 1/N (here 60 cases, 20 of them positive)."""
    metric = METRICS[name]
    assert metric.influence is not None
    rating = PROBABILITY if metric.of_probabilities else RATING
    influence = metric.influence(TRUTH, rating)
    tolerance = 2 / 20 if name == "auroc" else 1e-9
    assert np.diag(influence @ influence.T) == pytest.approx(
        np.diag(_jackknife(metric, rating)), rel=tolerance
    )


def test_strata_are_averaged_and_vary_apart() -> None:
    strata = [np.arange(0, 30), np.arange(30, 60)]
    parts = [(TRUTH[rows], RATING[:, rows]) for rows in strata]
    assert mean_value(AUROC, TRUTH, RATING, strata) == pytest.approx(
        np.mean([auroc(*part) for part in parts], axis=0)
    )
    assert AUROC.influence is not None
    found = mean_covariance(AUROC.influence, TRUTH, RATING, strata, np.arange(60))
    assert found == pytest.approx(sum(delong(*part) for part in parts) / 4)


def test_two_targets_of_the_same_cases_do_not_vary_apart() -> None:
    """The same target twice is one: averaging it with itself makes nothing more certain."""
    twice = np.concatenate([np.arange(60), np.arange(60)])
    strata = [np.arange(60), np.arange(60, 120)]
    assert AUROC.influence is not None
    found = mean_covariance(AUROC.influence, TRUTH[twice], RATING[:, twice], strata, twice)
    assert found == pytest.approx(delong(TRUTH, RATING))


def test_a_covariance_does_not_know_of_what_else_is_in_the_table() -> None:
    """A product of whole matrices rounds an entry by their size, so that later seeds would change a rung."""
    truth = np.arange(600) % 2 == 0
    rating = np.random.default_rng(4).normal(size=(61, 600))
    every = np.arange(600)

    def found(count: int) -> NDArray[np.float64]:
        return mean_covariance(AUROC.influence, truth, rating[:count], [every], every)

    for count in (2, 5, 15, 16, 21, 33, 60):
        assert np.array_equal(found(count), found(61)[:count, :count])


def test_copies_of_a_patients_image_make_nothing_more_certain() -> None:
    twice = np.concatenate([np.arange(60), np.arange(60)])
    assert AUROC.influence is not None
    truth, rating, everywhere = TRUTH[twice], RATING[:, twice], np.arange(120)
    together = mean_covariance(AUROC.influence, truth, rating, [everywhere], twice)
    apart = mean_covariance(AUROC.influence, truth, rating, [everywhere], everywhere)
    assert np.diag(together) == pytest.approx(np.diag(delong(TRUTH, RATING)))
    assert np.diag(apart) == pytest.approx(np.diag(together) / 2, rel=1 / 39)


def test_images_of_one_patient_vary_together_as_simulated() -> None:
    """Four images a patient, half of a score's variance is the patient's: variance over 600 studies.

    Its own relative error is sqrt(2 / 599) = 0.058, and estimates from 40 patients a class have an
    expectation off by the order of 1 / 40: within four errors and that. Images taken for independent are far
    outside.
    """
    generator = np.random.default_rng(5)
    patients, images, studies = 80, 4, 600
    unit = np.repeat(np.arange(patients), images)
    truth = unit % 2 == 0
    areas, together, apart = np.empty((3, studies))
    for study in range(studies):
        own = generator.normal(size=patients)[unit]
        rating = (truth + np.sqrt(0.5) * (own + generator.normal(size=len(unit))))[None]
        assert AUROC.influence is not None
        everywhere = np.arange(len(unit))
        areas[study] = auroc(truth, rating)[0]
        together[study] = mean_covariance(AUROC.influence, truth, rating, [everywhere], unit)[0, 0]
        apart[study] = delong(truth, rating)[0, 0]
    assert together.mean() / areas.var() == pytest.approx(1, abs=4 * 0.058 + 1 / 40)
    assert apart.mean() / areas.var() < 0.6


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


def test_the_calibration_error_is_that_of_one_run() -> None:
    expected = [calibration_error(TRUTH.astype(float), row) for row in PROBABILITY]
    assert METRICS["ece"].value(TRUTH, PROBABILITY) == pytest.approx(expected)


def test_delong_agrees_with_another_implementation() -> None:
    stats = pytest.importorskip("MLstatkit.stats")
    from xray_tl.statistics.two_runs import delong_test

    theirs = stats.Delong_test(TRUTH.astype(int), PROBABILITY[0], PROBABILITY[1])
    assert delong_test(TRUTH, RATING[0], RATING[1])[2] == pytest.approx(theirs[1])
