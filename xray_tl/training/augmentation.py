"""Random augmentation of training images: positioning, exposure and noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from xray_tl.config import AugmentConfig

Augment = Callable[[Tensor], Tensor]


def build_augment(config: AugmentConfig) -> Augment | None:
    """Return a function that augments a batch [B, 1, H, W] in [0, 1] image by image; `None` without steps.

    It draws from torch's global generator, which is seeded again in every epoch. Areas that a rotation or a
    shift brings in from outside the image are black. Images are never mirrored: the heart lies on the left.
    """
    steps: list[torch.nn.Module] = []
    if config.degrees or config.translate or config.scale:
        steps.append(
            v2.RandomAffine(
                config.degrees,
                translate=(config.translate, config.translate),
                scale=(1 - config.scale, 1 + config.scale),
                interpolation=InterpolationMode.BILINEAR,
            )
        )
    if config.brightness or config.contrast:
        steps.append(v2.ColorJitter(brightness=config.brightness, contrast=config.contrast))
    if config.noise:
        steps.append(v2.GaussianNoise(sigma=config.noise))
    if not steps:
        return None
    transform = v2.Compose(steps)
    return lambda images: torch.stack([transform(image) for image in images])
