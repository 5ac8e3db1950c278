"""The linear probe's solution: scikit-learn's, on any features, with a penalty chosen on held-out rows.

The objective is strongly convex with the penalty as its modulus, so that a solution whose gradient has norm g
lies within g / penalty of the optimum: the tolerances below are sums of two such bounds.
"""

from typing import Literal

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from tests.training.probe_problems import (
    PENALTY,
    ROWS,
    SHAPES,
    Array,
    Shape,
    drawn_truth,
    largest_slopes,
    one_hot,
    plain,
    scikit_learn,
    wide,
)
from xray_tl.errors import RunError
from xray_tl.training import linear_probe, newton
from xray_tl.training.linear_probe import DEFAULT, GRADIENT, solve_probe
from xray_tl.training.patient_folds import patient_folds
from xray_tl.training.principal_axes import Rotation, rotate


@pytest.mark.parametrize("shape", SHAPES)
def test_binary_is_scikit_learns_solution(shape: Shape) -> None:
    rng = np.random.default_rng(1)
    features = shape(rng)
    truth = drawn_truth(rng, features)
    weights = np.where(truth > 0.5, 1.4, 0.7)
    probe = solve_probe(features, truth, weights, "binary", penalty=PENALTY)
    other = scikit_learn(features, truth[:, 0], weights[:, 0], PENALTY)
    assert np.abs(probe.weight - other.coef_).max() < 1e-6
    logit = features @ probe.weight[0] + probe.bias[0]
    assert np.abs(logit - other.decision_function(features)).max() < 1e-6
    assert probe.gradient <= GRADIENT


@pytest.mark.parametrize("shape", SHAPES)
def test_multiclass_is_scikit_learns_solution(shape: Shape) -> None:
    rng = np.random.default_rng(2)
    features, truth = shape(rng), one_hot(rng, ROWS, 3)
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
    features = wide(rng)
    truth = drawn_truth(rng, features, 3)
    weights = np.where(rng.random(truth.shape) < 0.3, 0.0, 1.0)
    hidden = np.where(weights > 0, truth, np.nan)
    probe = solve_probe(features, hidden, weights, "multilabel", penalty=PENALTY)
    for t in range(3):
        other = scikit_learn(features, truth[:, t], weights[:, t], PENALTY)
        assert np.abs(probe.weight[t] - other.coef_).max() < 1e-6
        assert abs(probe.bias[t] - other.intercept_[0]) < 1e-6


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("penalty", [1e-4, 1.0, 1e3])
def test_the_gradient_is_zero(kind: Literal["binary", "multilabel", "multiclass"], penalty: float) -> None:
    rng = np.random.default_rng(4)
    features = wide(rng)
    truth = (
        one_hot(rng, ROWS, 4) if kind == "multiclass" else drawn_truth(rng, features, 1 + (kind != "binary"))
    )
    targets = 0.9 * truth + 0.1 / max(2, truth.shape[1])
    weights = np.broadcast_to(rng.random((ROWS, 1)) + 0.5, targets.shape).copy()
    if kind == "multilabel":
        weights[:40, 1] = 0
    probe = solve_probe(features, targets, weights, kind, penalty=penalty)
    # The probe's own bound holds on centred features; the means, at most 0.4 here, add less than as much.
    assert largest_slopes(features, targets, weights, probe, one_of=kind == "multiclass").max() < 2 * GRADIENT


def test_train_loss_is_the_weighted_mean() -> None:
    rng = np.random.default_rng(5)
    features = plain(rng)
    truth = drawn_truth(rng, features)
    weights = np.where(truth > 0.5, 1.4, 0.7)
    probe = solve_probe(features, truth, weights, "binary", penalty=PENALTY)
    chance = expit(features @ probe.weight.T + probe.bias)
    loss = -(weights * (truth * np.log(chance) + (1 - truth) * np.log(1 - chance))).mean()
    assert probe.train_loss[0] == pytest.approx(loss, rel=1e-12)


def test_order_and_rotation_change_nothing() -> None:
    rng = np.random.default_rng(6)
    features = wide(rng)
    truth, weights = drawn_truth(rng, features), np.ones((ROWS, 1))
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
    features = wide(rng)
    truth = (features[:, :1] > 0).astype(float)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary", penalty=1e-6)
    assert largest_slopes(features, truth, np.ones_like(truth), probe, one_of=False).max() < 2 * GRADIENT


def test_a_target_without_known_truth_is_left_at_zero() -> None:
    rng = np.random.default_rng(8)
    features = plain(rng)
    truth = drawn_truth(rng, features, 2)
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
    features, truth = plain(np.random.default_rng(9)), np.full((ROWS, 1), label)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary")
    assert not probe.weight.any()
    chance = expit(probe.bias[0])
    assert (chance if label == 0 else 1 - chance) == pytest.approx(0.5 / (ROWS + 1))


def test_a_class_without_rows_is_left_out_of_a_softmax() -> None:
    rng = np.random.default_rng(10)
    features, truth = plain(rng), one_hot(rng, ROWS, 3)
    wider = np.insert(truth, 1, 0.0, axis=1)
    three = solve_probe(features, truth, np.ones_like(truth), "multiclass", penalty=PENALTY)
    four = solve_probe(features, wider, np.ones_like(wider), "multiclass", penalty=PENALTY)
    assert np.abs(np.delete(four.weight, 1, 0) - three.weight).max() < 2 * GRADIENT / PENALTY
    assert not four.weight[1].any()
    at_mean = softmax(four.weight @ features.mean(0) + four.bias)
    assert at_mean[1] == pytest.approx(0.5 / (ROWS + 1))


def test_without_folds_the_default_holds() -> None:
    rng = np.random.default_rng(14)
    features = plain(rng)
    truth = drawn_truth(rng, features)
    probe = solve_probe(features, truth, np.ones_like(truth), "binary")
    assert probe.penalty.tolist() == [DEFAULT]
    assert probe.held_out_loss is None
    assert probe.held_out_auroc is None


def test_what_has_no_optimum_is_refused() -> None:
    features = plain(np.random.default_rng(15))
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

    features = plain(np.random.default_rng(19))
    truth = (features[:, :1] > 0).astype(float)
    monkeypatch.setattr(linear_probe, "rotate", wrong)
    with pytest.raises(RunError, match="are the features standardised"):
        solve_probe(features, truth, np.ones_like(truth), "binary")


def test_a_search_cut_short_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    features = plain(np.random.default_rng(16))
    truth = (features[:, :1] > 0).astype(float)
    monkeypatch.setattr(newton, "NEWTON_STEPS", 1)
    with pytest.raises(RunError, match="found no optimum in 1 Newton steps"):
        solve_probe(features, truth, np.ones_like(truth), "binary")
