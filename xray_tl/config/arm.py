"""The types of an arm: which backbone, how much of it trains, from which weights."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """A backbone and how a one-channel radiograph enters it.

    Attributes:
        name: Shown name; the registry key too, unless `registry` says otherwise (timm's name for `timm`).
        registry: Key in the backbone registry.
        stem: `repeat` (one channel repeated to three) or `convert` (first convolution summed to one channel).
        dropout: Probability of the backbone's dropout layers; `None` leaves the backbone's own.
        head_dropout: Probability of dropping a feature before the head, in [0, 1).
        memory_format: `channels_last` or `contiguous`, whichever was measured faster for this backbone.
    """

    name: str = MISSING
    registry: str = "${.name}"
    stem: str = "repeat"
    dropout: float | None = None
    head_dropout: float = 0.0
    memory_format: str = "channels_last"


@dataclass
class ModeConfig:
    """A freeze mode: which stages of the backbone train, and when.

    Attributes:
        name: Registry key of the freeze policy.
        head_lr: Learning rate of the head.
        standardise: Standardise features by mean and shrunk spread in training images (`Standardiser`).
        trainable_stages: `partial`: how many of the deepest stages train.
        unfreeze_every: `gradual`: epochs between the opening of one stage and the next.
        head_epochs: `lp_ft`: the backbone opens at the latest after this share of the epochs, in (0, 1).
        head_tolerance: `lp_ft`: the head has converged when the validation loss falls by less than this share
            in an epoch.
        layer_decay: `discriminative`: factor of the learning rate per stage towards the input, in (0, 1].
    """

    name: str = MISSING
    head_lr: float = MISSING
    standardise: bool = False
    trainable_stages: int | None = None
    unfreeze_every: int | None = None
    head_epochs: float | None = None
    head_tolerance: float | None = None
    layer_decay: float | None = None


@dataclass
class WeightsConfig:
    """Where a backbone's initial weights come from.

    Attributes:
        source: `auto`, `imagenet`, `source`, `random` or `file`.
        recipe: torchvision's training recipe for `imagenet`: `V1` (all backbones have it) or `V2`.
        budget: `source`: how long the backbone was trained on the source task, `small` or `full`.
        path: Weights file for `file` (safetensors, or a pickle that holds tensors only).
        mean: `file`: mean of each input channel (one or three) that the weights were trained with, for
            intensities in [0, 1]; `None`: what the file says (`mean` among a safetensors file's metadata), or
            else the backbone's own, ImageNet's.
        std: The same of the standard deviation.
        seed: Draws the trunk for `random` and `source`; never follows the training seed.
        timeout_s: Limit of a download's connection and of each read, seconds.
    """

    source: str = MISSING
    recipe: str = "V1"
    budget: str = "small"
    path: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    seed: int = 0
    timeout_s: float = 4.0
