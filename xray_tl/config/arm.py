"""Dataclasses for the options of an arm (treatment): backbone, freeze policy and initial weights."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """A backbone, and how a one-channel radiograph is fed into it.

    Attributes:
        name: Displayed name; also the registry key unless `registry` is given (for `registry: timm`, the name
            of the model in timm).
        registry: Key in the backbone registry.
        depth: How many of the backbone's first stages are kept, their output averaged over all positions
            (maps: over height and width; tokens: over all, the class token among them); `None`, like the
            number of all stages, keeps the whole network with its own pooling.
        stem: `repeat` (one channel repeated to three) or `convert` (first convolution summed to one channel).
        dropout: Probability of the backbone's dropout layers; `None` keeps the backbone's default.
        head_dropout: Probability of dropping a feature before the head, in [0, 1).
        memory_format: `channels_last` or `contiguous`, whichever was measured faster for this backbone.
    """

    name: str = MISSING
    registry: str = "${.name}"
    depth: int | None = None
    stem: str = "repeat"
    dropout: float | None = None
    head_dropout: float = 0.0
    memory_format: str = "channels_last"


@dataclass
class ModeConfig:
    """Freeze policy: what of the backbone is trained, and when.

    Attributes:
        name: Registry key of the freeze policy.
        head: `frozen`: `solved` (the best linear head on the features, found without training; L2 by
            cross-validation within the training images) or `trained` (by gradient steps, as all other modes
            do); `None`: trained, the only way of other modes and of earlier versions.
        head_lr: Learning rate of a trained head.
        standardise: Standardise features by mean and shrunk spread in training images (`Standardiser`).
        trainable_stages: `partial`: how many of the deepest stages train; `norm`, `bias`, `lora`: in how many
            of them; `None`: in all.
        stage: `surgical`: the stage that trains, counted from 1 at the input.
        lora_rank: `lora`: rank of the update of each weight.
        lora_targets: `lora`: parts of names; layers with one of them in their name get an update; `None`:
            every convolution, linear layer and attention projection.
        unfreeze_every: `gradual`: epochs between unfreezing one stage and the next.
        layer_decay: `discriminative`: factor by which the learning rate falls per stage towards the input, in
            (0, 1].
    """

    name: str = MISSING
    head: str | None = None
    head_lr: float = MISSING
    standardise: bool = False
    trainable_stages: int | None = None
    stage: int | None = None
    lora_rank: int | None = None
    lora_targets: list[str] | None = None
    unfreeze_every: int | None = None
    layer_decay: float | None = None

    @property
    def is_solved(self) -> bool:
        """Return whether nothing trains: the head is solved."""
        return self.head == "solved"


@dataclass
class WeightsConfig:
    """Where a backbone's initial weights come from.

    Attributes:
        source: `auto`, `imagenet`, `source`, `random` or `file`.
        recipe: torchvision's training recipe for `imagenet`: `V1` (all backbones have it) or `V2`.
        budget: `source`: how long the backbone was trained on the source task, `small` or `full`.
        path: Weights file for `file` (safetensors, or a pickle that holds tensors only).
        mean: `file`: mean of each input channel (one or three) that the weights were trained with, for
            intensities in [0, 1]; `None`: the value stored in the file (`mean` in a safetensors file's
            metadata), or else the backbone's own (ImageNet).
        std: Standard deviation of each input channel, given in the same way as `mean`.
        seed: Seed of the trunk's initialisation for `random` and `source`; independent of the training seed.
        measure: Measure what the initial weights are worth on a reference task at the run's image size, once
            for each set of weights and size; untrained weights are not measured.
        timeout_s: Timeout for connecting and for each read of a download, seconds.
    """

    source: str = MISSING
    recipe: str = "V1"
    budget: str = "small"
    path: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    seed: int = 0
    measure: bool = True
    timeout_s: float = 4.0
