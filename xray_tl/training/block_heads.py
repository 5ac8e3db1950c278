"""Heads of the source task on inner blocks of a VGG, for the time of its training."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import VGG

HEADS = 2
"""Number of blocks with a head, from the deepest."""


class BlockHeads(nn.Module):
    """A linear head on the averages of each of a VGG's last blocks; none for other networks.

    Their gradient reaches the first layers past the fully connected ones, which learn late (deep supervision:
    Lee et al. 2015). How it was chosen: docs/measured-choices.md.

    Args:
        net: The network.
        outputs: Outputs of each head.
    """

    def __init__(self, net: nn.Module, outputs: int) -> None:
        super().__init__()
        self._maps: dict[int, Tensor] = {}
        heads: list[nn.Module] = []
        for block, channels in _blocks(net)[-HEADS:]:
            block.register_forward_hook(partial(self._note, len(heads)))
            averaged = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(channels))
            heads.append(nn.Sequential(*averaged, nn.Linear(channels, outputs)))
        self.heads = nn.ModuleList(heads)

    def _note(self, index: int, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_grad_enabled():
            self._maps[index] = output

    def forward(self) -> list[Tensor]:
        """Return each head's outputs [B, outputs] for the network's last forward pass."""
        outputs = [head(self._maps[index]) for index, head in enumerate(self.heads)]
        self._maps.clear()
        return outputs


def _blocks(net: nn.Module) -> list[tuple[nn.Module, int]]:
    """Return the last layer and the number of channels of each convolutional block of a VGG."""
    blocks, channels = [], 0
    for layer in net.features if isinstance(net, VGG) else ():
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            blocks.append((layer, channels))
    return blocks
