"""Classifier: a backbone with a new head; radiographs in, one logit per target out."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from xray_tl.models.stages import Backbone
from xray_tl.seeding import stream_seed

_SMALLEST_SD = 1e-20  # a smaller SD is treated as this one


class Standardiser(nn.Module):
    """Subtracts each feature's mean and divides by a regularised spread; the identity before `fit`.

    The spread of a feature is sqrt(SD^2 + mean SD^2), times a common factor that makes the mean variance of
    the output 1. With the SD alone, a unit that is active in one of a few hundred training images would have
    an SD near zero, and new images could lie hundreds of SDs away. The mean SD^2 limits how much such a
    feature is enlarged, whatever the size of the backbone's features. How it was chosen:
    docs/measured-choices.md.

    The statistics are buffers: they are saved in the checkpoint and never depend on a test image.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))

    @torch.no_grad()
    def fit(self, features: Tensor) -> Self:
        """Compute mean and scale from features [N, D]; constant features map to 0."""
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

        The gradient that flows back into a trainable backbone is divided by the largest scale. For AdamW one
        factor on all gradients of the backbone makes no difference. Without it they would be so large that
        clipping them together with the head's would leave almost nothing of the head's gradient.
        """
        if features.requires_grad:
            largest = self.scale.amax().clamp(min=_SMALLEST_SD)
            features.register_hook(lambda gradient: gradient / largest)  # type: ignore[no-untyped-call]  # torch has no type for it
        return (features - self.mean) * self.scale


class XrayClassifier(nn.Module):
    """Backbone, standardiser, dropout and linear head: images [B, 1, H, W] in [0, 1] -> logits [B, T].

    Args:
        backbone: The backbone.
        num_targets: T, number of targets or classes; 1 for a binary task.
        seed: Seed of the head's weights; the same seed gives every arm of a backbone the same head.
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
        """Return fp32 features [B, D] of images [B, 1, H, W]; after `backbone.enter`, of activations."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> Tensor:
        """Score images [B, 1, H, W] in [0, 1]; after `backbone.enter`, activations at the freeze boundary.

        Returns:
            Logits [B, T], in fp32 whatever the precision of the backbone is.
        """
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):  # in bf16 cases would tie
            return self.head(self.dropout(self.standardiser(features)))
