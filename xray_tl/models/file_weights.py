"""Weights from a user's file: match names and shapes of its tensors to a trunk."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from xray_tl.errors import InputError

log = logging.getLogger(__name__)

LEAST = 0.9
"""Share of a trunk's parameters that a file must fill."""
NAMED = 5
"""Largest number of tensors that a message names."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "state_dict_ema", "teacher")
"""Keys under which checkpoints hold their tensors."""
COMPUTED = (
    "num_batches_tracked",  # older files lack it, and no network here uses it
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "position_ids",
    "total_ops",  # a profiler's (thop)
    "total_params",
)
"""Last part of the names of tensors that are not learnt: a file may lack them, or have others."""


def unwrapped(content: object) -> dict[str, Tensor] | None:
    """Return the named tensors of a checkpoint, also from an inner dictionary; `None` if it holds none."""
    if not isinstance(content, dict):
        return None
    for inner in (content.get(key) for key in WRAPPERS):
        if isinstance(inner, dict):
            content = inner
            break
    tensors = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    return content if tensors and content else None


def without_prefix(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Strip the prefix of tensor names (`module.`, `model.backbone.`) with which most of them fit.

    Args:
        tensors: Tensors of the file.
        expected: Tensors of the trunk.

    Raises:
        InputError: Several networks in the file fit equally well, such as a student and its teacher.
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
    """Replace layer numbers, as of `nn.Sequential(*net.children())`, by names: `0.weight`, `conv1.weight`.

    RadImageNet's files have such numbers. A file that names its layers is left as it is.

    Args:
        tensors: Tensors of the file.
        net: The trunk.
    """
    own, children = net.state_dict(), [name for name, _ in net.named_children()]
    places = {f"{place}": name for place, name in enumerate(children)}
    first = next((key for key in own if key.startswith(f"{children[0]}.")), "").removeprefix(children[0])
    if not first:  # its first module has no tensors
        return dict(tensors)
    for prefix in sorted({key[: -len(f"0{first}")] for key in tensors if key.endswith(f"0{first}")}):
        numbered = (key.removeprefix(prefix).partition(".") for key in tensors if key.startswith(prefix))
        names = {f"{prefix}{place}.{rest}": f"{places.get(place)}.{rest}" for place, _, rest in numbered}
        if sum(name in own for name in names.values()) > len(own) / 2:
            log.info("weights.path: layers by their place, %r being %s", f"{prefix}0", children[0])
            return {names.get(key, key): tensor for key, tensor in tensors.items()}
    return dict(tensors)


def fitting(
    tensors: Mapping[str, Tensor],
    net: nn.Module,
    head: Sequence[str],
    model: str,
    origin: str,
    cut_off: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return the tensors of a file that fit a trunk, and log those that do not.

    A first convolution of one grey channel is spread over three, which gives the same output for three equal
    channels. Tensors that a network computes itself (`COMPUTED`) may be missing or of another shape.

    Args:
        tensors: Tensors of the file, without its classifier.
        net: The trunk.
        head: Dotted names of the classifier that the trunk lacks.
        model: Its name, for messages.
        origin: The file, for messages.
        cut_off: Names of the network's tensors behind the trunk, which the file may hold, in any shape.

    Raises:
        InputError: The file is of another network or a larger one, fills less than 90 % of the trunk, or
            lacks the first layer, without which nothing that the others learnt makes sense.
    """
    expected = net.state_dict()
    found = {name: tensors[name] for name in expected if name in tensors}
    taken = {name: _spread(name, tensor, expected[name], origin) for name, tensor in found.items()}
    shaped = {name: tensor for name, tensor in taken.items() if tensor.shape == expected[name].shape}
    _check_shapes(taken, expected, model, origin)
    missing = [name for name in expected if name not in shaped and not _is_computed(name)]
    left = [name for name in tensors if name not in expected and name not in cut_off]
    total = sum(own.numel() for own in expected.values())
    share = sum(expected[name].numel() for name in expected if name not in missing) / total
    said = "; ".join([*_named([f"{name} is missing" for name in missing]), *_unused(left)])
    if share < LEAST:
        raise InputError(f"{origin} fills {share:.0%} of model {model}, {LEAST:.0%} are needed: {said}")
    _check_first_layer(missing, net, model, origin)
    _check_size(left, [*expected, *cut_off], head, model, origin)
    if missing:
        log.warning(
            "%s fills %.1f %% of model %s, the rest stays random: %s", origin, 100 * share, model, said
        )
    elif left:
        log.info("%s: %s", origin, said)
    return shaped


