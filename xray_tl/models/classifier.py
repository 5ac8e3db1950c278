"""A backbone with a new head: radiographs in, one logit a target out."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from xray_tl.models.stages import Backbone
from xray_tl.seeding import stream_seed

_SMALLEST_SD = 1e-20  # a feature that never moves (float32's own resolution does not reach below it)


class Standardiser(nn.Module):
    """Features about their mean over their shrunk spread; the identity until `fit`.

    The spread of a feature is sqrt(SD^2 + mean SD^2): a unit that fires in one of a few hundred training
    images has an SD near nothing, and new images would stand hundreds of SDs away. So what is below the usual
    spread is enlarged as much as that and no more, at any size of the trunk's features; the mean variance of
    what comes out is 1. How it was chosen: docs/measured-choices.md.

    The statistics are buffers: they go into the checkpoint and never follow a test image.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))

    @torch.no_grad()
    def fit(self, features: Tensor) -> Self:
        """Take mean and spread from features [N, D]; constant features map to 0."""
        exact = features.cpu().double()  # MPS has no float64
        sd = exact.std(0, correction=0)
        # Rounding alone gives a constant feature a spread near 1e-7 of its size: that is not a signal.
        alive = sd > (1e-6 * exact.abs().amax(0)).clamp(min=_SMALLEST_SD)
        variance = torch.where(alive, sd, 0.0).square()
        shrunk = variance / (variance + variance.mean()).clamp(min=_SMALLEST_SD**2)
        unit = shrunk.mean().sqrt().clamp(min=_SMALLEST_SD)
        self.mean.copy_(exact.mean(0))
        self.scale.copy_(torch.where(alive, shrunk.sqrt() / sd.clamp(min=_SMALLEST_SD) / unit, 0.0))
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features [B, D].

        What flows back to a trunk that trains is divided by the largest scale. To AdamW one factor on all of
        a trunk's gradients makes no difference; clipped together with the head's they would leave it nothing.
        """
        if features.requires_grad:
            largest = self.scale.amax().clamp(min=_SMALLEST_SD)
            features.register_hook(lambda gradient: gradient / largest)  # type: ignore[no-untyped-call]  # torch has no type for it
        return (features - self.mean) * self.scale


class XrayClassifier(nn.Module):
    """Backbone, standardiser, dropout and linear head: images [B, 1, H, W] in [0, 1] -> logits [B, T].

    Args:
        backbone: The trunk.
        num_targets: T, targets or classes; 1 for a binary task.
        seed: Draws the head; the same seed gives the same head to every arm of a backbone.
        dropout: Probability that training drops a feature before the head.
    """

    def __init__(self, backbone: Backbone, num_targets: int, seed: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.standardiser = Standardiser(backbone.num_features)
        self.dropout = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed("head", seed))
            self.head = nn.Linear(backbone.num_features, num_targets)

    def features(self, images: Tensor) -> Tensor:
        """Return features [B, D], fp32, of what the backbone takes: images [B, 1, H, W] in [0, 1]."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> Tensor:
        """Score images [B, 1, H, W] in [0, 1], or what crosses the freeze boundary after `backbone.enter`.

        Returns:
            Logits [B, T], in fp32 whatever the trunk computes in.
        """
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):  # bf16 logits would tie cases
            return self.head(self.dropout(self.standardiser(features)))
