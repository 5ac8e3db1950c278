"""Registry of findings: the lesions that are added to a healthy radiograph, described by plain numbers.

A finding is a fixed bank of shapes, each drawn at a few radii; because the bank is fixed, the likelihood
ratio can be computed exactly. A new finding is a function of a few lines under `register_finding`. This
module imports no torch; `templates.py` converts shapes to pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from xray_tl.config import SyntheticDataConfig
from xray_tl.errors import InputError


class Bump(NamedTuple):
    """One smooth, compact bump `weight (1 - (distance / radius)^2)^2`; lengths in the shape's own units.

    Attributes:
        row: Offset of its centre, downwards.
        column: Offset of its centre, to the right.
        radius: Distance at which it reaches zero.
        weight: Its height, in (0, 1].
    """

    row: float
    column: float
    radius: float
    weight: float = 1.0


Shape = tuple[Bump, ...]
"""A union of bumps, `1 - prod(1 - bump)`, of any scale: `templates.py` scales it to the radius."""


@dataclass(frozen=True)
class Finding:
    """A finding with the default values of its properties.

    Attributes:
        radii: mm; the part of a template above a fifth of its maximum has the area of a disc of this radius.
        contrasts: Contrast multipliers.
        d0: Detectability index at a known location and a contrast multiplier of 1.
        attenuation: Attenuation above that of aerated lung, as a share of soft tissue's; for physical
            contrast.
        flip_negative: Probability that a negative image is labelled positive.
        flip_positive: Probability that a positive image is labelled negative.
        mild_probability: Probability that a negative image has the finding too, at one of `mild_contrasts`.
        mild_contrasts: Contrast multipliers of the finding in negative images.
        shapes: The bank; shapes, radii and contrasts are drawn with equal probability.
        clearance: Least distance of the centre from mediastinum and diaphragm, mm.
        name: Registry key, set by `register_finding`.
    """

    radii: tuple[float, ...]
    contrasts: tuple[float, ...]
    d0: float
    shapes: tuple[Shape, ...]
    clearance: float = 7.0
    attenuation: float = 0.25
    flip_negative: float = 0.0
    flip_positive: float = 0.0
    mild_probability: float = 0.0
    mild_contrasts: tuple[float, ...] = (0.5, 0.8, 1.0)
    name: str = ""


_FINDINGS: dict[str, Finding] = {}


def register_finding(make: Callable[[], Finding]) -> Callable[[], Finding]:
    """Register the finding that a function returns, under the function's name.

    Raises:
        ValueError: The name is taken.
    """
    name = make.__name__
    if name in _FINDINGS:
        raise ValueError(f"finding {name!r} is already registered")
    _FINDINGS[name] = replace(make(), name=name)
    return make


def finding_names() -> tuple[str, ...]:
    """Return the registered names, sorted."""
    return tuple(sorted(_FINDINGS))


def get_finding(name: str) -> Finding:
    """Return a registered finding.

    Raises:
        InputError: There is no finding of this name.
    """
    if name not in _FINDINGS:
        raise InputError(f"data.finding={name} is unknown: choose from {', '.join(finding_names())}")
    return _FINDINGS[name]


def resolve_finding(config: SyntheticDataConfig) -> Finding:
    """Return the configured finding: values in the configuration replace the finding's defaults."""
    finding = get_finding(config.finding)
    lists = {name: getattr(config, name) for name in ("radii", "contrasts", "mild_contrasts")}
    numbers = {
        name: getattr(config, name)
        for name in ("d0", "attenuation", "flip_negative", "flip_positive", "mild_probability")
    }
    stated: dict[str, Any] = {
        **{name: tuple(map(float, values)) for name, values in lists.items() if values is not None},
        **{name: float(value) for name, value in numbers.items() if value is not None},
    }
    finding = replace(finding, **stated)
    return replace(finding, radii=tuple(config.radius_scale * radius for radius in finding.radii))


