"""VGG's first fully connected layer on the average of its map, for training from random weights."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import VGG

CELLS = 7
"""Side of the map that VGG flattens for fc6."""


class AveragedMap:
    """Until `expand`, fc6 of a VGG sees the average of the last map; other networks stay as they are.

    Of VGG16's 134 M parameters, 103 M are fc6's: one matrix for each of 7 x 7 cells. A few hundred steps on
    small images cannot fill them: the map of an image of 64 px has 2 x 2 cells, repeated to 7 x 7. So one
    matrix is trained, and `expand` gives it to every cell, divided by their number: the same features where
    all cells of the map count alike (images of up to 64 px, or of 224), and nearly the same elsewhere.

    Args:
        net: The network, with its initial weights; changed in place.
    """

    @torch.no_grad()
    def __init__(self, net: nn.Module) -> None:
        self._net = net if isinstance(net, VGG) else None
        if self._net is not None:
            whole = self._fc6()
            one = _empty(whole.in_features // CELLS**2, whole)
            # A sum of 49 random weights over 7 is spread as each of them.
            one.weight.copy_(_by_cell(whole).sum(2) / CELLS)
            one.bias.copy_(whole.bias)
            self._replace(one, 1)

    @torch.no_grad()
    def expand(self) -> None:
        """Give the trained matrix to every cell: the network has its own layers again."""
        if self._net is not None:
            one = self._fc6()
            whole = _empty(one.in_features * CELLS**2, one)
            _by_cell(whole).copy_(one.weight[:, :, None] / CELLS**2)
            whole.bias.copy_(one.bias)
            self._replace(whole, CELLS)

    def _fc6(self) -> nn.Linear:
        assert self._net is not None
        fc6 = self._net.classifier[0]
        assert isinstance(fc6, nn.Linear)
        return fc6

    def _replace(self, fc6: nn.Linear, cells: int) -> None:
        assert self._net is not None
        self._net.classifier[0] = fc6
        self._net.avgpool = nn.AdaptiveAvgPool2d(cells)


def _empty(inputs: int, like: nn.Linear) -> nn.Linear:
    """Return a layer as wide and on the same device as another; it draws no random numbers."""
    made = nn.utils.skip_init(nn.Linear, inputs, like.out_features, device=like.weight.device)  # type: ignore[no-untyped-call]  # torch has no type for it
    assert isinstance(made, nn.Linear)
    return made


def _by_cell(fc6: nn.Linear) -> torch.Tensor:
    """Return a view of fc6's weights [outputs, channels, cells]."""
    return fc6.weight.view(fc6.out_features, -1, CELLS**2)
