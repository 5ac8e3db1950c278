"""The linear probe's solution: scikit-learn's, on any features, with a penalty chosen on held-out rows.

The objective is strongly convex with the penalty as its modulus, so that a solution whose gradient has norm g
lies within g / penalty of the optimum: the tolerances below are sums of two such bounds.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from xray_tl.errors import RunError
from xray_tl.training import linear_probe, newton, penalty_path
from xray_tl.training.linear_probe import DEFAULT, GRADIENT, GRID, LinearProbe, solve_probe
from xray_tl.training.patient_folds import patient_folds
from xray_tl.training.penalty_path import PATH_GRADIENT
from xray_tl.training.principal_axes import Rotation, rotate

Array = NDArray[np.float64]
ROWS = 90
PENALTY = 0.05


def _plain(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 7))


def _one(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 1))


def _wide(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 240))


def _twice(rng: np.random.Generator) -> Array:
    half = rng.standard_normal((ROWS, 60))
    return np.hstack((half, half))


def _dead(rng: np.random.Generator) -> Array:
    return np.hstack((rng.standard_normal((ROWS, 5)), np.full((ROWS, 1), 3.0), np.zeros((ROWS, 2))))


def _nearly_dead(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 40)) * np.logspace(0, -12, 40)


def _low_rank(rng: np.random.Generator) -> Array:
    return rng.standard_normal((ROWS, 4)) @ rng.standard_normal((4, 150))


def _repeated_rows(rng: np.random.Generator) -> Array:
    return np.repeat(rng.standard_normal((ROWS // 2, 130)), 2, axis=0)


def _steep(rng: np.random.Generator) -> Array:
    """One direction far larger than the others, as a network's common offset."""
    return rng.standard_normal((ROWS, 30)) + 30 * rng.standard_normal((ROWS, 1))


SHAPES = [_plain, _one, _wide, _twice, _dead, _nearly_dead, _low_rank, _repeated_rows, _steep]
Shape = Callable[[np.random.Generator], Array]


def _truth(rng: np.random.Generator, features: Array, columns: int = 1) -> Array:
    signal = features @ rng.standard_normal((features.shape[1], columns)) / np.sqrt(features.shape[1])
    return (signal + rng.standard_normal(signal.shape) > 0).astype(float)


def _one_hot(rng: np.random.Generator, rows: int, classes: int) -> Array:
    return np.eye(classes)[rng.permutation(np.arange(rows) % classes)]


def _reference(features: Array, label: Array, weight: Array, penalty: float) -> LogisticRegression:
    """Return scikit-learn's solution; with C = 1 the weights carry our penalty and mean over rows."""
    known = weight > 0
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    return model.fit(features[known], label[known], weight[known] / (known.sum() * penalty))


def _slopes(features: Array, targets: Array, weights: Array, probe: LinearProbe, *, one_of: bool) -> Array:
    """Return the largest gradient of each column from the formula of the derivative, row by row."""
    logit = features @ probe.weight.T + probe.bias
    chance = softmax(logit, axis=1) if one_of else expit(logit)
    total = probe.penalty[:, None] * probe.weight
    bias = np.zeros(len(total))
    known = (weights > 0).sum(0)
    for x, p, y, w in zip(features, chance, targets, weights, strict=True):
        error = np.where(w > 0, w * (p - np.nan_to_num(y)), 0.0) / np.maximum(known, 1)
        total = total + error[:, None] * x
        bias = bias + error
    return np.maximum(np.abs(total).max(1), np.abs(bias))


@pytest.mark.parametrize("shape", SHAPES)
def test_binary_is_scikit_learns_solution(shape: Shape) -> None:
    rng = np.random.default_rng(1)
    features = shape(rng)
    truth = _truth(rng, features)
    weights = np.where(truth > 0.5, 1.4, 0.7)
    probe = solve_probe(features, truth, weights, "binary", penalty=PENALTY)
    other = _reference(features, truth[:, 0], weights[:, 0], PENALTY)
    assert np.abs(probe.weight - other.coef_).max() < 1e-6
    logit = features @ probe.weight[0] + probe.bias[0]
    assert np.abs(logit - other.decision_function(features)).max() < 1e-6
    assert probe.gradient <= GRADIENT


