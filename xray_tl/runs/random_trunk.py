"""BatchNorm statistics of a random trunk, which has seen no image: estimated once, and kept in the cache."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from xray_tl.runs.feature_cache import AT_ONCE, identity
from xray_tl.runs.parts import Parts
from xray_tl.store.cache import Arrays, remember
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

BATCHNORM_IMAGES = 256
"""Training images that a random trunk's BatchNorm statistics are estimated from, at most."""

ESTIMATE = 2
"""Version of the estimate: raise it whenever a change moves a statistic."""


def settle_batchnorm(parts: Parts) -> bool:
    """Estimate the statistics of a random trunk's frozen BatchNorm layers from the training images, once.

    Such a trunk has seen no image. The statistics are kept beside the features.

    Returns:
        Whether a statistic may have moved: not where the job before has settled the same ones.
    """
    backbone = parts.task.classifier.backbone
    frozen = [layer for layer in batchnorm_layers(backbone) if not layer.weight.requires_grad]
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
        follows_from |= {"estimate": ESTIMATE, "layers": len(frozen), "estimated_from": BATCHNORM_IMAGES}
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
