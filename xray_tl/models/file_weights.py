"""Weights from a file of somebody's own: whatever its tensors' names begin with, as far as they fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from xray_tl.errors import InputError

log = logging.getLogger(__name__)

LEAST = 0.9
"""Share of a trunk's parameters that a file must fill."""
NAMED = 5
"""Tensors that a message names, at most."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "state_dict_ema", "teacher")
"""Keys under which checkpoints hold their tensors."""


def unwrapped(content: object) -> dict[str, Tensor] | None:
    """Return the named tensors of a checkpoint, wherever it holds them; `None` if it holds none."""
    if not isinstance(content, dict):
        return None
    for inner in (content.get(key) for key in WRAPPERS):
        if isinstance(inner, dict):
            content = inner
            break
    tensors = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    return content if tensors and content else None


def without_prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip from names what they begin with in the file (`module.`, `model.backbone.`), as fits best.

    Args:
        tensors: The file's.
        expected: The trunk's.

    Raises:
        InputError: Several networks in it fit alike, such as a student and its teacher.
    """
    anchors = list(expected)[:3]
    prefixes = {""} | {
        name[: -len(anchor)] for name in tensors for anchor in anchors if name.endswith(f".{anchor}")
    }
    filled = {prefix: sum(f"{prefix}{name}" in tensors for name in expected) for prefix in sorted(prefixes)}
    best = max(filled, key=lambda prefix: filled[prefix])
    equal = [prefix for prefix, count in filled.items() if count == filled[best] > 0]
    if len(equal) > 1:
        raise InputError(
            f"weights.path holds networks that fit alike, {' and '.join(map(repr, equal))}: keep one of them"
        )
    if best:
        log.info("weights.path: names without their prefix %r", best)
    return {name.removeprefix(best): tensor for name, tensor in tensors.items() if name.startswith(best)}


def with_names(tensors: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Name what a file numbers, as `nn.Sequential(*net.children())` does: `0.weight` is `conv1.weight`.

    RadImageNet's files are of this kind. A file that names its layers is left as it is.

    Args:
        tensors: The file's.
        net: The trunk.
    """
    own, children = net.state_dict(), [name for name, _ in net.named_children()]
    places = {f"{place}": name for place, name in enumerate(children)}
    first = next(key for key in own if key.startswith(f"{children[0]}.")).removeprefix(children[0])
    for prefix in sorted({key[: -len(f"0{first}")] for key in tensors if key.endswith(f"0{first}")}):
        numbered = (key.removeprefix(prefix).partition(".") for key in tensors if key.startswith(prefix))
        names = {f"{prefix}{place}.{rest}": f"{places.get(place)}.{rest}" for place, _, rest in numbered}
        if sum(name in own for name in names.values()) > len(own) / 2:
            log.info("weights.path: layers by their place, %r being %s", f"{prefix}0", children[0])
            return {names.get(key, key): tensor for key, tensor in tensors.items()}
    return dict(tensors)


def fitting(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], model: str, origin: str
) -> dict[str, Tensor]:
    """Return what fits of a file's tensors, and say what does not.

    A first convolution of one grey channel is spread over three, which is the same map where all three are
    alike.

    Args:
        tensors: The file's, without its classifier.
        expected: The trunk's.
        model: Its name, for messages.
        origin: The file, for messages.

    Raises:
        InputError: Less than 90 % of the trunk's parameters are filled; names what is missing.
    """
    taken, reasons = {}, []
    for name, own in expected.items():
        tensor = tensors.get(name)
        if tensor is not None and _is_grey(tensor, own):
            tensor = (tensor / own.shape[1]).expand_as(own).contiguous()
            log.info("%s: %s of one channel is spread over %d", origin, name, own.shape[1])
        if tensor is None:
            if not name.endswith(".num_batches_tracked"):  # older files lack it, and no network here uses it
                reasons.append(f"{name} is missing")
        elif tensor.shape != own.shape:
            reasons.append(f"{name} is {tuple(tensor.shape)}, not {tuple(own.shape)}")
        else:
            taken[name] = tensor
    left = [name for name in tensors if name not in expected]
    total = sum(own.numel() for own in expected.values())
    share = sum(tensor.numel() for tensor in taken.values()) / total
    said = "; ".join(
        [*_named(reasons), *([f"{len(left)} tensors of the file are not used ({left[0]})"] if left else [])]
    )
    if share < LEAST:
        raise InputError(f"{origin} fills {share:.0%} of model {model}, {LEAST:.0%} are needed: {said}")
    if reasons:
        log.warning(
            "%s fills %.1f %% of model %s, the rest stays random: %s", origin, 100 * share, model, said
        )
    elif left:
        log.info("%s: %s", origin, said)
    return taken


def _is_grey(tensor: Tensor, own: Tensor) -> bool:
    grey = torch.Size((own.shape[0], 1, *own.shape[2:])) if own.dim() == 4 else None
    return tensor.dim() == 4 and own.shape[1] == 3 and tensor.shape == grey


def _named(reasons: list[str]) -> list[str]:
    return reasons[:NAMED] + ([f"and {len(reasons) - NAMED} more"] if len(reasons) > NAMED else [])
