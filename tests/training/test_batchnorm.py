"""BatchNorm statistics over a whole data set."""

import torch
from torch import nn

from xray_tl.data.splits import Batch
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)
    )


def _batches() -> list[Batch]:
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return [Batch(part, torch.zeros(4, 1), torch.arange(4)) for part in images.split(4)]


def test_estimates_are_the_averages_over_batches() -> None:
    net, batches = _net(), _batches()
    first = net[1]
    assert isinstance(first, nn.BatchNorm2d)
    estimate_batchnorm(net, batchnorm_layers(net), batches)
    outputs = [net[0](batch.image).detach() for batch in batches]
    mean = torch.stack([out.mean((0, 2, 3)) for out in outputs]).mean(0)
    var = torch.stack([out.var((0, 2, 3)) for out in outputs]).mean(0)
    assert torch.allclose(first.running_mean, mean, atol=1e-6)
    assert torch.allclose(first.running_var, var, atol=1e-6)


def test_only_the_named_layers_move_and_modes_come_back() -> None:
    net = _net().train()
    net[4].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modes, momentum = [module.training for module in net.modules()], net[1].momentum
    named = net[1]
    assert isinstance(named, nn.BatchNorm2d)
    estimate_batchnorm(net, [named], _batches())
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert [module.training for module in net.modules()] == modes
    assert net[1].momentum == momentum


def test_estimating_twice_changes_nothing() -> None:
    net = _net()
    estimate_batchnorm(net, batchnorm_layers(net), _batches())
    once = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    estimate_batchnorm(net, batchnorm_layers(net), _batches())
    assert all(torch.equal(tensor, once[name]) for name, tensor in net.state_dict().items())
