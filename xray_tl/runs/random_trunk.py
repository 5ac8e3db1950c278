"""BatchNorm statistics of a frozen backbone with random weights: estimated once and cached."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from xray_tl.runs.feature_cache import AT_ONCE, identity
from xray_tl.runs.parts import Parts
from xray_tl.runs.probe import STARTS_SOLVED
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

BATCHNORM_IMAGES = 256
"""Largest number of training images for the estimate."""

ESTIMATE = 2
"""Version of the estimate; raise it whenever a code change alters a statistic."""


def settle_batchnorm(parts: Parts) -> bool:
    """Estimate the statistics of a random backbone's frozen BatchNorm layers from training images.

    Random weights have seen no image, so their initial statistics say nothing. The estimate is kept in the
    cache. Backbones with other weights, and layers that train, are not changed; but where the head starts
    from the solution on the frozen backbone, all layers start as they are in one that stays frozen.

    Returns:
        Whether a statistic changed; none does if the previous job left the same values in the backbone.
    """
    backbone = parts.task.classifier.backbone
    trained = set() if parts.settings.mode.name in STARTS_SOLVED else backbone.trained_modules()
    frozen = [layer for layer in batchnorm_layers(backbone) if layer not in trained]
    if parts.provenance.source != "random" or not frozen:
        return False

    def estimate() -> Arrays:
        estimate_batchnorm(
            backbone, frozen, parts.data.mixed_image_batches("train", AT_ONCE, BATCHNORM_IMAGES)
        )
        return _statistics(frozen)

    before = _statistics(frozen)
    if parts.settings.feature_cache == "off":
        settled = estimate()
    else:
        follows_from = identity(parts, "train", parts.provenance.sha256)
        names = [name for name, module in backbone.net.named_modules() if module in frozen]
        follows_from |= {"estimate": ESTIMATE, "layers": names, "estimated_from": BATCHNORM_IMAGES}
        settled = remember("batchnorm", follows_from, estimate)
    for k, layer in enumerate(frozen):
        for name in _STATISTICS:
            getattr(layer, name).copy_(torch.from_numpy(settled[f"{name}.{k}"]))
    return any(not np.array_equal(before[name], settled[name]) for name in before)


def _statistics(layers: list[_BatchNorm]) -> Arrays:
    """Copy the running statistics of BatchNorm layers."""
    return {
        f"{name}.{k}": getattr(layer, name).cpu().numpy().copy()
        for k, layer in enumerate(layers)
        for name in _STATISTICS
    }
