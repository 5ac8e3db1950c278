"""The first stages of a trunk as a trunk of its own (`model.depth`)."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from xray_tl.errors import InputError
from xray_tl.models.cut import CannotCutError, first_part
from xray_tl.models.stages import Backbone
from xray_tl.models.weights import Trunk


def at_depth(trunk: Trunk, model: str, depth: int | None, image_size: int) -> Trunk:
    """Return the first stages of a trunk, and a global average behind them, as a trunk.

    It holds the trunk's own tensors under their own names. What has no parameters (ReLU, max-pooling) up to
    the next stage's first layer stays; global pooling, flattening and a last norm that belongs to a later
    stage do not. Tokens are averaged over all positions, the class token among them: in the first stages it
    has seen nothing yet. With all of its stages a trunk is what it is without a depth: its own pooling, or
    its class token.

    Args:
        trunk: The trunk.
        model: Its name, for messages.
        depth: How many stages are kept; `None` keeps all.
        image_size: Side of the images, pixels.

    Raises:
        InputError: It does not have so many stages, or cannot be cut there; the message has the choices.
    """
    if depth is None:
        return trunk
    whole = Backbone(trunk.net, trunk.num_features, trunk.stage_of, trunk.mean, trunk.std)
    most, names = whole.num_stages, whole.stage_names
    if not 1 <= depth <= most:
        raise InputError(
            f"model.depth={depth} is out of range: {model} has stages {', '.join(names)}; "
            f"choose from 1 to {most}, or null: all"
        )
    if depth == most:
        return trunk
    try:
        return _cut_off(trunk, depth, image_size)
    except CannotCutError as reason:
        choices = [
            f"{other}" for other in range(1, most) if other != depth and _fits(trunk, other, image_size)
        ]
        line = " ".join(str(reason).split())
        raise InputError(
            f"model.depth={depth}: {model} cannot be cut behind {names[depth - 1]}: {line}; "
            f"choose from {', '.join([*choices, str(most)])}, or null: all"
        ) from reason


def _fits(trunk: Trunk, depth: int, image_size: int) -> bool:
    try:
        _cut_off(trunk, depth, image_size)
    except CannotCutError:
        return False
    return True


def _cut_off(trunk: Trunk, depth: int, image_size: int) -> Trunk:
    stages = {
        name: trunk.stage_of(name)
        for name, _ in chain(trunk.net.named_parameters(), trunk.net.named_buffers())
    }

    def stage_of(name: str) -> int | None:
        stage = trunk.stage_of(name)
        return None if stage is None else min(stage, depth - 1)

    def is_off(stage: int | None) -> bool:
        return stage is None or stage >= depth

    net, num_features = first_part(
        trunk.net,
        lambda name: is_off(stages[name]),
        lambda name: is_off(trunk.stage_of(f"{name}.weight")),
        image_size,
    )
    return replace(trunk, net=net, num_features=num_features, stage_of=stage_of, whole=trunk.net)
