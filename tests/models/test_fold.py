"""BatchNorm for the time of training, folded without a trace."""

import pytest
import torch
from torch import nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.fold import FoldableNorms, folded
from xray_tl.models.registry import backbone_names, build_backbone


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )


def test_folded_the_network_computes_the_same_and_is_itself_again() -> None:
    net, reference = plain(), plain()
    norms = FoldableNorms(net)
    assert len(norms.norms) == 3
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    net.train()
    optimizer = torch.optim.SGD([*net.parameters(), *norms.parameters()], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()
    norms.eval()
    before = net.eval()(images)
    norms.fold()
    assert list(net.state_dict()) == list(reference.state_dict())
    torch.testing.assert_close(net(images), before, rtol=1e-5, atol=1e-6)
    again = plain()
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again(images), before, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(reference(images), before, atol=0.01), "training moved something"


@pytest.mark.parametrize("broken", [nn.Linear(4, 4, bias=False), nn.LayerNorm(4), nn.Conv1d(1, 1, 1)])
def test_only_networks_of_plain_layers_get_norms(broken: nn.Module) -> None:
    assert len(FoldableNorms(nn.Sequential(nn.Linear(4, 4), broken)).norms) == 0


@pytest.mark.parametrize("name", [name for name in backbone_names() if name != "timm"])
def test_among_the_backbones_vgg_alone_is_plain(name: str) -> None:
    backbone, _ = build_backbone(ModelConfig(name, name), WeightsConfig("random"), 32)
    assert len(FoldableNorms(backbone.net).norms) == (15 if name == "vgg16" else 0)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "efficientnet_b0", "vit_b_16", "efficientnet_lite0"]
)
def test_a_folded_copy_computes_the_same_and_leaves_the_network_alone(name: str) -> None:
    net = build_backbone(ModelConfig(name, name), WeightsConfig("random"), 32)[0].net.eval()
    generator = torch.Generator().manual_seed(0)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # statistics as after training: not those that the folding could ignore
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.uniform_(-0.1, 0.1, generator=generator)
        norm.running_var.uniform_(0.8, 1.2, generator=generator)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    images = torch.rand(2, 3, 32, 32, generator=generator)
    fast = folded(net)
    with torch.no_grad():
        torch.testing.assert_close(fast(images), net(images), rtol=1e-4, atol=1e-5)
    left = [module for module in fast.modules() if isinstance(module, nn.BatchNorm2d)]
    # Lite0's code cannot be followed; a norm behind a sum or a concatenation (DenseNet) has no convolution.
    assert len(left) < len(norms) or name in ("vit_b_16", "efficientnet_lite0")
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
