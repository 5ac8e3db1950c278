"""The typed schema of every configuration group, registered with Hydra.

YAML under `conf/` holds the values, the dataclasses here hold the types, so that a misspelt key or a wrong
type fails while the configuration is composed, before anything is built. This module imports no torch:
`--help` and `--cfg job` answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.errors import InputError


@dataclass
class ModelConfig:
    """A backbone and how a one-channel radiograph enters it.

    Attributes:
        name: Shown name; the registry key too, unless `registry` says otherwise (timm's name for `timm`).
        registry: Key in the backbone registry.
        stem: `repeat` (one channel repeated to three) or `convert` (first convolution summed to one channel).
        memory_format: `channels_last` or `contiguous`, whichever was measured faster for this backbone.
    """

    name: str = MISSING
    registry: str = "${.name}"
    stem: str = "repeat"
    memory_format: str = "channels_last"


@dataclass
class ModeConfig:
    """A freeze mode: which stages of the backbone train, and when.

    Attributes:
        name: Registry key of the freeze policy.
        head_lr: Learning rate of the head.
        standardise: Standardise features with statistics of the training images, kept in the checkpoint.
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
        source: `auto`, `imagenet`, `random` or `file`.
        recipe: torchvision's training recipe for `imagenet`: `V1` (all backbones have it) or `V2`.
        path: Weights file for `file` (safetensors, or a pickle that holds tensors only).
        seed: Draws the trunk for `random`; never follows the training seed.
        timeout_s: Limit of a download's connection and of each read, seconds.
    """

    source: str = MISSING
    recipe: str = "V1"
    path: str | None = None
    seed: int = 0
    timeout_s: float = 4.0


@dataclass
class AcquisitionConfig:
    """Beam, scatter, detector and exposure of the synthetic radiograph.

    Attributes:
        field_of_view: Side of the square image, mm.
        kvp: Tube voltage, kVp.
        kerma: Air kerma at the detector behind the lung, µGy.
        dqe: Detective quantum efficiency, in (0, 1].
        scatter_weight: Weight of the scatter kernel (about 0.5-0.8 with a grid, 1.5-2.5 without).
        scatter_sigma: Standard deviation of the scatter kernel, mm.
        mtf_sigma: Standard deviation of the detector blur, pixels, at most 0.7.
        electronic_noise: Electronic and fixed-pattern noise, Np rms a pixel.
        texture_rms: Anatomical texture, Np rms.
        texture_beta: Exponent of the texture's power spectrum.
        texture_f0: Corner frequency of the texture's power spectrum, 1/mm.
        gamma: Noise grows as (local exposure / reference)^-gamma; 0.5 is pure quantum noise.
    """

    field_of_view: float = 380.0
    kvp: float = 120.0
    kerma: float = 2.5
    dqe: float = 0.6
    scatter_weight: float = 0.7
    scatter_sigma: float = 35.0
    mtf_sigma: float = 0.5
    electronic_noise: float = 0.006
    texture_rms: float = 0.045
    texture_beta: float = 3.0
    texture_f0: float = 1 / 120
    gamma: float = 0.35


@dataclass
class AnatomyConfig:
    """Spread and scale of the population's anatomy.

    Attributes:
        pose: Multiplier of the standard deviations of pose (scale 4.5 %, shift 5/7 mm, shear 0.018,
            rotation 4 mm), 0-2.5.
        body_scale: Multiplier of body thickness and width.
        rib_scale: Multiplier of rib thickness.
        vessel_scale: Multiplier of vessel thickness.
    """

    pose: float = 1.0
    body_scale: float = 1.0
    rib_scale: float = 1.0
    vessel_scale: float = 1.0


@dataclass
class SyntheticDataConfig:
    """Synthetic chest radiographs with one finding.

    `None` for a property of the finding means the finding's own value.

    Attributes:
        name: `synthetic`.
        finding: Key in the finding registry.
        image_size: Side of an image, pixels; a multiple of 16, at least 32.
        n_train: Training images.
        n_val: Validation images.
        n_test: Test images.
        seed: Draws the data set.
        train_seed: Draws training and validation images alone; `None` follows `seed`.
        prevalence: Probability of the finding, in (0, 1).
        contrast: `iso` (difficulty is `d0`, whatever the dose) or `physical` (from attenuation and beam).
        d0: `iso`: detectability index of the finding at a known location, at a contrast multiplier of 1.
        attenuation: `physical`: attenuation of the finding above aerated lung, as a share of soft tissue's.
        radii: Radii of the finding's templates, mm.
        contrasts: Contrast multipliers, drawn with equal probability.
        flip_negative: Probability that a negative image is labelled positive.
        flip_positive: Probability that a positive image is labelled negative.
        acquisition: Beam, detector and exposure.
        anatomy: Spread and scale of the population's anatomy.
        batch_size: Images a training step, at most.
        num_workers: Processes that render when the data set is not kept in memory.
        memory_limit_gb: The data set is rendered once and kept in memory up to this size, GB.
    """

    name: str = "synthetic"
    finding: str = "opacity"
    image_size: int = 128
    n_train: int = 800
    n_val: int = 200
    n_test: int = 400
    seed: int = 0
    train_seed: int | None = None
    prevalence: float = 0.5
    contrast: str = "iso"
    d0: float | None = None
    attenuation: float = 0.25
    radii: list[float] | None = None
    contrasts: list[float] | None = None
    flip_negative: float | None = None
    flip_positive: float | None = None
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    anatomy: AnatomyConfig = field(default_factory=AnatomyConfig)
    batch_size: int = 32
    num_workers: int = 0
    memory_limit_gb: float = 4.0


@dataclass
class OptimConfig:
    """Fused AdamW with warm-up and decay; the head's rate is the mode's.

    Attributes:
        name: `adamw`.
        lr: Learning rate of the backbone's trainable stages.
        weight_decay: Decoupled weight decay, not applied to norms and biases.
        warmup: Share of all steps over which the rate rises linearly, in [0, 1).
        schedule: `cosine` (to zero at the last step) or `constant`.
        clip_norm: Largest norm of the gradient; `None` does not clip.
        label_smoothing: Share of the target spread over the other class, in [0, 1).
        class_weights: `none`, or `balanced` (inverse frequency in the training set).
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "cosine"
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    class_weights: str = "none"


@dataclass
class TrainerConfig:
    """How long and on what to train.

    Attributes:
        name: Name of the group's file.
        max_epochs: Epochs.
        accelerator: `auto` (CUDA, then MPS, then CPU), `cuda`, `mps` or `cpu`.
        precision: `auto` (bf16 autocast where CUDA hardware has it, else fp32), `32` or `bf16`.
        deterministic: The same command gives bitwise the same predictions.
        early_stopping: Stop after this many epochs without a better validation AUROC; `None` never does.
        reestimate_batchnorm: Re-estimate the statistics of trained BatchNorm layers on the training images
            before evaluation.
        threads: CPU threads; `None` leaves torch's choice.
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
    """Where curves and figures go.

    Attributes:
        name: `tensorboard` or `none`.
        example_images: Training images shown once.
    """

    name: str = MISSING
    example_images: int = 16


@dataclass
class Config:
    """The whole configuration of a run: one node a group, and the training seed.

    Attributes:
        seed: Moves training only: head initialisation, order, dropout.
    """

    model: Any = MISSING
    mode: Any = MISSING
    weights: Any = MISSING
    data: Any = MISSING
    optim: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    seed: int = 0


@dataclass
class EvaluateConfig:
    """Test a finished run again.

    Attributes:
        run: The run's folder.
        name: Name of the evaluation; `None` makes one from the overrides.
        data: Overrides of the run's data.
        trainer: Overrides of what it is tested on.
    """

    run: str = MISSING
    name: str | None = None
    data: Any = MISSING
    trainer: Any = MISSING


@dataclass
class PreviewConfig:
    """A contact sheet of what a model would see.

    Attributes:
        split: `train`, `val` or `test`.
        rows: Rows of images with the finding, and again without.
        columns: Images a row.
        outlines: Draw the outline of the finding.
        output: PNG file to write.
        data: The data set.
    """

    split: str = "train"
    rows: int = 2
    columns: int = 6
    outlines: bool = False
    output: str = "preview.png"
    data: Any = MISSING


SCHEMAS: dict[str, type] = {
    "config": Config,
    "model": ModelConfig,
    "mode": ModeConfig,
    "weights": WeightsConfig,
    "data_synthetic": SyntheticDataConfig,
    "optim": OptimConfig,
    "trainer": TrainerConfig,
    "logger": LoggerConfig,
    "evaluate": EvaluateConfig,
    "preview": PreviewConfig,
}


def register_schemas() -> None:
    """Put every schema into Hydra's store, as `/schema/<name>` for the files under `conf/`."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)


@dataclass(frozen=True)
class Settings:
    """A run's configuration as typed objects, one a group."""

    model: ModelConfig
    mode: ModeConfig
    weights: WeightsConfig
    data: SyntheticDataConfig
    optim: OptimConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    seed: int


def typed(cfg: DictConfig) -> Settings:
    """Turn a composed or stored configuration into typed objects.

    Raises:
        InputError: A key is unknown or of the wrong type: the configuration was stored by another version.
    """
    groups = {
        "model": ModelConfig,
        "mode": ModeConfig,
        "weights": WeightsConfig,
        "data": SyntheticDataConfig,
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "logger": LoggerConfig,
    }
    try:
        nodes = {
            name: OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), cfg[name]))
            for name, schema in groups.items()
        }
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration does not fit this version: {error}") from error
    return Settings(**nodes, seed=cfg.seed)  # type: ignore[arg-type]


def conf_dir() -> str:
    """Return the absolute path of the configuration files: the wheel's copy, else the checkout's `conf`."""
    package = Path(__file__).resolve().parent
    wheel = package / "conf"
    return str(wheel if wheel.is_dir() else package.parent / "conf")
