"""Arms that differ only in how many of a backbone's stages they keep (`model.depth`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xray_tl.config.identity import depth_suffix
from xray_tl.study.arm_names import differing, short_name
from xray_tl.study.study_folder import Arm

DEPTH, NAME = "model.depth", "model.name"


@dataclass(frozen=True)
class AtDepth:
    """An arm by its depth.

    Attributes:
        depth: How many stages it has.
        arm: The arm.
        whole: Whether these are all stages, with the network's own pooling.
    """

    depth: int
    arm: Arm
    whole: bool


def by_depth(arms: Sequence[Arm]) -> dict[str, tuple[AtDepth, ...]]:
    """Return the arms of each backbone that is there at two or more depths, the smallest depth first.

    Arms belong together if all their other options are the same. A network that was not cut off stands at the
    number of its stages, unless an arm of that depth stands there already.
    """
    groups: dict[tuple[str, ...], list[AtDepth]] = {}
    for arm in sorted(arms, key=lambda arm: arm.label):
        given = arm.settings.get(DEPTH)
        depth = given or ((arm.runs[0].record.get("best") or {}).get("stages"))
        if not depth:  # a record of an earlier version does not have it
            continue
        name = " ".join([arm.name["model"].removesuffix(depth_suffix(given)), *list(arm.name.values())[1:]])
        others = sorted((key, str(value)) for key, value in arm.settings.items() if key != DEPTH)
        key = (name, str(others), str(arm.runs[0].row.get("precision")))
        found = groups.setdefault(key, [])
        if all(point.depth != depth for point in found):
            found.append(AtDepth(int(depth), arm, given is None))
    series = [(key[0], points) for key, points in groups.items() if len(points) > 1]
    return {
        _title(name, points, [others for other, others in series if other == name]): tuple(
            sorted(points, key=lambda point: point.depth)
        )
        for name, points in series
    }


def _title(name: str, points: list[AtDepth], twins: list[list[AtDepth]]) -> str:
    """Return a name, with the options that tell it from others of that name."""
    if len(twins) == 1:
        return name
    own = differing(points[0].arm.settings, [dict(twin[0].arm.settings) for twin in twins])
    told = [f"{short_name(key)}={value}" for key, value in own.items() if key != DEPTH]
    return ", ".join([name, *told]) if told else f"{name} ({1 + twins.index(points)})"
