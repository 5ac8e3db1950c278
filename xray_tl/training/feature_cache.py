"""Features of a frozen trunk: a pure function of weights and images, so they are computed once.

They are kept in the cache under everything that they follow from, and shared by all epochs, seeds and jobs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xray_tl.cache import Arrays, remember
from xray_tl.training.assembly import Parts
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm

log = logging.getLogger(__name__)

FEATURES = 1
"""Version of the features: raise it whenever a change moves one."""

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

AT_ONCE = 32
"""Images that pass through the trunk at once, whatever the run's batch size: all runs share the result."""


def apply_features(parts: Parts, splits: Iterable[str], trunk: str | None) -> str:
    """Let a run whose trunk never trains load its features instead of images.

    Args:
        parts: The run; its trunk as it will be used, weights loaded, BatchNorm statistics settled.
        splits: Which of `train`, `val` and `test`.
        trunk: Hash of the trunk's tensors.

    Returns:
        What the record calls it: `hit` (all were in the cache), `miss` (computed now) or `off`.
    """
    reason = _why_not(parts)
    if reason is not None:
        log.log(
            logging.DEBUG if parts.task.policy.most_open else logging.INFO, "feature cache off: %s", reason
        )
        return "off"
    missed = False
    for split in splits:
        made: list[str] = []

        def compute(split: str = split, made: list[str] = made) -> Arrays:
            made.append(split)
            return {"features": _compute(parts, split)}

        kept = remember("features", identity(parts, split, trunk), compute)
        parts.data.use_features(split, torch.from_numpy(kept["features"]))
        missed = missed or bool(made)
    return "miss" if missed else "hit"


def settle_batchnorm(parts: Parts) -> None:
    """Estimate the statistics of a random trunk's frozen BatchNorm layers from the training images, once.

    Such a trunk has seen no image. Where features are cached the statistics are kept beside them.
    """
    backbone = parts.task.classifier.backbone
    frozen = [layer for layer in batchnorm_layers(backbone) if not layer.weight.requires_grad]
    if parts.provenance.source != "random" or not frozen:
        return
    if _why_not(parts) is not None:
        estimate_batchnorm(backbone, frozen, parts.data.image_batches("train", AT_ONCE))
        return

    def estimate() -> Arrays:
        estimate_batchnorm(backbone, frozen, parts.data.image_batches("train", AT_ONCE))
        return {
            f"{name}.{k}": getattr(layer, name).cpu().numpy()
            for k, layer in enumerate(frozen)
            for name in _STATISTICS
        }

    key = identity(parts, "train", parts.provenance.sha256)
    kept = remember("batchnorm", key, estimate)
    for k, layer in enumerate(frozen):
        for name in _STATISTICS:
            getattr(layer, name).copy_(torch.from_numpy(kept[f"{name}.{k}"]))


def identity(parts: Parts, split: str, trunk: str | None) -> dict[str, Any]:
    """Return all that a split's features follow from.

    Args:
        parts: The run.
        split: `train`, `val` or `test`.
        trunk: Hash of the trunk's tensors.
    """
    model, data = parts.settings.model, parts.data
    return {
        "features": FEATURES,
        "torch": torch.__version__,
        "trunk": trunk,
        "model": [model.registry, model.name, model.stem, model.memory_format],
        "data": data.sources[split].identity(),
        "images": data.sizes[split],
        "precision": parts.precision,
        "device": parts.device.type,
    }


def _why_not(parts: Parts) -> str | None:
    """Say why a run cannot use cached features; `None` if it can."""
    if parts.settings.feature_cache == "off":
        return "feature_cache=off"
    if parts.task.policy.most_open:
        return f"mode={parts.settings.mode.name} trains the backbone"
    size = 4 * parts.task.classifier.backbone.num_features * sum(parts.data.sizes.values())
    limit = parts.data.config.memory_limit_gb
    if size > limit * 1e9:
        return f"the features ({size / 1e9:.1f} GB) exceed data.memory_limit_gb={limit:g}"
    return None


@torch.inference_mode()
def _compute(parts: Parts, split: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    log.info("features of %d %s images", parts.data.sizes[split], split)
    backbone = parts.task.classifier.backbone.eval()
    with _autocast(parts):
        rows: list[Tensor] = [
            backbone(batch.image.to(parts.device)).float().cpu()
            for batch in parts.data.image_batches(split, AT_ONCE)
        ]
    return torch.cat(rows).numpy()


def _autocast(parts: Parts) -> AbstractContextManager[Any]:
    if parts.precision == "bf16-mixed":
        return torch.autocast(parts.device.type, dtype=torch.bfloat16)
    return nullcontext()
