"""Which parameters of a backbone train: those of one kind, in some of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

LOW_RANK = ".parametrizations."
"""Part of the name of every parameter that `low_rank` adds, and of the parameter that it adds to."""

KINDS = {
    "all": "parameter",
    "norm": "normalisation layer with scales and shifts",
    "bias": "bias",
    "lora": "low-rank update",
}
"""Kind of parameters -> its name in messages."""


@dataclass(frozen=True)
class Trainable:
    """The part of a backbone that trains.

    With `all`, whole stages train, their BatchNorm statistics included. With any other kind only parameters
    train: every buffer of the backbone keeps its value, BatchNorm statistics too.

    Attributes:
        stages: Stages in which parameters train, ascending; 0 is at the input. Empty: nothing trains.
        kind: Kind of the parameters, one of `KINDS`.
    """

    stages: tuple[int, ...] = ()
    kind: str = "all"

    @classmethod
    def deepest(cls, count: int, of: int, kind: str = "all") -> Trainable:
        """Return the deepest `count` of `of` stages."""
        return cls(tuple(range(of - count, of)), kind)

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[str, Any], num_stages: int) -> Trainable:
        """Return what a checkpoint says; earlier versions say how many of the deepest stages train."""
        if "trainable" not in checkpoint:
            return cls.deepest(int(checkpoint["open_stages"]), num_stages)
        stated = checkpoint["trainable"]
        return cls(tuple(int(stage) for stage in stated["stages"]), str(stated["kind"]))

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for a checkpoint."""
        return {"stages": list(self.stages), "kind": self.kind}

    def __or__(self, more: Trainable) -> Trainable:
        """Return what trains in either, of the kind of the second."""
        return Trainable(tuple(sorted({*self.stages, *more.stages})), more.kind)


NOTHING = Trainable()


def select(net: nn.Module, stage_of_state: Mapping[str, int], trainable: Trainable) -> frozenset[str]:
    """Return the names of the parameters and buffers of a network that change while it trains.

    Args:
        net: The network.
        stage_of_state: Stage of each of its parameters and buffers.
        trainable: What trains.
    """
    within = {name for name, stage in stage_of_state.items() if stage in trainable.stages}
    match trainable.kind:
        case "all":
            return frozenset(within)
        case "norm":
            return frozenset(within.intersection(_of_norms(net)))
        case "bias":
            return frozenset(within.intersection(_biases(net)))
        case "lora":
            return frozenset(n for n in within if LOW_RANK in n and not n.endswith(".original"))
    raise ValueError(f"{trainable.kind} is no kind of parameters")


def _of_norms(net: nn.Module) -> Iterator[str]:
    """Yield the scales and shifts of normalisation layers (BatchNorm, LayerNorm, GroupNorm, RMSNorm)."""
    for name, module in net.named_modules():
        if "norm" in type(module).__name__.lower():  # so are those of torch, torchvision and timm called
            for key, parameter in module.named_parameters(recurse=False):
                if parameter.squeeze().ndim <= 1:  # a normalised projection may call itself a norm
                    yield f"{name}.{key}"


def _biases(net: nn.Module) -> Iterator[str]:
    """Yield the biases of all layers, shifts of normalisation layers included (Ben Zaken et al. 2022)."""
    return (name for name, _ in net.named_parameters() if name.rpartition(".")[2].endswith("bias"))
