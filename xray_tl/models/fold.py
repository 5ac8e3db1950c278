"""Folding of BatchNorm into the layers before it: for speed, or to remove it after training."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

log = logging.getLogger(__name__)

Layer = nn.Conv2d | nn.Linear


def folded(net: nn.Module) -> nn.Module:
    """Return a copy of a network for evaluation, with BatchNorm folded into the convolutions before it.

    A network that cannot be traced, or that has no BatchNorm, is returned unchanged.
    """
    if not any(isinstance(module, _BatchNorm) for module in net.modules()):
        return net
    try:
        return fuse(net)
    except Exception as reason:  # tracing a network's code can raise any exception
        log.debug("BatchNorm stays as it is (%s: %s)", type(reason).__name__, reason)
        return net


class FoldableNorms(nn.Module):
    """One BatchNorm after every convolution and linear layer of a network that has no normalisation.

    A deep plain network (VGG) hardly learns from random weights in a few hundred steps; with these norms it
    does. They are called by forward hooks, so that the network's own modules and names stay unchanged. `fold`
    turns them into weights and biases: the same function in eval, without any norm. A network with norms of
    its own, or with layers that are not linear in their weights, gets none.

    Args:
        net: The network.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self._layers = _plain_layers(net)
        norms: list[_BatchNorm] = [
            nn.BatchNorm2d(layer.out_channels)
            if isinstance(layer, nn.Conv2d)
            else nn.BatchNorm1d(layer.out_features)
            for layer in self._layers
        ]
        self.norms = nn.ModuleList(norms)
        self._pairs = list(zip(self._layers, norms, strict=True))
        self._hooks = [layer.register_forward_hook(_Behind(norm)) for layer, norm in self._pairs]

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the norms into their layers and remove them."""
        for hook in self._hooks:
            hook.remove()
        for layer, norm in self._pairs:
            mean, variance, gain, offset = norm.running_mean, norm.running_var, norm.weight, norm.bias
            assert mean is not None
            assert variance is not None
            assert layer.bias is not None
            fuse = fuse_conv_bn_weights if isinstance(layer, nn.Conv2d) else fuse_linear_bn_weights
            weight, bias = fuse(layer.weight, layer.bias, mean, variance, norm.eps, gain, offset)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


class _Behind:
    """A forward hook that sends a layer's output through its norm."""

    def __init__(self, norm: nn.Module) -> None:
        self.norm = norm

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.norm(output)


def _plain_layers(net: nn.Module) -> list[Layer]:
    """Return the layers of a network that has only plain convolutions and linear layers; else none."""
    layers = [module for module in net.modules() if list(module.parameters(recurse=False))]
    plain = [layer for layer in layers if type(layer) in (nn.Conv2d, nn.Linear) and layer.bias is not None]
    return plain if len(plain) == len(layers) else []  # type: ignore[return-value]  # by their exact type