@pytest.mark.parametrize("shape", SHAPES)
def test_multiclass_is_scikit_learns_solution(shape: Shape) -> None:
    rng = np.random.default_rng(2)
    features, truth = shape(rng), _one_hot(rng, ROWS, 3)
    class_weight = np.array([0.5, 1.0, 2.0])
    probe = solve_probe(features, truth, truth * class_weight, "multiclass", penalty=PENALTY)
    other = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(
        features, truth.argmax(1), (truth @ class_weight) / (ROWS * PENALTY)
    )
    assert np.abs(probe.weight - other.coef_).max() < 1e-6
    logit, expected = features @ probe.weight.T + probe.bias, other.decision_function(features)
    assert (
        np.abs(logit - logit.mean(1, keepdims=True) - expected + expected.mean(1, keepdims=True)).max() < 1e-6
    )


def test_multilabel_solves_each_target_on_its_known_rows() -> None:
    rng = np.random.default_rng(3)
    features = _wide(rng)
    truth = _truth(rng, features, 3)
    weights = np.where(rng.random(truth.shape) < 0.3, 0.0, 1.0)
    hidden = np.where(weights > 0, truth, np.nan)
    probe = solve_probe(features, hidden, weights, "multilabel", penalty=PENALTY)
    for t in range(3):
        other = _reference(features, truth[:, t], weights[:, t], PENALTY)
        assert np.abs(probe.weight[t] - other.coef_).max() < 1e-6
        assert abs(probe.bias[t] - other.intercept_[0]) < 1e-6


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("penalty", [1e-4, 1.0, 1e3])
def test_the_gradient_is_zero(kind: Literal["binary", "multilabel", "multiclass"], penalty: float) -> None:
    rng = np.random.default_rng(4)
    features = _wide(rng)
    truth = _one_hot(rng, ROWS, 4) if kind == "multiclass" else _truth(rng, features, 1 + (kind != "binary"))
    targets = 0.9 * truth + 0.1 / max(2, truth.shape[1])
    weights = np.broadcast_to(rng.random((ROWS, 1)) + 0.5, targets.shape).copy()
    if kind == "multilabel":
        weights[:40, 1] = 0
    probe = solve_probe(features, targets, weights, kind, penalty=penalty)
    # The probe's own bound holds on centred features; the means, at most 0.4 here, add less than as much.
    assert _slopes(features, targets, weights, probe, one_of=kind == "multiclass").max() < 2 * GRADIENT


def test_train_loss_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(5)
    features = _plain(rng)
    truth = _truth(rng, features)
    weights = np.where(truth > 0.5, 1.4, 0.7)
    probe = solve_probe(features, truth, weights, "binary", penalty=PENALTY)
    chance = expit(features @ probe.weight.T + probe.bias)
    loss = -(weights * (truth * np.log(chance) + (1 - truth) * np.log(1 - chance))).mean()
    assert probe.train_loss[0] == pytest.approx(loss, rel=1e-12)


def test_order_and_rotation_change_nothing() -> None:
    rng = np.random.default_rng(6)
    features = _wide(rng)
    truth, weights = _truth(rng, features), np.ones((ROWS, 1))
    plain = solve_probe(features, truth, weights, "binary", penalty=PENALTY)
    order = rng.permutation(ROWS)
    turn = np.linalg.qr(rng.standard_normal((240, 240)))[0]
    shuffled = solve_probe(features[order], truth[order], weights, "binary", penalty=PENALTY)
    turned = solve_probe(features @ turn, truth, weights, "binary", penalty=PENALTY)
    bound = 2 * GRADIENT / PENALTY
    assert np.linalg.norm(plain.weight - shuffled.weight) < bound
    assert np.linalg.norm(plain.weight - turned.weight @ turn.T) < bound


def test_separable_classes_have_a_solution() -> None:
    rng = np.random.default_rng(7)
    features = _wide(rng)
    truth = (features[:, :1] > 0).astype(float)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary", penalty=1e-6)
    assert _slopes(features, truth, np.ones_like(truth), probe, one_of=False).max() < 2 * GRADIENT


def test_a_target_without_known_truth_is_left_at_zero() -> None:
    rng = np.random.default_rng(8)
    features = _plain(rng)
    truth = _truth(rng, features, 2)
    truth[:, 1] = np.nan
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "multilabel")
    probe = solve_probe(features, truth, np.isfinite(truth).astype(float), "multilabel", folds)
    assert not probe.weight[1].any()
    assert probe.bias[1] == 0
    assert probe.penalty[1] == DEFAULT
    assert probe.held_out_loss is not None
    assert np.isfinite(probe.held_out_loss[:, 0]).all()
    assert np.isnan(probe.held_out_loss[:, 1]).all()


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_gets_the_odds_of_half_a_row(label: float) -> None:
    features, truth = _plain(np.random.default_rng(9)), np.full((ROWS, 1), label)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary")
    assert not probe.weight.any()
    chance = expit(probe.bias[0])
    assert (chance if label == 0 else 1 - chance) == pytest.approx(0.5 / (ROWS + 1))