def check_values(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str) -> None:
    """Check that a file's tensors are plain finite numbers; integer and meta tensors are skipped.

    Args:
        tensors: Tensors of the file for the trunk or its classifier. Its other tensors may hold anything:
            torchxrayvision's thresholds are NaN where none is known.
        expected: Tensors of the trunk.
        origin: The file, for messages.

    Raises:
        InputError: A tensor holds NaN or infinity, or is quantised, sparse, complex, or of integers where the
            trunk has floats.
    """
    real = {name for name, own in expected.items() if own.is_floating_point()}
    for name, tensor in tensors.items():
        whole = name in real and not tensor.is_floating_point()
        if tensor.is_quantized or tensor.layout is not torch.strided or tensor.is_complex() or whole:
            kind = str(tensor.dtype if tensor.layout is torch.strided else tensor.layout)
            raise InputError(f"{origin} holds {name} as {kind.removeprefix('torch.')}: it takes plain floats")
    wrong = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if wrong:
        value = "NaN" if tensors[wrong[0]].isnan().any() else "infinity"
        more = f" (and {len(wrong) - 1} more tensors)" if len(wrong) > 1 else ""
        raise InputError(
            f"{origin} holds {value} in {wrong[0]}{more}: it is damaged, or its training diverged"
        )


def _is_finite(tensor: Tensor) -> bool:
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    numbers = tensor if tensor.element_size() > 1 else tensor.float()  # eight-bit floats have no sum
    # If the sum is finite, so are all parts, and a sum is three times as fast. But a sum can also overflow.
    return bool(numbers.sum().isfinite() or numbers.isfinite().all())


def _check_shapes(
    taken: Mapping[str, Tensor], expected: Mapping[str, Tensor], model: str, origin: str
) -> None:
    """Refuse a file whose tensors have the trunk's names but other shapes."""
    odd = [name for name in taken if taken[name].shape != expected[name].shape and not _is_computed(name)]
    if odd:
        shapes = f"{tuple(taken[odd[0]].shape)}, not {tuple(expected[odd[0]].shape)}"
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise InputError(f"{origin} is of another network than model {model}: {odd[0]} is {shapes}{more}")


def _check_first_layer(missing: list[str], net: nn.Module, model: str, origin: str) -> None:
    """Refuse a file without the layer that sees the image: the first that has a matrix or filters."""
    for place, layer in net.named_modules():
        own = dict(layer.named_parameters(place, recurse=False))
        if f"{place}.weight" in own and own[f"{place}.weight"].ndim > 1:
            lacking = [name for name in own if name in missing]
            if lacking:
                raise InputError(
                    f"{origin} lacks {lacking[0]}, of the first layer of model {model}: "
                    "behind a random one, nothing that the other layers learnt makes sense"
                )
            return


def _check_size(
    left: list[str], expected: Collection[str], head: Sequence[str], model: str, origin: str
) -> None:
    """Refuse a file that has more layers inside the network's own modules, as a larger network has.

    Tensors beside the classifier that was removed belong to a classifier, not to the trunk.
    """
    own = {module for name in expected for module in _around(name)}
    beside = {name.rpartition(".")[0] for name in head}
    homes = {name: next((module for module in _around(name) if module in own), "") for name in left}
    inside = [name for name, home in homes.items() if home not in beside | {""} and not _is_computed(name)]
    if inside:
        more = f" (and {len(inside) - 1} more)" if len(inside) > 1 else ""
        raise InputError(
            f"{origin} is of a larger network than model {model}: it has {inside[0]}{more}, "
            f"which {model} lacks"
        )


def _around(name: str) -> list[str]:
    """List the modules around a tensor, the nearest first."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]


def _is_computed(name: str) -> bool:
    return name.rpartition(".")[2] in COMPUTED


def _spread(name: str, tensor: Tensor, own: Tensor, origin: str) -> Tensor:
    """Spread a first convolution of one channel over the trunk's channels; return others unchanged."""
    if not _is_grey(tensor, own):
        return tensor
    log.info("%s: %s of one channel is spread over %d", origin, name, own.shape[1])
    return (tensor.to(own.dtype) / own.shape[1]).expand_as(own).contiguous()


def _is_grey(tensor: Tensor, own: Tensor) -> bool:
    grey = torch.Size((own.shape[0], 1, *own.shape[2:])) if own.dim() == 4 else None
    return tensor.dim() == 4 and own.shape[1] == 3 and tensor.shape == grey


def _named(reasons: list[str]) -> list[str]:
    return reasons[:NAMED] + ([f"and {len(reasons) - NAMED} more"] if len(reasons) > NAMED else [])


def _unused(left: list[str]) -> list[str]:
    return [f"{len(left)} tensors of the file are not used ({left[0]})"] if left else []
