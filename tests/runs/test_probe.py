"""A solved head: the best linear head on a run's features, the same for every seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from sklearn.linear_model import LogisticRegression
from torch import nn

from tests.conftest import SMALL, compose_config
from tests.data.films.radiograph_files import write_classes
from xray_tl.config import OptimConfig, typed
from xray_tl.config.identity import config_hash
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.splits import Targets
from xray_tl.errors import InputError
from xray_tl.runs import probe
from xray_tl.runs.parts import assemble
from xray_tl.runs.probe import solve_head, start_head
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS
from xray_tl.training.linear_probe import solve_probe
from xray_tl.training.objective import Objective

Tiny = Callable[..., DictConfig]
PENALTY = 0.02


def drawn(columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw 60 cases of 8 features, some of them informative, and which of the columns each belongs to."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8))
    label = np.argmax(features[:, :columns] + rng.normal(size=(60, columns)), axis=1)
    return torch.tensor(features), torch.tensor(label)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_it_is_the_minimum_of_the_loss_that_training_has(
    kind: Literal["binary", "multiclass", "multilabel"], class_weights: str, smoothing: float
) -> None:
    """What the solver is given is the run's own loss: its gradient, by torch, is 0 at the solution."""
    features, label = drawn(3)
    truth = nn.functional.one_hot(label, 3).double()
    truth = truth[:, :1] if kind == "binary" else truth
    if kind != "multiclass":
        truth[5, 0] = torch.nan
    targets = Targets(kind, tuple("abc"[: truth.shape[1]]))
    optim = OptimConfig(class_weights=class_weights, label_smoothing=smoothing)
    objective = Objective(targets, optim, truth.nanmean(0).float())
    found = solve_probe(features.numpy(), *objective.entries(truth), kind, penalty=PENALTY)
    weight, bias = (torch.tensor(value, requires_grad=True) for value in (found.weight, found.bias))
    logits = features @ weight.T + bias
    parts = range(truth.shape[1]) if kind == "multilabel" else [slice(None)]
    exact = objective.double()
    for part in parts:
        known = truth[:, part]
        if kind == "multilabel":
            alone = Objective(Targets("binary", ("a",)), optim, known.nanmean()[None].float()).double()
            loss = alone(logits[:, [part]], known[:, None])
        else:
            loss = exact(logits, truth)
        (loss + PENALTY / 2 * weight[part].square().sum()).backward(retain_graph=True)  # type: ignore[no-untyped-call]  # torch has no type for it
    assert weight.grad is not None
    assert bias.grad is not None
    # 1e-7: class weights and shares of positives are kept in float32.
    assert float(weight.grad.abs().max()) < 1e-7
    assert float(bias.grad.abs().max()) < 1e-7


def test_a_run_s_head_is_the_one_that_scikit_learn_finds_on_its_features(tiny: Tiny) -> None:
    parts = assemble(typed(tiny("mode=frozen")))
    parts.data.setup()
    start_head(parts)
    found = solve_head(parts)
    classifier = parts.task.classifier.eval()
    batches = list(parts.data.ordered_dataloader("train"))
    with torch.no_grad():
        features = torch.cat([classifier.standardiser(classifier.features(b.image)) for b in batches])
    truth = torch.cat([batch.truth for batch in batches])[:, 0]
    strength = 1 / (found.penalty[0] * len(truth))
    expected = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features.double(), truth)
    np.testing.assert_allclose(classifier.head.weight.detach(), expected.coef_, atol=1e-6)
    np.testing.assert_allclose(classifier.head.bias.detach(), expected.intercept_, atol=1e-5)


