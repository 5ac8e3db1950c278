"""Heads on inner blocks: a VGG's last two have one, and its first layers learn from them."""

import torch
from torch import nn
from torchvision.models import VGG, resnet18

from xray_tl.training.block_heads import BlockHeads


def vgg() -> VGG:
    blocks = [
        (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in ((3, 4), (4, 6), (6, 8))
    ]
    net = VGG(nn.Sequential(*(layer for block in blocks for layer in block)), init_weights=False)
    net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(8 * 49, 5))
    return net


def test_the_last_two_blocks_have_heads_and_teach_the_first() -> None:
    torch.manual_seed(0)
    net = vgg()
    heads = BlockHeads(net, 3)
    assert [head[-1].in_features for head in heads.heads] == [6, 8]
    net(torch.rand(4, 3, 16, 16))
    outputs = heads()
    assert [tuple(output.shape) for output in outputs] == [(4, 3), (4, 3)]
    torch.stack(outputs).square().mean().backward()
    assert net.features[0].weight.grad.abs().max() > 0
    assert net.classifier[1].weight.grad is None
    assert not any(name.startswith("heads") for name in net.state_dict())


def test_other_networks_have_none() -> None:
    net = resnet18()
    heads = BlockHeads(net, 3)
    net.eval()(torch.rand(1, 3, 32, 32))
    assert heads() == []
    assert not heads.state_dict()
