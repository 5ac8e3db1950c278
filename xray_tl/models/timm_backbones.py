"""Backbones of timm: any of its networks by name."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm as timm_library
import torch
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import group_parameters
from torch import Tensor, nn

from xray_tl.config import WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.pretrained import Published, UnavailableError, cached_download, hub_download
from xray_tl.models.registry import BackboneSpec, register_backbone
from xray_tl.models.stage_map import StageOf
from xray_tl.models.weights import IMAGENET_MEAN, IMAGENET_STD, Trunk


@dataclass(frozen=True)
class TimmSource:
    """timm's weights, in the Hugging Face cache (or in torch's, for those that are hosted elsewhere).

    Attributes:
        config: timm's description of the weights.
    """

    config: dict[str, Any]

    def find(self, weights: WeightsConfig) -> Published:
        """Find the weights that timm's name stands for, or download them."""
        repository, url = self.config.get("hf_hub_id"), self.config.get("url")
        if repository:
            filename = self.config.get("hf_hub_filename") or "model.safetensors"
            return Published(repository, hub_download(repository, filename, weights.timeout_s))
        if url:
            return Published(Path(url).name, cached_download(url, weights.timeout_s))
        raise UnavailableError(f"timm publishes no weights for {self.config.get('architecture')}")


@register_backbone
def timm(spec: BackboneSpec) -> Trunk:
    """Any network of timm (`model.name`): images [B, 3, H, W] -> pooled features [B, D].

    The stages are timm's own coarse groups; a transformer's position embedding is resized to the image size.
    """
    name = spec.name.removeprefix("timm/")
    config = _pretrained_config(name)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": 3}
    if config.get("fixed_input_size"):
        options["img_size"] = spec.image_size
    try:
        net = timm_library.create_model(name, **options)
        num_features = _count_features(net, spec.image_size)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        usual = config["input_size"][-1]
        raise InputError(
            f"data.image_size={spec.image_size} does not suit {name}, which is made for {usual} ({reason})"
        ) from error
    try:
        stages = coarse_stages(net)
    except (AssertionError, AttributeError) as error:
        raise InputError(
            f"model.name={name}: timm does not say how to cut this network into stages"
        ) from error
    return Trunk(
        net,
        num_features,
        stages,
        head=_as_tuple(config.get("classifier")),
        imagenet=TimmSource(config),
        adapt=lambda tensors: _resize_positions(tensors, net),
        read=lambda file: _read_by_timm(name, file, config.get("custom_load") == "hf", options),
        mean=config["mean"],
        std=config["std"],
        image_size=config["input_size"][-1],
    )


def coarse_stages(net: nn.Module) -> StageOf:
    """Return timm's own coarse groups of a network's parameters as its stages.

    A last group that has only norms joins the group before it. A buffer, or a module without parameters,
    belongs to the stage of the parameters nearest to it in the tree of modules.
    """
    matcher: Any = net.group_matcher
    stages = group_parameters(net, matcher(coarse=True), reverse=True)
    deepest = max(stages.values())
    if all(net.get_parameter(name).ndim < 2 for name, stage in stages.items() if stage == deepest):
        deepest = max(0, deepest - 1)
    stage_within: dict[str, int] = {}
    for name, stage in stages.items():
        for prefix in _prefixes(name):
            stage_within[prefix] = min(deepest, max(stage_within.get(prefix, 0), stage))
    return lambda name: next(stage_within[prefix] for prefix in _prefixes(name) if prefix in stage_within)


def _prefixes(name: str) -> list[str]:
    """Return a dotted name and the names of all modules around it, the whole network (an empty name) last."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


def _pretrained_config(name: str) -> dict[str, Any]:
    """Return timm's description of a network and its weights.

    Raises:
        InputError: timm has no such network, or no such weights for it.
    """
    architecture, _, tag = name.partition(".")
    known = timm_library.list_models()
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=5, cutoff=0.4)
        hint = f"; close: {', '.join(close)}" if close else "; timm.list_models() lists all"
        raise InputError(f"model.name={name} is no backbone of timm{hint}")
    tagged = timm_library.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        raise InputError(f"model.name={name}: timm has no weights {tag}; choose from {', '.join(tagged)}")
    config = timm_library.get_pretrained_cfg(name)
    described = {key: value for key, value in asdict(config).items() if value is not None} if config else {}
    return {"input_size": (3, 224, 224), "mean": IMAGENET_MEAN, "std": IMAGENET_STD} | described


@torch.no_grad()
def _count_features(net: nn.Module, image_size: int) -> int:
    """Return the number of features of a network, found with one black image.

    Raises:
        ValueError: It does not return one vector of features per image, or its patches do not divide the
            image evenly.
    """
    patches = getattr(net, "patch_embed", None)
    if isinstance(patches, PatchEmbed) and any(image_size % side for side in patches.patch_size):
        raise ValueError(f"its patches measure {patches.patch_size[0]} pixels")
    features = net.eval()(torch.zeros(1, 3, image_size, image_size))
    net.train()
    if not isinstance(features, Tensor) or features.ndim != 2 or not features.shape[1]:
        raise ValueError("it returns no vector of features")
    return features.shape[1]


def _read_by_timm(name: str, file: Path, custom_load: bool, options: dict[str, Any]) -> dict[str, Tensor]:
    """Read a published file with timm, which renames and resizes tensors but tolerates missing ones.

    Raises:
        InputError: After reading, a tensor still has its random initial values.
    """
    state = torch.get_rng_state()
    drawn = timm_library.create_model(name, **options).state_dict()
    torch.set_rng_state(state)
    overlay = {"file": str(file), "custom_load": custom_load or file.suffix == ".npz"}
    net = timm_library.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    filled: dict[str, Tensor] = net.state_dict()
    untouched = [
        name
        for name, tensor in filled.items()
        if tensor.is_floating_point()
        and bool((tensor != tensor.flatten()[:1]).any())
        and torch.equal(tensor, drawn[name])
    ]
    if untouched:
        raise InputError(f"{file} lacks {len(untouched)} tensors of {name} ({untouched[0]}, ...)")
    return filled


def _resize_positions(tensors: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Resize an absolute position embedding [1, N, D] of a square grid to that of the network."""
    own, embedding = getattr(net, "pos_embed", None), tensors.get("pos_embed")
    if not isinstance(own, Tensor) or embedding is None or embedding.ndim != 3 or own.ndim != 3:
        return tensors
    patches: Any = net.get_submodule("patch_embed")
    grid = list(patches.grid_size)
    prefix = own.shape[1] - grid[0] * grid[1]
    if embedding.shape == own.shape or (embedding.shape[1] - prefix) ** 0.5 % 1:
        return tensors  # nothing to do, or another architecture: `fill` reports it
    return tensors | {"pos_embed": resample_abs_pos_embed(embedding, grid, num_prefix_tokens=prefix)}


def _as_tuple(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)