_ROUND = (
    Bump(0.0, 0.0, 1.3, 0.75),
    Bump(-0.5, 0.35, 0.8, 0.45),
    Bump(0.45, 0.3, 0.75, 0.4),
    Bump(0.35, -0.5, 0.8, 0.45),
)
_UPRIGHT = (
    Bump(-0.8, 0.1, 0.8, 0.55),
    Bump(-0.2, -0.1, 1.0, 0.75),
    Bump(0.5, 0.1, 0.95, 0.7),
    Bump(1.0, -0.1, 0.7, 0.4),
)
_WEDGE_LEFT = (  # broad at the wall on image left, tapering towards the hilum
    Bump(0.3, -0.55, 1.0, 0.7),
    Bump(-0.35, -0.3, 0.95, 0.65),
    Bump(-0.1, 0.35, 0.8, 0.55),
    Bump(-0.3, 0.8, 0.6, 0.35),
)
_WEDGE_RIGHT = (
    Bump(0.35, 0.55, 1.0, 0.7),
    Bump(-0.3, 0.35, 0.9, 0.6),
    Bump(0.0, -0.3, 0.8, 0.6),
    Bump(-0.2, -0.75, 0.6, 0.35),
)
_OBLIQUE = (
    Bump(-0.65, -0.4, 0.85, 0.6),
    Bump(0.0, 0.0, 1.0, 0.75),
    Bump(0.6, 0.45, 0.9, 0.6),
    Bump(-0.35, 0.5, 0.6, 0.3),
)
_PATCHY = (  # bronchopneumonia: confluent patches
    Bump(-0.6, -0.3, 0.75, 0.6),
    Bump(-0.2, 0.5, 0.7, 0.55),
    Bump(0.3, -0.2, 0.75, 0.65),
    Bump(0.75, 0.4, 0.65, 0.5),
    Bump(0.0, 0.0, 1.5, 0.3),
)


_RING = tuple(
    Bump(0.8 * math.sin(math.tau * k / 8), 0.8 * math.cos(math.tau * k / 8), 0.55, 0.8) for k in range(8)
)
_STREAK_LEVEL = tuple(Bump(0.12 * (k % 2), 0.5 * k - 1.5, 0.45, 0.8) for k in range(7))
_STREAK_RISING = tuple(Bump(0.3 * (3 - k), 0.42 * (k - 3), 0.45, 0.8) for k in range(7))
_CLUSTER_ROUND = (
    *(Bump(math.sin(math.tau * k / 6), math.cos(math.tau * k / 6), 0.42, 0.9) for k in range(6)),
    Bump(0, 0, 0.42, 0.9),
)
_CLUSTER_LONG = tuple(
    Bump(0.7 * (k // 2) - 1.05, 0.9 * (k % 2) - 0.45 + 0.2 * (k // 2), 0.42, 0.9) for k in range(8)
)


@register_finding
def mass() -> Finding:
    """Return the finding `mass`: a round mass of 36-54 mm."""
    return Finding(
        radii=(18.0, 22.5, 27.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=12.0,
        clearance=14.0,
        shapes=((Bump(0, 0, 1),),),
    )


@register_finding
def cavity() -> Finding:
    """Return the finding `cavity`: the ring-shaped wall of a cavity, 50-80 mm."""
    return Finding(
        radii=(24.0, 30.0, 36.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=12.0,
        clearance=16.0,
        shapes=(_RING,),
    )


@register_finding
def streak() -> Finding:
    """Return the finding `streak`: plate atelectasis, a band of 85-125 mm, level or rising to the side."""
    return Finding(
        radii=(18.0, 22.5, 27.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=12.0,
        clearance=10.0,
        shapes=(_STREAK_LEVEL, _STREAK_RISING),
    )


@register_finding
def cluster() -> Finding:
    """Return the finding `cluster`: a group of nodules over 80-150 mm."""
    return Finding(
        radii=(24.0, 30.0, 36.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=12.0,
        clearance=16.0,
        shapes=(_CLUSTER_ROUND, _CLUSTER_LONG),
    )


@register_finding
def nodule() -> Finding:
    """Return the finding `nodule`: a diffuse nodule of 10-20 mm, hard, for studies of the ceiling."""
    return Finding(
        radii=(5.0, 7.5, 10.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=4.5,
        attenuation=0.5,
        shapes=((Bump(0, 0, 1),),),
    )


@register_finding
def opacity() -> Finding:
    """Return the finding `opacity`: air-space opacity, 40-80 mm, learnable from hundreds of images.

    It looks as in pneumonia. Its ideal AUROC without label noise is 1; label flips of 3 % lower the ceiling
    to 0.97.
    """
    return Finding(
        radii=(20.0, 30.0, 40.0),
        contrasts=(0.8, 1.0, 1.25),
        d0=20.0,
        flip_negative=0.03,
        flip_positive=0.03,
        clearance=20.0,
        shapes=(_ROUND, _UPRIGHT, _WEDGE_LEFT, _WEDGE_RIGHT, _OBLIQUE, _PATCHY),
    )
