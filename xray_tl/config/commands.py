"""The types of a whole configuration, one a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Config:
    """The whole configuration of a run: one node a group, and the training seed.

    Attributes:
        seed: Moves training only: head initialisation, order, dropout.
        feature_cache: `auto` (what crosses the freeze boundary is computed once, where that pays) or `off`.
        shifts: Names of shifts that the finished run is tested on too, as `evaluate` would.
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
    seed: int = 0
    feature_cache: str = "auto"


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
class CeilingConfig:
    """The best possible result on a kind of image.

    Attributes:
        images: Test images to average over.
        data: The data set.
    """

    images: int = 2000
    data: Any = MISSING


@dataclass
class CompareConfig:
    """The analysis of a table of scores.

    Attributes:
        scores: CSV file with the columns `reader,treatment,case,truth,rating`.
        metric: What is compared.
        readers: `random` (they stand for others) or `fixed`.
        cases: `random` or `fixed`.
        margin: Largest difference that still counts as equivalent.
        level: Of the confidence intervals.
        format: `text` or `json`.
    """

    scores: str = MISSING
    metric: str = "auroc"
    readers: str = "random"
    cases: str = "random"
    margin: float = 0.02
    level: float = 0.95
    format: str = "text"


@dataclass
class ReportConfig:
    """The report of a sweep, made again from its records and predictions.

    Attributes:
        dir: The sweep's folder.
        margin: Largest difference of AUROC that still counts as equivalent.
    """

    dir: str = MISSING
    margin: float = 0.02


@dataclass
class PretrainConfig:
    """Source weights of a backbone, made and kept.

    Attributes:
        budget: `small` (what `weights=source` takes by default) or `full`.
        seed: Draws the trunk; `weights.seed` of the runs that use it.
        model: The backbone.
        trainer: What it is trained on.
    """

    budget: str = "full"
    seed: int = 0
    model: Any = MISSING
    trainer: Any = MISSING


@dataclass
class BenchConfig:
    """What backbones cost on this machine.

    Attributes:
        image_size: Pixels a side.
        batch_size: Images of a batch, for throughput.
        latency_repeats: Single images that latency is measured on.
        repeats: Batches that throughput is measured on; the median counts.
        warm_up: Unmeasured calls before each measurement.
        sweep: Folder of a finished sweep, whose arms are drawn against latency.
        model: The backbone.
        trainer: What it is measured on.
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
    """What is wrong with a data set.

    Attributes:
        output: Folder to write to.
        data: The data set.
    """

    output: str = "audit"
    data: Any = MISSING


@dataclass
class PredictConfig:
    """Scores of radiographs from a finished run.

    Attributes:
        run: The run's folder.
        input: A radiograph, or a folder of them.
        output: CSV file to write; `None`: the terminal.
        batch_size: Images at once.
        num_workers: Processes that decode; `None`: one a core.
        trainer: What it is computed on.
    """

    run: str = MISSING
    input: str = MISSING
    output: str | None = None
    batch_size: int = 32
    num_workers: int | None = None
    trainer: Any = MISSING


@dataclass
class PreviewConfig:
    """A contact sheet of what a model would see.

    Attributes:
        split: `train`, `val` or `test`.
        input: A radiograph, or a folder of them, to be shown instead of a split, whatever their labels.
        rows: Rows of images with the finding, and again without; of `input`: in all.
        columns: Images a row.
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
