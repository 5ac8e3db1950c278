"""Proof over the real registry: what a mode freezes does not change, what it trains does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig, typed
from xray_tl.errors import InputError
from xray_tl.models.freeze import policy_names
from xray_tl.models.registry import backbone_names, build_backbone
from xray_tl.runs.parts import Parts, assemble, fit_standardiser
from xray_tl.runs.random_trunk import settle_batchnorm
from xray_tl.runs.run import run
from xray_tl.store.run_folder import BEST
from xray_tl.training.trainer import build_trainer, expected_warnings

EPOCHS = 2
LARGEST = ("vgg16", "vit_b_16")
# Stages that train when the last of two epochs ends, from what docs and conf/mode say; None: all.
TRAINED = {"finetune": None, "discriminative": None, "lp_ft": None, "frozen": 0, "partial": 1, "gradual": 2}
BY_KIND = ("norm", "bias", "lora")
CASES = [
    pytest.param(model, mode, marks=[pytest.mark.slow] if model in LARGEST and mode != "frozen" else [])
    for model in backbone_names()
    for mode in policy_names()
    if (model, mode) != ("vgg16", "norm")
]


def _parts(tiny: Callable[..., DictConfig], model: str, mode: str, *options: str) -> Parts:
    name = ["model.name=resnet10t"] if model == "timm" else []
    small = ("data.n_train=8", "data.n_val=8", "data.n_test=8", "data.batch_size=4")
    parts = assemble(
        typed(tiny(f"model={model}", f"mode={mode}", *name, *small, f"trainer.max_epochs={EPOCHS}", *options))
    )
    settle_batchnorm(parts)
    for name, parameter in parts.task.classifier.backbone.named_parameters():
        if name.endswith("weight") and not parameter.any():  # resnet10t's closed branches pass no gradient
            nn.init.ones_(parameter)
    parts.data.setup()
    fit_standardiser(parts)
    return parts


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _expected(parts: Parts, mode: str) -> set[str]:
    """Name the tensors that must differ after training."""
    backbone = parts.task.classifier.backbone
    head = {"head.weight", "head.bias"}
    if mode == "surgical":
        return head | {f"backbone.{n}" for n in backbone.state_dict() if backbone.stage_of_state(n) == 0}
    if mode in BY_KIND:
        return head | {f"backbone.net.{name}" for name in _of_kind(backbone.net, mode)}
    count = TRAINED[mode]
    first = 0 if count is None else backbone.num_stages - count
    trained = {f"backbone.{name}" for name in backbone.state_dict() if backbone.stage_of_state(name) >= first}
    return trained | head


def _of_kind(net: nn.Module, mode: str) -> set[str]:
    """Name a network's parameters of a kind, by the shapes and names that these networks give them."""
    if mode == "lora":
        return {name for name, _ in net.named_parameters() if name.endswith(("weight_down", "weight_up"))}
    if mode == "bias":
        return {name for name, _ in net.named_parameters() if re.search(r"bias$", name)}
    layers = (nn.BatchNorm2d, nn.LayerNorm)
    norms = [name for name, module in net.named_modules() if isinstance(module, layers)]
    return {f"{name}.{key}" for name in norms for key in ("weight", "bias")}


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


def test_a_network_without_norms_has_nothing_to_train_in_norm(tiny: Callable[..., DictConfig]) -> None:
    with pytest.raises(InputError, match=r"mode=norm has nothing to train: there is no normalisation layer"):
        _parts(tiny, "vgg16", "norm")


@pytest.mark.parametrize("mode", ["surgical", *BY_KIND])
def test_other_stages_and_statistics_stay(tiny: Callable[..., DictConfig], tmp_path: Path, mode: str) -> None:
    """The record proves it for a whole run, which is also tested and cached like any other."""
    options = ["mode.stage=4"] if mode == "surgical" else ["mode.trainable_stages=2"]
    record = run(tiny(f"mode={mode}", *options), tmp_path / "run")
    assert record["frozen"]["sha256_before"] == record["frozen"]["sha256_after"]
    names = build_backbone(ModelConfig("resnet18", "resnet18"), WeightsConfig("random"), 32)[0].stage_names
    assert record["best"]["trained"] == list(names[3:4] if mode == "surgical" else names[3:])
    if mode == "lora":
        own, _ = build_backbone(ModelConfig("resnet18", "resnet18"), WeightsConfig("random"), 32)
        added = record["parameters"]["trainable"] - 513
        whole = sum(parameter.numel() for parameter in own.parameters()) + 513
        assert record["parameters"]["total"] == whole + added, "no update is added where none trains"
    held = torch.load(tmp_path / "run" / BEST, weights_only=True)["state_dict"]
    trained = [name for name in held if "backbone" in name and not re.search("running|num_batches", name)]
    assert trained
    assert all(any(f".{stage}." in name for stage in record["best"]["trained"]) for name in trained)
    assert record["parameters"]["trainable"] == sum(held[name].numel() for name in trained) + 512 + 1


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
