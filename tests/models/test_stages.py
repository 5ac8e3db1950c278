"""Stages: what trains and what stays, over a toy network and over the whole registry."""

from __future__ import annotations

import copy
import functools
from itertools import chain

import pytest
import torch
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import backbone_names, build_backbone
from xray_tl.models.stage_map import by_prefix
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable

EVERY_BACKBONE = [n for n in backbone_names() if n != "timm"] + ["timm/test_resnet", "timm/test_vit"]
HALF = (0.5, 0.5, 0.5)


@functools.cache
def _shared_backbone(name: str) -> Backbone:
    registry = "timm" if name.startswith("timm/") else name
    model = ModelConfig(name=name, registry=registry)
    return build_backbone(model, WeightsConfig(source="random"), 32)[0]


@pytest.fixture(params=EVERY_BACKBONE)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """One backbone of the registry, everything open, in train mode."""
    backbone = _shared_backbone(request.param)
    return backbone.open(Trainable()).open(backbone.deepest(backbone.num_stages)).train()


def _toy(**options: str) -> Backbone:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.Dropout(0.5), nn.Conv2d(4, 5, 3)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.Dropout(0.5)),
    )
    return Backbone(net, 6, by_prefix(("0", "1"), ("2",), ("3.2",)), mean=HALF, std=HALF, **options)


def _open(backbone: Backbone, count: int) -> Backbone:
    return backbone.open(backbone.deepest(count))


def _state(backbone: Backbone) -> dict[str, Tensor]:
    tensors = chain(backbone.net.named_parameters(prefix="net"), backbone.net.named_buffers(prefix="net"))
    return dict(tensors)


def test_prefixes_match_whole_names() -> None:
    stage_of = by_prefix(("features.1",), ("features.10", "head"))
    assert [
        stage_of(n) for n in ("features.1.weight", "features.10.0.bias", "features.11.weight", "head")
    ] == [
        0,
        1,
        None,
        1,
    ]


@pytest.mark.parametrize("stages", [(("0",), ("2",), ("3",)), (("0", "1"), ("nothing",), ("2", "3"))])
def test_every_tensor_needs_a_stage_and_every_stage_a_tensor(stages: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ValueError, match="stage"):
        Backbone(_toy().net, 6, by_prefix(*stages), mean=HALF, std=HALF)


def test_modules_of_frozen_stages_stay_in_eval() -> None:
    backbone = _open(_toy(), 2)
    modes = {name: module.training for name, module in backbone.net.named_modules()}
    assert not modes["0"]
    assert not modes["1"]
    assert modes["2.0"]  # dropout between two stages belongs to the one that lists it
    assert modes["2"]
    assert modes[""]
    _open(backbone, 1)
    assert not backbone.net[2][0].training
    assert backbone.net[3][3].training  # listed nowhere: with the deepest stage
    _open(backbone, 0)
    assert not any(module.training for module in backbone.net.modules())
    _open(backbone.eval(), 3)
    assert not any(module.training for module in backbone.modules())


def test_opening_again_restores_what_trains() -> None:
    backbone = _toy()
    assert backbone.trainable == backbone.deepest(3)
    _open(_open(backbone, 0).train(), 3)
    assert all(module.training for module in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_convert_is_repeat_where_channels_share_mean_and_deviation() -> None:
    images = torch.rand(2, 1, 8, 8)
    repeat, convert = _toy().eval(), _toy(stem="convert").eval()
    assert convert.net[0].weight.shape == (4, 1, 3, 3)
    torch.testing.assert_close(convert(images), repeat(images), rtol=1e-5, atol=1e-6)


def test_convert_is_refused_where_it_would_not_be_the_same() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match=r"model\.stem=repeat"):
        Backbone(net, 6, by_prefix(("0",)), mean=HALF, std=HALF, stem="convert")


@pytest.mark.parametrize("stem", ["repeat", "convert"])
def test_images_enter_in_the_memory_format_of_the_weights(stem: str) -> None:
    backbone = _toy(stem=stem)
    images = torch.rand(2, 1, 8, 6)
    seen: list[Tensor] = []
    backbone.net[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    backbone(images)
    backbone.to(memory_format=torch.channels_last)(images)
    assert seen[0].is_contiguous()
    assert seen[1].is_contiguous(memory_format=torch.channels_last)
    entered = backbone.normalise(images)
    assert entered.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(entered, ((images - 0.5) / 0.5).expand_as(entered))


def test_each_channel_is_normalised_by_its_own_constants() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    backbone = Backbone(_toy().net, 6, by_prefix(("0", "1"), ("2",), ("3",)), mean=mean, std=std)
    images = torch.rand(2, 1, 8, 8)
    expected = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(backbone.normalise(images), expected)
    assert not {name for name in backbone.state_dict() if not name.startswith("net.")}


def test_a_copy_is_independent() -> None:
    backbone = _open(_toy(), 1)
    copied = _open(copy.deepcopy(backbone), 3)
    assert backbone.trainable == backbone.deepest(1)
    assert not backbone.net[0].weight.requires_grad
    assert copied.net[0].weight.requires_grad


def test_stages_partition_all_state(backbone: Backbone) -> None:
    stages = [backbone.stage_of_state(name) for name in _state(backbone)]
    assert set(stages) == set(range(backbone.num_stages))
    assert len(backbone.stage_names) == len(set(backbone.stage_names)) == backbone.num_stages
    listed = [name for stage in range(backbone.num_stages) for name, _ in backbone.stage_parameters(stage)]
    assert sorted(listed) == sorted(name for name, _ in backbone.named_parameters())
    first_conv = next(n for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    assert backbone.stage_of_state(f"{first_conv}.weight") == 0


def test_exactly_the_open_stages_train(backbone: Backbone) -> None:
    for n in range(backbone.num_stages + 1):
        _open(backbone, n)
        for name, tensor in _state(backbone).items():
            is_open = backbone.stage_of_state(name) >= backbone.num_stages - n
            if isinstance(tensor, nn.Parameter):
                assert tensor.requires_grad == is_open
            holder = backbone.get_submodule(name.rpartition(".")[0])
            assert holder.training == is_open or any(holder.children())


def test_nothing_frozen_moves_and_gradients_stop_at_the_boundary(backbone: Backbone) -> None:
    _open(backbone, 1)
    before = {name: tensor.clone() for name, tensor in backbone.net.named_buffers(prefix="net")}
    backbone(torch.rand(2, 1, 32, 32)).sum().backward()
    after = dict(backbone.net.named_buffers(prefix="net"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(backbone.stage_of_state(name) == backbone.num_stages - 1 for name in moved)
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == (backbone.stage_of_state(name) == backbone.num_stages - 1)
    counts = {name for name in before if name.endswith("num_batches_tracked")}
    deepest = {name for name in counts if backbone.stage_of_state(name) == backbone.num_stages - 1}
    assert deepest <= moved
    backbone.zero_grad(set_to_none=True)


def test_a_frozen_backbone_is_the_same_function_in_train_and_eval(backbone: Backbone) -> None:
    images = torch.rand(2, 1, 32, 32)
    features = _open(backbone, 0).train()(images)
    assert not features.requires_grad
    assert features.shape == (2, backbone.num_features)
    assert features.dtype == torch.float32
    assert torch.equal(features, backbone.train()(images))
    assert torch.equal(features, backbone.eval()(images))
