"""Proof over the real registry: what a mode freezes does not change, what it trains does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from xray_tl.config import typed
from xray_tl.models.freeze import policy_names
from xray_tl.models.registry import backbone_names
from xray_tl.runs.parts import Parts, assemble, fit_standardiser
from xray_tl.runs.random_trunk import settle_batchnorm
from xray_tl.training.trainer import build_trainer, expected_warnings

EPOCHS = 2
LARGEST = ("vgg16", "vit_b_16")
# Stages that train when the last of two epochs ends, from what README and conf/mode say; None: all.
TRAINED = {"finetune": None, "discriminative": None, "lp_ft": None, "frozen": 0, "partial": 1, "gradual": 1}
CASES = [
    pytest.param(model, mode, marks=[pytest.mark.slow] if model in LARGEST and mode != "frozen" else [])
    for model in backbone_names()
    for mode in policy_names()
]


def _parts(tiny: Callable[..., DictConfig], model: str, mode: str, *options: str) -> Parts:
    name = ["model.name=resnet10t"] if model == "timm" else []
    small = ("data.n_train=8", "data.n_val=8", "data.n_test=8", "data.batch_size=4")
    parts = assemble(
        typed(tiny(f"model={model}", f"mode={mode}", *name, *small, f"trainer.max_epochs={EPOCHS}", *options))
    )
    settle_batchnorm(parts)
    parts.data.setup()
    fit_standardiser(parts)
    return parts


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _expected(parts: Parts, mode: str) -> set[str]:
    """Name the tensors that must differ after training."""
    backbone = parts.task.classifier.backbone
    count = TRAINED[mode]
    first = 0 if count is None else backbone.num_stages - count
    trained = {f"backbone.{name}" for name in backbone.state_dict() if backbone.stage_of_state(name) >= first}
    return trained | {"head.weight", "head.bias"}


@pytest.mark.parametrize(("model", "mode"), CASES)
def test_state_differs_exactly_where_the_mode_trains(
    tiny: Callable[..., DictConfig], tmp_path: Path, model: str, mode: str
) -> None:
    parts = _parts(tiny, model, mode)
    net = parts.task.classifier
    before = _state(net)
    with expected_warnings():
        trainer = build_trainer(parts.settings.trainer, parts.device, parts.precision, tmp_path, None, [])
        trainer.fit(parts.task, datamodule=parts.data)
    assert trainer.global_step == 2 * EPOCHS
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == _expected(parts, mode)

    held = {id(parameter) for group in trainer.optimizers[0].param_groups for parameter in group["params"]}
    trained = {id(parameter) for name, parameter in net.named_parameters() if name in changed}
    assert held == trained
    assert all(parameter.grad is None for name, parameter in net.named_parameters() if name not in changed)


def test_what_trains_is_in_train_mode_after_features_were_standardised(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    parts = _parts(tiny, "resnet18", "partial", "mode.standardise=true")
    before = _state(parts.task.classifier.backbone)
    with expected_warnings():
        trainer = build_trainer(parts.settings.trainer, parts.device, parts.precision, tmp_path, None, [])
        trainer.fit(parts.task, datamodule=parts.data)
    after = _state(parts.task.classifier.backbone)
    moved = {name for name in after if "running_mean" in name and not torch.equal(after[name], before[name])}
    assert moved
    assert all("layer4" in name for name in moved)


@pytest.mark.parametrize("model", backbone_names())
def test_frozen_features_are_the_same_in_train_and_eval(tiny: Callable[..., DictConfig], model: str) -> None:
    parts = _parts(tiny, model, "frozen")
    images = parts.data.images("train").__getitems__(range(4)).image
    with torch.no_grad():
        training, evaluating = (parts.task.train(mode).classifier.backbone(images) for mode in (True, False))
    assert torch.equal(training, evaluating)
    # The comparison means something: these features move if the trunk is let into train mode (ViT has neither
    # dropout nor BatchNorm).
    if model not in ("vit_b_16",):
        parts.task.classifier.backbone.net.train()
        with torch.no_grad():
            assert not torch.equal(parts.task.classifier.backbone(images), evaluating)


@pytest.mark.parametrize("mode", ["frozen", "partial"])
def test_no_gradient_below_the_deepest_trainable_layer(tiny: Callable[..., DictConfig], mode: str) -> None:
    parts = _parts(tiny, "resnet18", mode)
    backbone = parts.task.classifier.backbone
    first = backbone.num_stages - (TRAINED[mode] or 0)
    graph: dict[str, bool] = {}

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, inputs, output: graph.update({name: output.requires_grad})

    for name, module in backbone.net.named_modules():
        if next(module.children(), None) is None and list(module.parameters()):
            module.register_forward_hook(watch(name))
    images = parts.data.images("train").__getitems__(range(4)).image
    parts.task.train()
    parts.task(images).sum().backward()
    assert graph
    for name, recorded in graph.items():
        assert recorded == (backbone.stage_of_state(f"net.{name}.weight") >= first), name
