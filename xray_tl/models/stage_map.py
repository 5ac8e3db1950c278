"""Which stage of a network each parameter, buffer and module belongs to, and what the stages are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from torch import nn

from xray_tl.models.trainable import LOW_RANK

StageOf = Callable[[str], int | None]
"""Maps a parameter or buffer name, or `<module>.weight` for a module, to its stage; 0 is at the input."""


def by_prefix(*stages: tuple[str, ...]) -> StageOf:
    """Return a map to stages, input first, given the dotted names of each stage's modules and parameters."""
    stage_of_prefix = {prefix: index for index, prefixes in enumerate(stages) for prefix in prefixes}

    def stage_of(name: str) -> int | None:
        parts = name.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((stage_of_prefix[prefix] for prefix in prefixes if prefix in stage_of_prefix), None)

    return stage_of


def _state_names(net: nn.Module) -> Iterator[str]:
    return (name for name, _ in chain(net.named_parameters(), net.named_buffers()))


def stages_of_state(net: nn.Module, stage_of: StageOf) -> dict[str, int]:
    """Return the stage of every parameter and buffer; each must have one, and no stage may be empty."""
    stages = {name: stage_of(_without_update(name)) for name in _state_names(net)}
    orphans = [name for name, stage in stages.items() if stage is None]
    if orphans:
        raise ValueError(f"belongs to no stage: {', '.join(orphans)}")
    placed = {name: stage for name, stage in stages.items() if stage is not None}
    if set(placed.values()) != set(range(1 + max(placed.values(), default=-1))) or not placed:
        raise ValueError(
            f"stages must be 0..n-1 and hold a parameter each, got {sorted(set(placed.values()))}"
        )
    return placed


def _without_update(name: str) -> str:
    """Return the name that a parameter has in the network without low-rank updates."""
    module, found, rest = name.partition(LOW_RANK)
    return f"{module}.{rest.partition('.')[0]}" if found else name


def stages_of_modules(net: nn.Module, stage_of: StageOf, stage_of_state: dict[str, int]) -> dict[str, int]:
    """Return, for every module, the deepest stage among the parameters and buffers in it.

    A module without any (dropout, pooling) has the stage that `stage_of` gives it, otherwise the deepest one.
    """
    deepest_within: dict[str, int] = {}
    for state, stage in stage_of_state.items():
        for module in _ancestors(state):
            deepest_within[module] = max(deepest_within.get(module, 0), stage)
    deepest = max(stage_of_state.values())
    for name, _ in net.named_modules():
        if name not in deepest_within:
            stage_or_none = stage_of(f"{name}.weight")
            deepest_within[name] = deepest if stage_or_none is None else stage_or_none
    return deepest_within


def _ancestors(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(len(parts)))


def stage_names(stage_of_state: dict[str, int], num_stages: int) -> tuple[str, ...]:
    """Name each stage after the largest modules that lie wholly within it: `conv1+bn1`, `layer1`."""
    stages_below: dict[str, set[int]] = {}
    for state, stage in stage_of_state.items():
        for name in (*_ancestors(state), state):
            stages_below.setdefault(name, set()).add(stage)
    members: list[list[str]] = [[] for _ in range(num_stages)]
    for state, stage in stage_of_state.items():
        largest = next(name for name in (*_ancestors(state), state) if name and stages_below[name] == {stage})
        if largest not in members[stage]:
            members[stage].append(largest)
    return tuple("+".join(names) if len(names) < 3 else f"{names[0]}...{names[-1]}" for names in members)
