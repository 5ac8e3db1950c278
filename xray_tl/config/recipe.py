"""Dataclasses for the options of training: optimiser, augmentation, tuning, trainer and logger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class OptimConfig:
    """Optimiser: fused AdamW with warm-up and decay.

    The head's learning rate is `mode.head_lr`. A solved head (`mode.head=solved`) uses only `label_smoothing`
    and `class_weights`.

    Attributes:
        name: `adamw`.
        lr: Learning rate of the backbone's trainable stages.
        weight_decay: Decoupled weight decay, not applied to norms and biases.
        warmup: Share of all steps over which the rate rises linearly, in [0, 1).
        schedule: `cosine` (to zero at the last step) or `constant`.
        clip_norm: Largest norm of the gradient; `None`: no clipping.
        label_smoothing: Share of the target spread over the other class, in [0, 1).
        class_weights: `none`, or `balanced` (inverse frequency in the training set).
        sampling: `None` (every training image once an epoch), or `balanced` (as many draws, with
            replacement, each class equally often).
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    class_weights: str = "none"
    sampling: str | None = None


@dataclass
class AugmentConfig:
    """Augmentation: random changes of each training image, drawn anew in every epoch.

    Attributes:
        name: Name of the group's file.
        degrees: Largest rotation either way, degrees.
        translate: Largest shift, share of the side.
        scale: Largest zoom in or out, share.
        brightness: Intensities are multiplied by up to 1 +- this.
        contrast: Differences from the mean are multiplied by up to 1 +- this.
        noise: Rms of the added noise, for intensities in [0, 1].
    """

    name: str = "none"
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0

    @property
    def active(self) -> bool:
        """Return whether any augmentation is switched on."""
        return any(value for key, value in vars(self).items() if key != "name")


@dataclass
class TuneConfig:
    """Search for an arm's learning rates, done before its runs.

    Attributes:
        name: Name of the group's file.
        rates: Pairs of learning rates to try, [backbone, head]; empty: no search, the given rates are used.
        seeds: Training seeds of the search; no run may use one of them.
    """

    name: str = "none"
    rates: list[Any] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)


@dataclass
class TrainerConfig:
    """Length, device and precision of training.

    Attributes:
        name: Name of the group's file.
        max_epochs: Largest number of epochs.
        accelerator: `auto` (CUDA, then MPS, then CPU), `cuda`, `mps` or `cpu`.
        precision: `auto` (bf16 autocast where CUDA hardware has it, else fp32), `32` or `bf16`.
        deterministic: The same command gives bitwise the same predictions.
        early_stopping: Stop after this many epochs without a better validation AUROC; `None`: never.
        reestimate_batchnorm: Re-estimate the statistics of trained BatchNorm layers on the training images
            before evaluation.
        threads: CPU threads, at most a job's share of the cores if jobs run in parallel; `None`: torch's
            default.
        progress_bar: Show a progress bar where stderr is a terminal.
    """

    name: str = MISSING
    max_epochs: int = 5
    accelerator: str = "auto"
    precision: str = "auto"
    deterministic: bool = True
    early_stopping: int | None = None
    reestimate_batchnorm: bool = True
    threads: int | None = None
    progress_bar: bool = True


@dataclass
class LoggerConfig:
    """Where training curves and figures are logged.

    Attributes:
        name: `tensorboard` or `none`.
        example_images: Number of training images that are logged once.
    """

    name: str = MISSING
    example_images: int = 16
