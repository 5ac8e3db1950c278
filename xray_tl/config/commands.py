"""Dataclasses for the configuration of each command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Config:
    """Options of `train`: one node per option group, and the training seed.

    Attributes:
        seed: Training seed; affects training only: head initialisation, order of images, dropout.
        feature_cache: `auto` (the output of the frozen stages is computed once and reused, where that saves
            time) or `off`.
        shifts: Names of distribution shifts on which the finished run is also tested, as by `evaluate`.
        planned: Questions declared before the first run: name -> list of contrasts of arms, each written as
            `arm - other` or `{contrast: arm - other, metric: sensitivity, on: low_dose}`, or
            `[{best: [arm, other]}]`.
        rungs: Numbers of seeds at which the sweep is judged, if it stops when it is decided; `None`: it is
            judged once, with all of its seeds.
        budget: The most that such a sweep may cost: a number of runs, such as `200`, or hours of computing,
            such as `4h`; `None`: no limit.
        arm_file: Name of the file of `arm` that was chosen; `train` notes it, whatever is given.
    """

    model: Any = MISSING
    mode: Any = MISSING
    weights: Any = MISSING
    data: Any = MISSING
    optim: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING
    augment: Any = MISSING
    tune: Any = MISSING
    shifts: list[str] = field(default_factory=list)
    planned: Any = None
    rungs: list[int] | None = None
    budget: str | None = None
    arm_file: str | None = None
    seed: int = 0
    feature_cache: str = "auto"


@dataclass
class EvaluateConfig:
    """Options of `evaluate`: test a finished run again.

    Attributes:
        run: The run's folder.
        name: Name of the evaluation; `None` makes one from the overrides.
        data: Overrides of the run's data options.
        trainer: Overrides of the run's trainer options, such as the device.
    """

    run: str = MISSING
    name: str | None = None
    data: Any = MISSING
    trainer: Any = MISSING


@dataclass
class CeilingConfig:
    """Options of `ceiling`: compute the best possible result on a kind of image.

    Attributes:
        images: Number of test images to average over.
        data: The data set.
    """

    images: int = 2000
    data: Any = MISSING


@dataclass
class CompareConfig:
    """Options of `compare`: analyse a table of scores.

    Attributes:
        scores: CSV file with the columns `reader,treatment,case,truth,rating`.
        metric: Name of the metric that is compared.
        readers: `random` (a sample of a population of readers) or `fixed`.
        cases: `random` or `fixed`.
        margin: Largest difference that still counts as equivalent.
        level: Level of the confidence intervals.
        planned: Questions that were declared beforehand, name -> list of contrasts of treatments; or a YAML
            file that holds them.
        format: `text` or `json`.
    """

    scores: str = MISSING
    metric: str = "auroc"
    readers: str = "random"
    cases: str = "random"
    margin: float = 0.02
    level: float = 0.95
    planned: Any = None
    format: str = "text"


@dataclass
class ReportConfig:
    """Options of the report of a sweep, which is made again from its records and predictions.

    Attributes:
        dir: The sweep's folder.
        margin: Largest difference of AUROC that still counts as equivalent.
    """

    dir: str = MISSING
    margin: float = 0.02


@dataclass
class StatusConfig:
    """Options of `status`: say how the runs of a sweep stand.

    Attributes:
        dir: The sweep's folder.
    """

    dir: str = MISSING


@dataclass
class PlanConfig(Config):
    """Options of `plan`, which says what a study takes before it starts; beside those of the study's runs.

    Attributes:
        dir: Folder of an earlier sweep of its arms.
        effect: True difference of AUROC that is to be told from 0.
        margin: Largest difference of AUROC that still counts as equivalent.
        output: Folder to write to.
    """

    dir: str | None = None
    effect: float = 0.02
    margin: float = 0.02
    output: str = "plan"


@dataclass
class PretrainConfig:
    """Options of `pretrain`: train a backbone on the source task and keep its weights.

    Attributes:
        budget: `small` (the default of `weights=source`) or `full`.
        seed: Seed of the trunk's initialisation; equals `weights.seed` of the runs that use these weights.
        image_size: Side of the images that the weights are for, pixels; equals `data.image_size` of the runs.
        model: The backbone.
        trainer: Trainer options: device, precision, threads.
    """

    budget: str = "full"
    seed: int = 0
    image_size: int = 128
    model: Any = MISSING
    trainer: Any = MISSING


@dataclass
class BenchConfig:
    """Options of `bench`: measure the cost of backbones on this machine.

    Attributes:
        image_size: Side of an image, pixels.
        batch_size: Images per batch, for throughput.
        latency_repeats: Number of single images on which latency is measured.
        repeats: Number of batches on which throughput is measured; the median is reported.
        warm_up: Unmeasured calls before each measurement.
        sweep: Folder of a finished sweep, whose arms are plotted against latency.
        model: The backbone.
        trainer: Trainer options: device, precision, threads.
    """

    image_size: int = 224
    batch_size: int = 16
    latency_repeats: int = 50
    repeats: int = 5
    warm_up: int = 2
    sweep: str | None = None
    model: Any = MISSING
    trainer: Any = MISSING


@dataclass
class AuditConfig:
    """Options of `audit`: find faults of a data set.

    Attributes:
        output: Folder to write to.
        data: The data set.
    """

    output: str = "audit"
    data: Any = MISSING


@dataclass
class PredictConfig:
    """Options of `predict`: score radiographs with a finished run.

    Attributes:
        run: The run's folder.
        input: A radiograph, or a folder of them.
        output: CSV file to write; `None`: print to the terminal.
        batch_size: Images per batch.
        num_workers: Processes that decode images; `None`: one per core.
        trainer: Trainer options: device, precision, threads.
    """

    run: str = MISSING
    input: str = MISSING
    output: str | None = None
    batch_size: int = 32
    num_workers: int | None = None
    trainer: Any = MISSING


@dataclass
class PreviewConfig:
    """Options of `preview`: draw a contact sheet of images as a model sees them.

    Attributes:
        split: `train`, `val` or `test`.
        input: A radiograph, or a folder of them, to show instead of a split; labels are not needed.
        rows: Rows of images with the finding, and as many without; with `input`: rows in total.
        columns: Images per row.
        outlines: Draw the outline of the finding.
        output: PNG file to write.
        data: The data set.
    """

    split: str = "train"
    input: str | None = None
    rows: int = 2
    columns: int = 6
    outlines: bool = False
    output: str = "preview.png"
    data: Any = MISSING
