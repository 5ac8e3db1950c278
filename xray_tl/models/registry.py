"""Registry of backbones by name, and the function that builds them."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.depth import at_depth
from xray_tl.models.normalisation import check_normalisation, normalisation
from xray_tl.models.stages import STEMS, Backbone
from xray_tl.models.weights import MakeSource, Provenance, Trunk, fill, load_weights
from xray_tl.seeding import stream_seed

log = logging.getLogger(__name__)

SMALLEST_IMAGE = 32


@dataclass(frozen=True)
class BackboneSpec:
    """Name and image size for which a trunk is built.

    Attributes:
        name: `model.name`; timm's name for `timm`.
        image_size: Side of the images, pixels.
    """

    name: str
    image_size: int


Builder = Callable[[BackboneSpec], Trunk]
_BUILDERS: dict[str, Builder] = {}


def register_backbone(builder: Builder) -> Builder:
    """Register a backbone under the name of the function that builds its trunk.

    Raises:
        ValueError: The name is taken.
    """
    name = builder.__name__
    if name in _BUILDERS:
        raise ValueError(f"backbone {name} is registered twice")
    _BUILDERS[name] = builder
    return builder


def backbone_names() -> list[str]:
    """List the registered backbones."""
    for module in ("backbones", "timm_backbones"):  # which import this one in turn
        importlib.import_module(f"xray_tl.models.{module}")
    return sorted(_BUILDERS)


def build_backbone(
    model: ModelConfig, weights: WeightsConfig, image_size: int, make_source: MakeSource | None = None
) -> tuple[Backbone, Provenance]:
    """Build a backbone with its initial weights: images [B, 1, H, W] in [0, 1] -> features [B, D].

    `model.depth` keeps its first stages alone (`at_depth`): they get what the whole network's would have.
    `make_source` returns the file of source weights where they are asked for. Random weights depend only on
    `weights.seed` and the names; torch's generators keep their state.

    Raises:
        InputError: A name is unknown, the image too small, the depth none of the backbone's, or the weights
            are not available.
    """
    names = backbone_names()
    if model.registry not in names:
        option = "model.name" if model.registry == model.name else "model.registry"
        raise InputError(f"{option}={model.registry} is unknown; choose from {', '.join(names)}")
    if model.stem not in STEMS:
        raise InputError(f"model.stem={model.stem} is unknown; choose from {', '.join(STEMS)}")
    if image_size < SMALLEST_IMAGE:
        raise InputError(f"data.image_size={image_size} is too small; choose at least {SMALLEST_IMAGE}")
    check_normalisation(weights)
    with _generator(stream_seed("weights", weights.seed, model.registry, model.name)):
        trunk = _build_trunk(model, image_size)
        provenance = load_weights(trunk, model.name, weights, make_source)
    if provenance.source == "imagenet":
        provenance = replace(provenance, image_size=trunk.image_size)
        if image_size != trunk.image_size:
            log.info(
                "%s of %s are made for images of %d pixels a side: data.image_size=%d",
                provenance.name,
                model.name,
                trunk.image_size,
                image_size,
            )
    if model.dropout is not None:
        for layer in trunk.net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = model.dropout
    mean, std = normalisation(weights, trunk)
    if (mean, std) != (trunk.mean, trunk.std):
        # the same tensors with another normalisation count as other weights
        whole = f"{provenance.sha256} {mean} {std}".encode()
        provenance = replace(provenance, sha256=hashlib.sha256(whole).hexdigest())
    return Backbone(trunk.net, trunk.num_features, trunk.stage_of, mean, std, stem=model.stem), provenance


def _build_trunk(model: ModelConfig, image_size: int) -> Trunk:
    """Build a trunk with random weights, drawn for the whole network whatever the depth is."""
    trunk = _BUILDERS[model.registry](BackboneSpec(model.name, image_size))
    return at_depth(trunk, model.name, model.depth, image_size)


def check_sizes(model: ModelConfig, trained_at: int, used_at: int) -> None:
    """Check that weights trained at one image size fit a backbone for another; no memory is allocated.

    Raises:
        InputError: They do not fit; the message names the tensors.
    """
    backbone_names()  # registers them
    with torch.device("meta"):
        trained, used = (_build_trunk(model, size) for size in (trained_at, used_at))
        try:
            fill(used, model.name, trained.net.state_dict(), f"a backbone trained at {trained_at} px")
        except InputError as error:
            raise InputError(
                f"{error}: choose data.image_size={trained_at}, weights=random or weights=imagenet"
            ) from error


@contextmanager
def _generator(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, and restore its state afterwards."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the accelerators' too
    try:
        yield
    finally:
        torch.set_rng_state(state)
