"""From a configuration to the parts of a run: data, classifier, task, trainer."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from xray_tl.config import Settings
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.freeze import build_policy
from xray_tl.models.registry import build_backbone
from xray_tl.models.weights import Provenance
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm
from xray_tl.training.board import RunLogger
from xray_tl.training.checkpoints import AtomicCheckpointIO
from xray_tl.training.device import choose_device, choose_precision, set_threads
from xray_tl.training.objective import Objective
from xray_tl.training.task import TransferTask

_MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

# What Lightning warns of and is meant here, by the start of its message.
_EXPECTED = (
    r"The '\w+' does not have many workers",  # images lie in memory
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged anyway
    r"Checkpoint directory .* exists and is not empty",  # a run that goes on
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch 2.14
    r"You are using a custom batch sampler `EvenBatches` for prediction",  # it returns every index
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen stages
)


@dataclass
class Parts:
    """What a run is made of."""

    settings: Settings
    device: torch.device
    precision: str
    data: XrayDataModule
    task: TransferTask
    provenance: Provenance


def assemble(settings: Settings, stage: str | None = None) -> Parts:
    """Build data, classifier and task; `stage` limits which splits are rendered.

    Raises:
        InputError: An option asks for what cannot be had.
    """
    set_threads(settings.trainer)
    device = choose_device(settings.trainer.accelerator)
    data = XrayDataModule(settings.data, seed=settings.seed, device=device)
    backbone, provenance = build_backbone(settings.model, settings.weights, settings.data.image_size)
    policy = build_policy(settings.mode, backbone.num_stages, settings.trainer.max_epochs)
    data.setup(stage)
    classifier = XrayClassifier(backbone, len(data.targets.names), settings.seed)
    objective = Objective(data.targets, settings.optim, data.positives())
    classifier.to(device).to(memory_format=_MEMORY_FORMATS[settings.model.memory_format])
    task = TransferTask(
        classifier, objective, policy, settings.mode, settings.optim, settings.seed, provenance.sha256
    )
    precision = choose_precision(settings.trainer.precision, device)
    return Parts(settings, device, precision, data, task, provenance)


@torch.no_grad()
def prepare_frozen(parts: Parts) -> None:
    """Estimate, once, what a frozen trunk needs from the training images.

    BatchNorm statistics of frozen stages where the weights are random (they have seen no image), and mean and
    standard deviation of the features where the mode asks for it.
    """
    classifier, data = parts.task.classifier, parts.data
    backbone = classifier.backbone
    if parts.provenance.source == "random":
        frozen = [layer for layer in batchnorm_layers(backbone) if not layer.weight.requires_grad]
        estimate_batchnorm(backbone, frozen, data.ordered_dataloader("train"))
    if parts.settings.mode.standardise:
        backbone.eval()
        batches = data.ordered_dataloader("train")
        features = [backbone(batch.image.to(parts.device)).cpu() for batch in batches]
        classifier.standardiser.fit(torch.cat(features))


def build_trainer(
    parts: Parts, folder: Path, logger: RunLogger | None, callbacks: Sequence[Callback]
) -> Trainer:
    """Build Lightning's trainer for one device."""
    deterministic = parts.settings.trainer.deterministic
    return Trainer(
        accelerator="gpu" if parts.device.type == "cuda" else parts.device.type,
        devices=1,
        precision=parts.precision,  # type: ignore[arg-type]
        max_epochs=parts.settings.trainer.max_epochs,
        # VGG's adaptive pooling has no deterministic CUDA backward (pytorch #50198).
        deterministic=deterministic if parts.device.type == "cpu" else ("warn" if deterministic else False),
        default_root_dir=folder,
        logger=logger if logger is not None else False,
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=5,  # each one waits for the device
    )


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Silence Lightning's hints and, by name, the warnings that a sound run causes; all others stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # which accelerators are there, and tips
    with warnings.catch_warnings():
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        yield
