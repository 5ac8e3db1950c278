"""Low-rank updates: nothing changes at first, and of each weight only a thin part can."""

import copy

import pytest
import torch
from torch import nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.low_rank import LowRank, add_low_rank
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable

IMAGES = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def _backbone(name: str) -> Backbone:
    return build_backbone(ModelConfig(name, name), WeightsConfig("random"), 32)[0].eval()


def _updates(backbone: Backbone) -> dict[str, LowRank]:
    return {name: module for name, module in backbone.named_modules() if isinstance(module, LowRank)}


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "convnext_tiny"])
def test_a_new_update_changes_no_feature_and_a_trained_one_has_its_rank(name: str) -> None:
    backbone = _backbone(name)
    before, known = backbone(IMAGES), {n: p.clone() for n, p in backbone.named_parameters()}
    add_low_rank(backbone, 2, None, seed=0)
    torch.testing.assert_close(backbone(IMAGES), before, rtol=0, atol=0)
    backbone.open(Trainable(tuple(range(backbone.num_stages)), "lora"))
    with torch.no_grad():
        for update in _updates(backbone).values():
            update.weight_up.normal_(generator=torch.Generator().manual_seed(1))
    assert not torch.equal(backbone(IMAGES), before)
    for place in _updates(backbone):
        layer, _, rest = place.partition(".parametrizations.")
        key = rest.split(".")[0]
        change = getattr(backbone.get_submodule(layer), key).detach() - known[f"{layer}.{key}"]
        assert torch.linalg.matrix_rank(change.flatten(1).double(), rtol=1e-4) == 2


def test_only_the_updates_have_gradients() -> None:
    backbone = _backbone("resnet18")
    add_low_rank(backbone, 2, None, seed=0)
    backbone.open(Trainable((3, 4), "lora")).train()(IMAGES).sum().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert trained == backbone.names(Trainable((3, 4), "lora"))
    assert all("weight_" in name and (".layer3." in name or ".layer4." in name) for name in trained)


def test_a_seed_draws_the_same_updates_and_leaves_the_generator_alone() -> None:
    drawn = []
    for seed in (0, 0, 1):
        backbone = _backbone("resnet18")
        state = torch.get_rng_state()
        add_low_rank(backbone, 2, ["layer4"], seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(".layer4." in name for name in _updates(backbone))
        drawn.append(next(iter(_updates(backbone).values())).weight_down)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_depthwise_kernel_gets_none() -> None:
    backbone = _backbone("efficientnet_b0")
    add_low_rank(backbone, 8, None, seed=0)
    layers = [backbone.get_submodule(name.partition(".parametrizations")[0]) for name in _updates(backbone)]
    assert all(isinstance(layer, nn.Conv2d) and layer.groups == 1 for layer in layers)


@pytest.mark.parametrize(
    ("rank", "targets", "expected"),
    [
        (
            2,
            ["layer4", "qkv"],
            r"mode\.lora_targets: no layer .*'qkv' in its name; .* that do are conv1",
        ),
        (4096, None, r"mode\.lora_rank=4096 is too high"),
    ],
)
def test_what_means_no_layer(rank: int, targets: list[str] | None, expected: str) -> None:
    backbone = _backbone("resnet18")
    untouched = copy.deepcopy(backbone).state_dict()
    with pytest.raises(InputError, match=expected):
        add_low_rank(backbone, rank, targets, seed=0)
    assert backbone.state_dict().keys() == untouched.keys()
