"""Normalisation of images: the mean and standard deviation that belong to the weights."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import torch
from safetensors import safe_open

from xray_tl.config import WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.weights import Trunk

CHANNELS = 3
log = logging.getLogger(__name__)

Channels = tuple[float, ...]


def check_normalisation(weights: WeightsConfig) -> None:
    """Check `weights.mean` and `weights.std`.

    Raises:
        InputError: They are not for `weights=file`, not both given, or no values of one or three channels.
    """
    asked = {"mean": weights.mean, "std": weights.std}
    given = {name: values for name, values in asked.items() if values is not None}
    if not given:
        return
    if weights.source != "file" and weights.path is None:  # else they are for other arms of a sweep
        raise InputError(
            f"weights.{next(iter(given))} is for weights=file: weights={weights.source} has its own"
        )
    if len(given) == 1:
        raise InputError(
            f"weights.{next(iter(given))} needs the other of weights.mean and weights.std beside it"
        )
    for name, values in given.items():
        _checked(list(values), f"weights.{name}", positive=name == "std")


def normalisation(weights: WeightsConfig, trunk: Trunk) -> tuple[Channels, Channels]:
    """Return mean and standard deviation of each of three channels, for intensities in [0, 1].

    In this order: `weights.mean` and `weights.std`; those of the file (metadata `mean` and `std` of a
    safetensors file, as JSON lists, or the values in a checkpoint of this project); the trunk's own.

    Raises:
        InputError: The file's metadata are not valid.
    """
    if weights.source != "file":
        return trunk.mean, trunk.std
    if weights.mean is not None and weights.std is not None:
        return _spread(list(weights.mean)), _spread(list(weights.std))
    if weights.path is not None:
        stated = _stated(Path(weights.path).expanduser())
        if stated is not None:
            log.info("weights.path: images are normalised as the file says, mean %s, std %s", *stated)
            return stated
    return trunk.mean, trunk.std


def _stated(file: Path) -> tuple[Channels, Channels] | None:
    if file.suffix != ".safetensors":
        return _kept(file)
    with safe_open(file, framework="pt") as opened:
        stated = opened.metadata() or {}
    if not {"mean", "std"} <= stated.keys():
        return None
    found = []
    for name in ("mean", "std"):
        origin = f"weights.path={file}: metadata {name}={stated[name][:50]}"
        try:
            values = json.loads(stated[name])
        except ValueError:
            raise InputError(
                f"{origin} is no list of numbers: weights.mean and weights.std take its place"
            ) from None
        found.append(_spread(_checked(values, origin, positive=name == "std")))
    return found[0], found[1]


def _kept(file: Path) -> tuple[Channels, Channels] | None:
    """Return the mean and SD stored in a checkpoint of this project; only tensors are unpickled."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)  # reads no tensor
        scale, shift = content["scale_and_shift"]
    except Exception:  # no such checkpoint; faults of the file are reported where its tensors are read
        return None
    std = [1 / float(value) for value in scale]
    return _spread([-float(s) * d for s, d in zip(shift, std, strict=True)]), _spread(std)


def _checked(values: object, origin: str, *, positive: bool) -> list[float]:
    numbers = values if isinstance(values, list) else []
    fine = all(isinstance(value, int | float) and math.isfinite(value) for value in numbers)
    if len(numbers) not in (1, CHANNELS) or not fine or (positive and min(numbers) <= 0):
        more = ", each more than 0" if positive else ""
        raise InputError(f"{origin} is not valid: give one number or {CHANNELS}, as [0.5]{more}")
    return [float(value) for value in numbers]


def _spread(values: list[float]) -> Channels:
    return tuple(values * (CHANNELS if len(values) == 1 else 1))