def test_a_class_without_rows_is_left_out_of_a_softmax() -> None:
    rng = np.random.default_rng(10)
    features, truth = _plain(rng), _one_hot(rng, ROWS, 3)
    wider = np.insert(truth, 1, 0.0, axis=1)
    three = solve_probe(features, truth, np.ones_like(truth), "multiclass", penalty=PENALTY)
    four = solve_probe(features, wider, np.ones_like(wider), "multiclass", penalty=PENALTY)
    assert np.abs(np.delete(four.weight, 1, 0) - three.weight).max() < 2 * GRADIENT / PENALTY
    assert not four.weight[1].any()
    at_mean = softmax(four.weight @ features.mean(0) + four.bias)
    assert at_mean[1] == pytest.approx(0.5 / (ROWS + 1))


def _brute_force(
    features: Array, truth: Array, weights: Array, folds: NDArray[np.int64], grid: Array
) -> tuple[Array, Array]:
    """Return held-out loss and AUROC of a binary target, fold by fold, with scikit-learn's solutions."""
    losses, areas = np.zeros(len(grid)), np.zeros(len(grid))
    for g, penalty in enumerate(grid):
        for fold in np.unique(folds):
            held = folds == fold
            model = _reference(features[~held], truth[~held, 0], weights[~held, 0], penalty)
            logit = model.decision_function(features[held])
            each = np.logaddexp(0, logit) - truth[held, 0] * logit
            losses[g] += (weights[held, 0] * each).sum() / len(truth)
            areas[g] += roc_auc_score(truth[held, 0], logit) / len(np.unique(folds))
    return losses, areas


@pytest.mark.parametrize("shape", [_plain, _wide, _steep])
def test_the_chosen_penalty_is_that_of_a_plain_loop(shape: Shape) -> None:
    rng = np.random.default_rng(11)
    features = shape(rng)
    truth = _truth(rng, features)
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
    features, truth = _plain(rng), _one_hot(rng, ROWS, 3)
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
    features = _wide(rng)
    truth = np.hstack((_truth(rng, features), (features[:, :1] > 0).astype(float)))
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
    features = _plain(rng)
    truth = _truth(rng, features)
    folds = patient_folds(truth, [str(i) for i in range(ROWS)], "binary")
    whole = solve_probe(features, truth, np.ones_like(truth), "binary", folds)
    monkeypatch.setattr(penalty_path, "ENTRIES", 1)
    parts = solve_probe(features, truth, np.ones_like(truth), "binary", folds)
    assert whole.held_out_loss is not None
    assert parts.held_out_loss == pytest.approx(whole.held_out_loss, abs=1e-6)


def test_a_class_absent_from_a_training_part_is_no_obstacle() -> None:
    rng = np.random.default_rng(13)
    features = _plain(rng)
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


def test_without_folds_the_default_holds() -> None:
    rng = np.random.default_rng(14)
    features = _plain(rng)
    truth = _truth(rng, features)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary")
    assert probe.penalty.tolist() == [DEFAULT]
    assert probe.held_out_loss is None
    assert probe.held_out_auroc is None


def test_what_has_no_optimum_is_refused() -> None:
    features = _plain(np.random.default_rng(15))
    truth = (features[:, :1] > 0).astype(float)
    with pytest.raises(RunError, match="no optimum"):
        solve_probe(features, truth, np.ones_like(truth), "binary", penalty=0.0)
    features[3, 2] = np.inf
    with pytest.raises(RunError, match="not finite"):
        solve_probe(features, truth, np.ones_like(truth), "binary")


def test_the_gradient_is_judged_on_the_features_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(features: Array) -> tuple[Array, Rotation]:
        rotated, rotation = rotate(features)
        return rotated, Rotation(rotation.axes * 1.001, rotation.reflectors)

    features = _plain(np.random.default_rng(19))
    truth = (features[:, :1] > 0).astype(float)
    monkeypatch.setattr(linear_probe, "rotate", wrong)
    with pytest.raises(RunError, match="are the features standardised"):
        solve_probe(features, truth, np.ones_like(truth), "binary")


def test_a_search_cut_short_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _plain(np.random.default_rng(16))
    truth = (features[:, :1] > 0).astype(float)
    monkeypatch.setattr(newton, "NEWTON_STEPS", 1)
    with pytest.raises(RunError, match="found no optimum in 1 Newton steps"):
        solve_probe(features, truth, np.ones_like(truth), "binary")
