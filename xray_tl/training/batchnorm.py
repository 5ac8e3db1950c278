"""Estimation of BatchNorm statistics over a whole data set instead of a moving average."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from xray_tl.data.splits import Batch


@torch.no_grad()
def estimate_batchnorm(net: nn.Module, layers: Iterable[_BatchNorm], batches: Iterable[Batch]) -> int:
    """Replace the running statistics of `layers` by their averages over `batches`; return how many layers.

    All other modules are in eval: no dropout acts and no other statistic changes. Every batch has the same
    weight.

    Args:
        net: The network that is run; takes images [B, 1, H, W].
        layers: BatchNorm layers of `net` to estimate.
        batches: Batches of images in [0, 1].
    """
    layers = [layer for layer in layers if layer.track_running_stats]
    if not layers:
        return 0
    training = {module: module.training for module in net.modules()}
    momenta = {layer: layer.momentum for layer in layers}
    net.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average
        layer.training = True
    device = next(net.parameters()).device
    for batch in batches:
        net(batch.image.to(device))
    for layer, momentum in momenta.items():
        layer.momentum = momentum
    for module, mode in training.items():
        module.training = mode
    return len(layers)


def batchnorm_layers(net: nn.Module) -> list[_BatchNorm]:
    """List the BatchNorm layers of a network."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]