def test_a_run_is_the_same_for_every_seed_and_can_be_evaluated(tiny: Tiny, tmp_path: Path) -> None:
    for seed in (0, 1):
        record = run(tiny("mode=frozen", f"seed={seed}", f"optim.lr={0.1 + seed}"), tmp_path / str(seed))
        assert record["status"] == "complete"
        assert len(record["history"]) == 1
        assert record["head"]["kind"] == "solved"
        assert record["head"]["penalty"][0] in record["head"]["grid"]
        assert len(record["head"]["held_out_loss"]) == len(record["head"]["grid"])
    tables = [pd.read_csv(tmp_path / seed / PREDICTIONS) for seed in ("0", "1")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert config_hash(tiny("mode=frozen")) == config_hash(tiny("mode=frozen", "seed=1", "optim.lr=1"))
    assert config_hash(tiny("mode=frozen")) != config_hash(tiny("mode=frozen", "data.train_seed=1"))
    cfg = compose_config(f"run={tmp_path / '0'}", name="evaluate")
    assert "came out exactly" in evaluate(cfg, tmp_path / "0", [])


def test_a_trained_head_is_measured_against_the_solved_one(tiny: Tiny, tmp_path: Path) -> None:
    head = run(tiny("mode=frozen", "mode.head=trained"), tmp_path / "trained")["head"]
    solved = run(tiny("mode=frozen"), tmp_path / "solved")
    assert head["kind"] == "trained"
    # On the same frozen features the solved head is the very one that the other run has.
    assert head["solved_val_auroc"] == solved["metrics"]["val"]["auroc"]
    assert head["penalty"] == solved["head"]["penalty"]
    assert head["behind_solved"] == pytest.approx(head["solved_val_auroc"] - head["val_auroc"])
    few = run(tiny("mode=finetune", "data.memory_limit_gb=0.00001"), tmp_path / "large")["head"]
    assert few == {"kind": "trained", "start": "random"}


def test_features_that_do_not_fit_into_memory_are_refused_before_they_are_made(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"mode\.head=solved takes about 0\.00059 GB for 24 training images"):
        run(tiny("mode=frozen", "data.memory_limit_gb=0.0005"), tmp_path / "run")


@pytest.mark.parametrize("mode", ["lp_ft", "gradual"])
def test_the_head_starts_solved(tiny: Tiny, tmp_path: Path, mode: str) -> None:
    """With rates of almost 0 the run ends where it began: at the frozen run's scores."""
    still = ("optim.lr=1e-12", "mode.head_lr=1e-12", "trainer.reestimate_batchnorm=false")
    small = ("model=vit_b_16", "data.n_train=8", "data.n_val=8", "data.n_test=8")
    if mode == "gradual":
        small = (*small, "trainer.max_epochs=1")
    record = run(tiny(f"mode={mode}", *small, *still), tmp_path / "moves")
    run(tiny("mode=frozen", *small), tmp_path / "frozen")
    assert record["head"]["start"] == "solved"
    logits = [pd.read_csv(tmp_path / name / PREDICTIONS)["logit"] for name in ("moves", "frozen")]
    np.testing.assert_allclose(*logits, atol=1e-4)


def test_images_of_a_patient_have_one_name_whatever_the_order_of_files(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 24, per_patient=3)
    regex = "data.patient_regex='^([0-9]+)_'"
    cfg = compose_config("model=resnet18", "data=folder", f"data.root={root}", "data.image_size=32", regex)
    data = XrayDataModule(typed(cfg).data, seed=0)
    collection = data.collection
    assert collection is not None
    named = dict(zip(data.sources["train"].names or (), data.patients("train"), strict=True))
    table = collection.listing.table.set_index("name")
    together = {name: set(table.index[table["patient"] == table["patient"][name]]) for name in named}
    assert all(patient == min(together[name]) for name, patient in named.items())
    assert 1 < len(set(named.values())) < len(named)


def test_no_patient_is_in_two_folds_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "films", 48, per_patient=3)
    given: list[np.ndarray] = []

    def noted(features: np.ndarray, targets: np.ndarray, weights: np.ndarray, kind: Any, folds: Any) -> Any:  # noqa: ANN401  (handed on)
        given.append(folds)
        return solve_probe(features, targets, weights, kind, folds)

    monkeypatch.setattr(probe, "solve_probe", noted)
    own = (*SMALL, "weights=random", "mode=frozen", "logger=none", "trainer=cpu")
    films = ("data=folder", f"data.root={root}", "data.image_size=32", "data.patient_regex='^([0-9]+)_'")
    cfg = compose_config(*own, *films, "data.batch_size=8")
    run(cfg, tmp_path / "run")
    patients = XrayDataModule(typed(cfg).data, seed=0).patients("train")
    fold_of = {(patient, int(fold)) for patient, fold in zip(patients, given[0], strict=True)}
    assert len(fold_of) == len(set(patients)) > 1
    assert len({fold for _, fold in fold_of}) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mode=finetune", "mode.head=solved"), r"mode\.head=solved is for mode=frozen: in mode=finetune"),
        (("mode=frozen", "augment=light"), r"augment is for a head that trains.*mode\.head=trained"),
        (("mode=frozen", "augment.degrees=5"), r"augment is for a head that trains"),
        (("mode=frozen", "mode.standardise=false"), r"mode\.standardise=false is for a head that trains"),
        (("mode=frozen", "optim.sampling=balanced"), r"optim\.sampling=balanced is for a head that trains"),
        (("mode=frozen", "model.head_dropout=0.5"), r"model\.head_dropout=0\.5 is for a head that trains"),
    ],
)
def test_what_cannot_be_solved_is_refused(
    tiny: Tiny, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tiny(*options), tmp_path / "run")
