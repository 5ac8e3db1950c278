"""Freeze policies: which parameters of a backbone train in which epoch, at what rate; hash of all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from xray_tl.config import ModeConfig
from xray_tl.errors import InputError
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable
from xray_tl.models.weights import tensors_sha256

Schedule = Callable[[int], Trainable]
"""Epoch, from 0 -> what trains in it."""
BuildSchedule = Callable[[ModeConfig, int, int], Schedule]
_POLICIES: dict[str, BuildSchedule] = {}


@dataclasses.dataclass(frozen=True)
class FreezePolicy:
    """Schedule of a backbone's trainable parameters.

    Attributes:
        trains: What trains in an epoch; what has once trained goes on.
        at_end: What has trained when the last epoch ends; everything else never changes.
        stage_decay: Factor of the learning rate per stage, counted from the deepest towards the input.
    """

    trains: Schedule
    at_end: Trainable
    stage_decay: float = 1.0

    def rate(self, depth: int) -> float:
        """Return the factor of the backbone's learning rate for the stage `depth` steps above the deepest."""
        return self.stage_decay**depth


def register_policy(build: BuildSchedule) -> BuildSchedule:
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
    trains = _POLICIES[mode.name](mode, num_stages, max_epochs)
    return FreezePolicy(trains, trains(max_epochs - 1), decay)


@register_policy
def finetune(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train everything from the first step."""
    return lambda epoch: Trainable.deepest(stages, stages)


@register_policy
def discriminative(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train everything; the rate decays towards the input (Howard & Ruder 2018)."""
    return lambda epoch: Trainable.deepest(stages, stages)


@register_policy
def frozen(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train the head alone: a linear probe."""
    return lambda epoch: Trainable()


@register_policy
def partial(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train the deepest `mode.trainable_stages` stages.

    Raises:
        InputError: The backbone has fewer stages.
    """
    trainable = _deepest(mode, stages)
    return lambda epoch: trainable


@register_policy
def surgical(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train one stage, `mode.stage`, counted from 1 at the input (Lee et al. 2023).

    Raises:
        InputError: The backbone has no such stage.
    """
    stage = mode.stage or 0
    if not 1 <= stage <= stages:
        raise InputError(f"mode.stage={stage} is out of range: this backbone has stages 1 to {stages}")
    return lambda epoch: Trainable((stage - 1,))


@register_policy
def norm(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train scales and shifts of normalisation layers (Frankle et al. 2021); BatchNorm statistics stay."""
    trainable = _deepest(mode, stages, "norm")
    return lambda epoch: trainable


@register_policy
def bias(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train all biases, shifts of normalisation layers included (BitFit, Ben Zaken et al. 2022)."""
    trainable = _deepest(mode, stages, "bias")
    return lambda epoch: trainable


@register_policy
def lora(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train low-rank updates of the weights (Hu et al. 2022)."""
    trainable = _deepest(mode, stages, "lora")
    return lambda epoch: trainable


@register_policy
def gradual(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Open one stage every `mode.unfreeze_every` epochs, from the head downwards (Howard & Ruder 2018).

    The head starts solved, so the first stage opens in the first epoch.
    """
    every = mode.unfreeze_every or 1
    return lambda epoch: Trainable.deepest(min(stages, 1 + epoch // every), stages)


@register_policy
def lp_ft(mode: ModeConfig, stages: int, epochs: int) -> Schedule:
    """Train everything, starting from the solved head of the frozen backbone (Kumar et al. 2022)."""
    return lambda epoch: Trainable.deepest(stages, stages)


def _deepest(mode: ModeConfig, stages: int, kind: str = "all") -> Trainable:
    """Return the deepest `mode.trainable_stages` stages, or all of them where it has no value.

    Raises:
        InputError: The backbone has fewer stages.
    """
    count = stages if mode.trainable_stages is None else mode.trainable_stages
    if not 1 <= count <= stages:
        raise InputError(
            f"mode.trainable_stages={count} is out of range: this backbone has stages 1 to {stages}"
        )
    return Trainable.deepest(count, stages, kind)


def frozen_sha256(backbone: Backbone, trainable: Trainable) -> tuple[int, str | None]:
    """Return number and hash of the tensors that stay, buffers (BatchNorm) included, while a part trains."""
    changes = backbone.names(trainable)
    kept = {name: tensor for name, tensor in backbone.state_dict().items() if name not in changes}
    return len(kept), tensors_sha256(kept) if kept else None
