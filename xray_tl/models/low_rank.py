"""Low-rank updates of a backbone's weights (LoRA), added as parametrizations of torch.

The library of the field, PEFT, replaces layers by wrappers and needs transformers and accelerate. A
parametrization leaves the network's modules and their names, so stages, cuts, hashes and checkpoints work as
before.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from xray_tl.errors import InputError
from xray_tl.models.stages import Backbone
from xray_tl.seeding import stream_seed

_MATRICES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("weight",),
    nn.Linear: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight",),
}
"""Layer -> its weights that are matrices, or kernels that are used as matrices."""


class LowRank(nn.Module):
    """Adds the product of two thin matrices to a weight (Hu et al. 2022); zero at the start.

    A kernel [O, I, H, W] is taken as a matrix of O rows. The factor alpha / rank of the paper is 1: under
    Adam it only scales the learning rate.

    Args:
        weight: The weight; its shape counts.
        rank: Number of columns of the one matrix and of rows of the other.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        bound = 1 / math.sqrt(columns)
        self.weight_down = nn.Parameter(weight.new_empty(rank, columns).uniform_(-bound, bound))
        self.weight_up = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight."""
        return weight + (self.weight_up @ self.weight_down).reshape(weight.shape)


def add_low_rank(
    backbone: Backbone,
    rank: int,
    targets: Sequence[str] | None,
    seed: int,
    stages: Collection[int] | None = None,
) -> None:
    """Add a low-rank update to weights of a backbone, in place; its function stays the same at first.

    A weight gets one if two thin matrices have fewer entries than it has. Grouped and depthwise convolutions
    get none: their kernels are thin already.

    Args:
        backbone: The backbone, its weights loaded.
        rank: Rank of each update.
        targets: Parts of layers' names, one of which a layer's name must hold; `None`: every convolution,
            linear layer and attention projection.
        seed: Seed of their first values.
        stages: Stages whose weights get one; `None`: all.

    Raises:
        InputError: No layer is meant, or one of the targets means none.
    """
    found = [
        (name, module, key)
        for name, module in backbone.net.named_modules()
        for kind, keys in _MATRICES.items()
        if isinstance(module, kind)
        for key in keys
        if stages is None or backbone.stage_of_state(f"{name}.{key}") in stages
        if getattr(module, "groups", 1) == 1 and _is_thinner(getattr(module, key), rank)
    ]
    for target in targets or ():
        if not any(target in name for name, _, _ in found):
            raise InputError(
                f"mode.lora_targets: no layer that takes an update of rank {rank} has {target!r} in its "
                f"name; the first that do are {', '.join(name for name, _, _ in found[:4]) or 'none'}"
            )
    meant = [item for item in found if targets is None or any(target in item[0] for target in targets)]
    if not meant:
        raise InputError(f"mode.lora_rank={rank} is too high: such updates are larger than the layers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed("lora", seed))
        for _, module, key in meant:
            register_parametrization(module, key, LowRank(getattr(module, key), rank))
    backbone.index_stages()


def _is_thinner(weight: Tensor, rank: int) -> bool:
    rows, columns = weight.shape[0], weight[0].numel()
    return rank * (rows + columns) < rows * columns
