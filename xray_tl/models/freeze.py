"""Freeze policies: which stages of a backbone train in which epoch, at what rate; hash of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from xray_tl.config import ModeConfig
from xray_tl.errors import InputError
from xray_tl.models.stages import Backbone
from xray_tl.models.weights import tensors_sha256

History = Sequence[Mapping[str, float]]
OpenStages = Callable[[int, History], int]
_POLICIES: dict[str, Callable[[ModeConfig, int, int], OpenStages]] = {}


@dataclasses.dataclass(frozen=True)
class FreezePolicy:
    """Schedule of a backbone's trainable stages.

    Attributes:
        open_stages: (epoch, history of earlier epochs) -> how many of the deepest stages train in it.
        most_open: How many stages have trained when the last epoch ends; the others never change.
        stage_decay: Factor of the learning rate per stage, counted from the deepest towards the input.
    """

    open_stages: OpenStages
    most_open: int
    stage_decay: float = 1.0

    def rate(self, depth: int) -> float:
        """Return the factor of the backbone's learning rate for the stage `depth` steps above the deepest."""
        return self.stage_decay**depth


def register_policy(
    build: Callable[[ModeConfig, int, int], OpenStages],
) -> Callable[[ModeConfig, int, int], OpenStages]:
    """Register a function (mode, stages, epochs) -> schedule under its own name, which is `mode.name`."""
    if build.__name__ in _POLICIES:
        raise ValueError(f"freeze policy {build.__name__!r} is registered twice")
    _POLICIES[build.__name__] = build
    return build


def policy_names() -> list[str]:
    """List the registered freeze modes."""
    return sorted(_POLICIES)


def build_policy(mode: ModeConfig, num_stages: int, max_epochs: int) -> FreezePolicy:
    """Build the freeze policy of a mode for a backbone of `num_stages` stages.

    Raises:
        InputError: The mode is unknown, or asks for more stages than there are.
    """
    if mode.name not in _POLICIES:
        raise InputError(f"mode.name={mode.name} is unknown: choose one of {', '.join(policy_names())}")
    decay = 1.0 if mode.layer_decay is None else mode.layer_decay
    open_stages = _POLICIES[mode.name](mode, num_stages, max_epochs)
    return FreezePolicy(open_stages, open_stages(max_epochs - 1, ()), decay)


@register_policy
def finetune(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Train everything from the first step."""
    return lambda epoch, history: stages


@register_policy
def discriminative(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Train everything; the rate decays towards the input (Howard & Ruder 2018)."""
    return lambda epoch, history: stages


@register_policy
def frozen(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Train the head alone: a linear probe."""
    return lambda epoch, history: 0


@register_policy
def partial(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Train the deepest `mode.trainable_stages` stages.

    Raises:
        InputError: The backbone has fewer stages.
    """
    count = mode.trainable_stages or 0
    if not 1 <= count <= stages:
        raise InputError(
            f"mode.trainable_stages={count} is out of range: this backbone has stages 1 to {stages}"
        )
    return lambda epoch, history: count


@register_policy
def gradual(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Open one stage every `mode.unfreeze_every` epochs, from the head downwards (Howard & Ruder 2018)."""
    every = mode.unfreeze_every or 1
    return lambda epoch, history: min(stages, epoch // every)


@register_policy
def lp_ft(mode: ModeConfig, stages: int, epochs: int) -> OpenStages:
    """Train the head until it has converged, then everything (Kumar et al. 2022).

    The head has converged when the validation loss fell in one epoch by less than the fraction
    `mode.head_tolerance`. The head trains alone for at most the fraction `mode.head_epochs` of the epochs and
    for at least one. In the last epoch everything trains.
    """
    latest = max(1, min(round((mode.head_epochs or 0.5) * epochs), epochs - 1))
    tolerance = mode.head_tolerance or 0.0

    def converged(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
        return after["val_loss"] > (1 - tolerance) * before["val_loss"]

    def open_stages(epoch: int, history: History) -> int:
        seen = history[: min(epoch, latest)]
        done = epoch >= latest or any(map(converged, seen, seen[1:]))
        return stages if done else 0

    return open_stages


def frozen_sha256(backbone: Backbone, open_stages: int) -> tuple[int, str | None]:
    """Return number and hash of the tensors in front of the open stages, buffers (BatchNorm) included."""
    kept = {
        name: tensor
        for name, tensor in backbone.state_dict().items()
        if backbone.stage_of_state(name) < backbone.num_stages - open_stages
    }
    return len(kept), tensors_sha256(kept) if kept else None
