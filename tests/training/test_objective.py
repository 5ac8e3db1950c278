"""One loss, one probability, one table for binary, multi-class and multi-label targets."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from tests.conftest import compose_config
from xray_tl.config import OptimConfig, typed
from xray_tl.data.films.listing import Kind
from xray_tl.data.splits import Batch, Targets
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.freeze import build_policy
from xray_tl.models.registry import build_backbone
from xray_tl.runs import predictions
from xray_tl.training.objective import Objective
from xray_tl.training.task import TransferTask
from xray_tl.training.trainer import build_trainer, expected_warnings

HALF = torch.tensor([0.5])


def _objective(kind: str, columns: int, positives: Tensor | None = None, **optim: object) -> Objective:
    targets = Targets(cast("Kind", kind), tuple(f"t{i}" for i in range(columns)))
    share = torch.full((columns,), 1 / columns) if positives is None else positives
    return Objective(targets, replace(OptimConfig(), **optim), share)


def test_binary_loss_is_the_negative_log_likelihood() -> None:
    logits, truth = torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [1.0]])
    expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert float(_objective("binary", 1)(logits, truth)) == pytest.approx(expected, rel=1e-6)


def test_multiclass_loss_is_cross_entropy() -> None:
    logits, classes = (
        torch.randn(6, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 2, 1, 0]),
    )
    truth = F.one_hot(classes, 3).float()
    assert torch.allclose(_objective("multiclass", 3)(logits, truth), F.cross_entropy(logits, classes))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_balanced_weights_give_each_class_the_same_total(kind: str) -> None:
    if kind == "multiclass":
        truth = F.one_hot(torch.tensor([0, 0, 0, 0, 1, 1, 1, 2]), 3).float()
        classes = [truth[:, column] > 0 for column in range(3)]
    else:
        truth = torch.tensor([[1.0]] + [[0.0]] * 7)
        classes = [truth[:, 0] > 0, truth[:, 0] == 0]
    objective = _objective(kind, truth.shape[1], truth.mean(0), class_weights="balanced")
    logits = torch.zeros_like(truth)
    parts = [float(objective(logits[rows], truth[rows])) * int(rows.sum()) for rows in classes]
    assert parts == pytest.approx([parts[0]] * len(parts))
    # The weights average to one, so that the rate keeps its meaning.
    assert sum(parts) / len(truth) == pytest.approx(
        float(_objective(kind, truth.shape[1])(logits, truth)), rel=1e-6
    )


def test_label_smoothing_moves_the_best_logit() -> None:
    objective, truth = _objective("binary", 1, label_smoothing=0.2), torch.ones(1, 1)
    best = math.log(0.9 / 0.1)
    losses = [float(objective(torch.tensor([[best + step]]), truth)) for step in (-0.1, 0.0, 0.1)]
    assert losses[1] == min(losses)


def test_probabilities() -> None:
    logits = torch.tensor([[40.0, 41.0]])
    assert _objective("multiclass", 2).probability(logits).sum() == pytest.approx(1)
    apart = _objective("multilabel", 2).probability(torch.tensor([[20.0, 21.0]]))[0]
    assert apart[0] < apart[1] < 1, "float32 would tie these"


class _Tensors(LightningDataModule):
    """Two splits of random images with given truth, one batch each."""

    def __init__(self, truth: Tensor) -> None:
        super().__init__()
        image = torch.rand(len(truth), 1, 32, 32, generator=torch.Generator().manual_seed(1))
        self.batch = Batch(image, truth, torch.arange(len(truth)))

    def ordered_dataloader(self, split: str) -> DataLoader[Batch]:
        return DataLoader([self.batch], batch_size=None)  # type: ignore[arg-type]  # a list takes the place of a Dataset

    def train_dataloader(self) -> DataLoader[Batch]:
        return self.ordered_dataloader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.ordered_dataloader("val")


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_whole_path_takes_several_columns(
    tmp_path: Path, kind: Literal["multiclass", "multilabel"]
) -> None:
    cfg: DictConfig = compose_config(
        "model=resnet18", "weights=random", "trainer=cpu", "trainer.max_epochs=1"
    )
    settings = typed(cfg)
    backbone, provenance = build_backbone(settings.model, settings.weights, 32)
    targets = Targets(kind, ("effusion", "nodule", "opacity"))
    classes = torch.arange(12) % 3
    truth = F.one_hot(classes, 3).float()
    if kind == "multilabel":
        truth[:, 0] = (torch.arange(12) % 2).float()
    objective = Objective(targets, settings.optim, truth.mean(0))
    policy = build_policy(settings.mode, backbone.num_stages, 1)
    task = TransferTask(
        XrayClassifier(backbone, 3, 0), objective, policy, settings.mode, settings.optim, 0, provenance.sha256
    )
    data = _Tensors(truth)
    with expected_warnings():
        trainer = build_trainer(settings.trainer, torch.device("cpu"), "32-true", tmp_path, None, [])
        trainer.fit(task, datamodule=data)
        scored = predictions.predict(trainer, task, data, "val")  # type: ignore[arg-type]  # in place of an XrayDataModule
    assert 0 <= task.history[0]["val_auroc"] <= 1
    names = SimpleNamespace(targets=targets, sources={"val": SimpleNamespace(names=None)})
    frame = predictions.table({"val": scored}, names)  # type: ignore[arg-type]  # in place of an XrayDataModule
    assert list(frame.columns) == ["split", "case", "target", "truth", "logit", "probability"]
    assert len(frame) == 36
    assert list(frame["target"][:3]) == list(targets.names)
    assert np.array_equal(frame["truth"].to_numpy().reshape(12, 3), truth.numpy())
    thresholds = predictions.thresholds_on(scored)
    assert len(thresholds) == 3
    metrics = predictions.metrics({"val": scored}, targets, thresholds)["val"]
    if kind == "multiclass":
        assert frame["probability"].to_numpy().reshape(12, 3).sum(1) == pytest.approx(1)
        assert metrics["accuracy"] == np.mean(scored.logit.argmax(1) == classes.numpy())


def test_what_is_not_known_counts_nowhere() -> None:
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.7], [-0.4, 1.5]])
    truth = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0], [0.0, 1.0]])
    objective = Objective(Targets("multilabel", ("a", "b")), OptimConfig(), torch.tensor([0.5, 0.5]))
    known = [(0.3, 1.0), (0.7, 0.0), (-0.4, 0.0), (1.5, 1.0)]
    terms = [np.log1p(np.exp(x)) - t * x for x, t in known]
    assert float(objective(logits, truth)) == pytest.approx(np.mean(terms), rel=1e-6)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_class_that_training_lacks_has_no_weight(kind: Literal["multilabel", "multiclass"]) -> None:
    balanced = OptimConfig(class_weights="balanced")
    shares = torch.tensor([0.5, 0.5, 0.0])
    objective = Objective(Targets(kind, ("a", "b", "c")), balanced, shares)
    truth = torch.eye(3)
    assert bool(torch.isfinite(objective(torch.zeros(3, 3), truth)))
