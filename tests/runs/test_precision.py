"""What is closed computes in fp32, whatever the run's precision; a run is tested in that of its record."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from omegaconf import DictConfig
from torch import Tensor, nn

from tests.conftest import compose_config
from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig, typed
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.models.registry import build_backbone
from xray_tl.models.stage_map import by_prefix
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable
from xray_tl.runs import steps as execution
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.runs.score_films import open_scorer
from xray_tl.store.records import PREDICTIONS
from xray_tl.study.saved_predictions import read_predictions, split_of
from xray_tl.training.device import choose_device

Tiny = Callable[..., DictConfig]


def _bf16() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    made, _ = build_backbone(ModelConfig("resnet18", "resnet18"), WeightsConfig("random"), 32)
    return made.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_a_frozen_trunk_computes_in_fp32_under_autocast(backbone: Backbone, images: Tensor) -> None:
    exact = backbone.open(Trainable())(images)
    with _bf16():
        assert torch.equal(backbone(images), exact)
        assert not torch.equal(backbone.open(backbone.deepest(backbone.num_stages))(images), exact), (
            "what is open does not"
        )


@torch.no_grad()
def test_what_crosses_the_boundary_is_fp32_and_what_is_behind_it_is_not(
    backbone: Backbone, images: Tensor
) -> None:
    backbone.open(backbone.deepest(1))
    halves = backbone.cut(1)
    activations = halves.before(backbone.normalise(images))
    with _bf16():
        expected = halves.after(activations).float()
        found = backbone(images)
        backbone.enter(halves)
        kept = backbone(activations)
        backbone.enter(None)
    assert torch.equal(found, expected)
    assert torch.equal(found, kept), "a run that keeps what crosses sees what one sees that does not"
    assert not torch.equal(found, backbone(images)), "else nothing would be in bf16"


class _Uncuttable(nn.Module):
    """Its code depends on what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).mean((2, 3))
        return self.second(x if x.sum() > 0 else -x)


@torch.no_grad()
def test_a_network_that_cannot_be_cut_computes_in_fp32_as_a_whole(
    images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    made = Backbone(_Uncuttable(), 5, by_prefix(("first",), ("second",)), (0.5,) * 3, (0.2,) * 3)
    made.open(made.deepest(1))
    exact = made(images)
    with _bf16(), caplog.at_level(logging.INFO):
        assert torch.equal(made(images), exact)
    assert "all of the backbone computes in fp32, since it cannot be cut" in caplog.text


def test_fp32_on_an_accelerator_is_not_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    choose_device("cuda")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_frozen_run_is_fp32_and_says_so(tiny: Tiny, tmp_path: Path) -> None:
    for precision in ("32", "bf16"):
        record = run(tiny("mode=frozen", f"trainer.precision={precision}"), tmp_path / precision)
        assert record["environment"]["precision"] == "32-true"
    tables = [(tmp_path / precision / PREDICTIONS).read_bytes() for precision in ("32", "bf16")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("mode", ["finetune", "partial"])
def test_a_run_in_bf16_is_tested_and_predicted_in_bf16(
    tiny: Tiny, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` is fp32 on this machine; the record states what the run was trained in."""
    seen = []
    estimate = execution.estimate_batchnorm

    def noted(*args: object) -> int:
        seen.append(torch.is_autocast_enabled("cpu"))
        return estimate(*args)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(execution, "estimate_batchnorm", noted)
    run(tiny(f"mode={mode}", "trainer.precision=bf16"), tmp_path)
    assert seen == [True], "statistics are estimated in the precision that they are used in"
    path = tmp_path / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("precision: bf16", "precision: auto"))
    assert "came out exactly" in evaluate(compose_config(f"run={tmp_path}", name="evaluate"), tmp_path, [])
    scorer = open_scorer(tmp_path, TrainerConfig(accelerator="cpu"))
    assert scorer.precision == "bf16-mixed"
    stored = split_of(read_predictions(tmp_path), "test").set_index("case")["probability"]
    data = XrayDataModule(typed(tiny()).data, seed=0)
    batch = next(data.image_batches("test", 8))
    found = scorer.probability(batch.image[:, 0].numpy())[:, 0].numpy()
    # Kept activations have BatchNorm folded: another last bit of theirs may turn the last of bf16's eight.
    tolerance = {"finetune": 1e-6, "partial": 2**-8}[mode]
    np.testing.assert_allclose(found, stored[[str(int(case)) for case in batch.case]], rtol=0, atol=tolerance)


def test_a_best_epoch_before_a_stage_opened_is_tested_with_that_stage_in_fp32(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept lies in front of the stages that are open at the end; those between them were closed."""
    falling = iter((0.9, 0.5, 0.4))
    monkeypatch.setattr("xray_tl.training.task.auroc", lambda *args: next(falling))
    cfg = tiny("mode=gradual", "trainer.precision=bf16", "trainer.max_epochs=3")
    record = run(cfg, tmp_path)
    assert (record["best"]["epoch"], record["best"]["open_stages"], record["best"]["most_open"]) == (0, 1, 3)
    last = sum(parameter.numel() for parameter in torchvision.models.resnet18().layer4.parameters())
    assert record["parameters"]["trainable"] == last + 513, "the last stage and the head"
    monkeypatch.undo()
    scorer = open_scorer(tmp_path, TrainerConfig(accelerator="cpu"))
    stored = split_of(read_predictions(tmp_path), "test").set_index("case")["probability"]
    batch = next(XrayDataModule(typed(cfg).data, seed=0).image_batches("test", 8))
    found = scorer.probability(batch.image[:, 0].numpy())[:, 0].numpy()
    np.testing.assert_allclose(found, stored[[str(int(case)) for case in batch.case]], rtol=0, atol=1e-6)
