"""The path over penalties: that of a plain loop over folds, and the choice that it leads to."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from tests.training.probe_problems import (
    ROWS,
    Array,
    Shape,
    drawn_truth,
    one_hot,
    plain,
    scikit_learn,
    steep,
    wide,
)
from xray_tl.training import penalty_path
from xray_tl.training.linear_probe import GRADIENT, GRID, solve_probe
from xray_tl.training.patient_folds import patient_folds
from xray_tl.training.penalty_path import PATH_GRADIENT


def _brute_force(
    features: Array, truth: Array, weights: Array, folds: NDArray[np.int64], grid: Array
) -> tuple[Array, Array]:
    """Return held-out loss and AUROC of a binary target, fold by fold, with scikit-learn's solutions."""
    losses, areas = np.zeros(len(grid)), np.zeros(len(grid))
    for g, penalty in enumerate(grid):
        for fold in np.unique(folds):
            held = folds == fold
            model = scikit_learn(features[~held], truth[~held, 0], weights[~held, 0], penalty)
            logit = model.decision_function(features[held])
            each = np.logaddexp(0, logit) - truth[held, 0] * logit
            losses[g] += (weights[held, 0] * each).sum() / len(truth)
            areas[g] += roc_auc_score(truth[held, 0], logit) / len(np.unique(folds))
    return losses, areas


@pytest.mark.parametrize("shape", [plain, wide, steep])
def test_the_chosen_penalty_is_that_of_a_plain_loop(shape: Shape) -> None:
    rng = np.random.default_rng(11)
    features = shape(rng)
    truth = drawn_truth(rng, features)
    weights = np.where(truth > 0.5, 1.4, 0.7)
    folds = patient_folds(truth, [f"p{i // 2}" for i in range(ROWS)], "binary")
    assert folds is not None
    probe = solve_probe(features, truth, weights, "binary", folds, grid=GRID[::2])
    losses, areas = _brute_force(features, truth, weights, folds, probe.grid)
    assert probe.held_out_loss is not None
    assert probe.held_out_auroc is not None
    # The path stops at a gradient of PATH_GRADIENT: at penalty l, weights are off by that over l at most, a
    # row's logit by that times its length, and the loss by no more than the logit times the largest weight.
    length = np.sqrt((np.linalg.norm(features, axis=1) + 1).max() ** 2 + 1)
    assert (
        np.abs(probe.held_out_loss[:, 0] - losses) <= 1.4 * PATH_GRADIENT / probe.grid * length + 1e-9
    ).all()
    assert probe.penalty[0] == probe.grid[losses.argmin()]
    assert probe.held_out_auroc[:, 0] == pytest.approx(areas, abs=1e-12)  # no two logits are so close


def test_multiclass_path_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(12)
    features, truth = plain(rng), one_hot(rng, ROWS, 3)
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "multiclass")
    assert folds is not None
    probe = solve_probe(features, truth, np.ones_like(truth), "multiclass", folds, grid=(0.1, 1.0))
    assert probe.held_out_loss is not None
    for g, penalty in enumerate(probe.grid):
        total = 0.0
        for fold in range(5):
            held = folds == fold
            part = solve_probe(features[~held], truth[~held], truth[~held], "multiclass", penalty=penalty)
            chance = softmax(features[held] @ part.weight.T + part.bias, axis=1)
            total -= np.log((chance * truth[held]).sum(1)).sum() / ROWS
        bound = PATH_GRADIENT / penalty * np.linalg.norm(features, axis=1).max() * 2  # two columns change
        assert probe.held_out_loss[g, 0] == pytest.approx(total, abs=bound)


def test_each_target_has_its_own_folds_and_penalty() -> None:
    rng = np.random.default_rng(17)
    features = wide(rng)
    truth = np.hstack((drawn_truth(rng, features), (features[:, :1] > 0).astype(float)))
    truth[:20, 1] = np.nan
    weights = np.isfinite(truth).astype(float)
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "multilabel")
    assert folds is not None
    both = solve_probe(features, truth, weights, "multilabel", folds)
    assert both.held_out_loss is not None
    for t in range(2):
        alone = solve_probe(features, truth[:, [t]], weights[:, [t]], "binary", folds[:, t])
        assert both.penalty[t] == alone.penalty[0]
        assert both.held_out_loss[:, [t]] == pytest.approx(alone.held_out_loss, rel=1e-12)
        assert np.linalg.norm(both.weight[t] - alone.weight[0]) < 2 * GRADIENT / alone.penalty[0]


def test_memory_is_limited_by_solving_fold_by_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(18)
    features = plain(rng)
    truth = drawn_truth(rng, features)
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "binary")
    whole = solve_probe(features, truth, np.ones_like(truth), "binary", folds)
    monkeypatch.setattr(penalty_path, "ENTRIES", 1)
    parts = solve_probe(features, truth, np.ones_like(truth), "binary", folds)
    assert whole.held_out_loss is not None
    assert parts.held_out_loss == pytest.approx(whole.held_out_loss, abs=1e-6)


def test_a_class_absent_from_a_training_part_is_no_obstacle() -> None:
    rng = np.random.default_rng(13)
    features = plain(rng)
    truth = np.zeros((ROWS, 1))
    truth[:3] = 1
    probe = solve_probe(features, truth, np.ones_like(truth), "binary", np.where(np.arange(ROWS) < 3, 0, 1))
    assert probe.held_out_loss is not None
    assert np.isfinite(probe.held_out_loss).all()
    assert probe.held_out_auroc is not None
    assert np.isnan(probe.held_out_auroc).all()


def test_equal_losses_choose_the_strongest_penalty() -> None:
    truth = np.repeat([[0.0], [1.0]], ROWS // 2, axis=0)
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "binary")
    probe = solve_probe(np.zeros((ROWS, 3)), truth, np.ones_like(truth), "binary", folds)
    assert probe.penalty[0] == probe.grid.max()
