"""Building of a run's parts from its configuration: data, classifier, task."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from xray_tl.config import Settings, SyntheticDataConfig
from xray_tl.data.datamodule import XrayDataModule, needed_parts
from xray_tl.data.splits import Targets
from xray_tl.data.synthetic.source_task import FINDINGS
from xray_tl.errors import InputError
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.freeze import FreezePolicy, build_policy
from xray_tl.models.low_rank import add_low_rank
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import MEMORY_FORMATS, Backbone
from xray_tl.models.trainable import NOTHING
from xray_tl.models.weights import MakeSource, Provenance
from xray_tl.observers.difficulty import resolve_difficulty
from xray_tl.runs.source_weights import source_weights
from xray_tl.training.augmentation import build_augment
from xray_tl.training.device import autocast, choose_device, choose_precision, set_threads
from xray_tl.training.objective import Objective
from xray_tl.training.task import TransferTask


@dataclass(frozen=True)
class Parts:
    """The objects of one run, from its settings to its data and its task.

    Attributes:
        settings: Its configuration; `data.d0` is known, also where `data.target_auroc` asks for it.
        device: The device that it computes on.
        precision: Its precision, by Lightning's name.
        data: Its data module.
        task: Its LightningModule: classifier, objective and freeze policy.
        provenance: Where its initial weights come from.
        proven: Hash of the backbone's frozen tensors, if the previous job of this process used the same
            frozen backbone and checked the hash at its end; else `None`.
    """

    settings: Settings
    device: torch.device
    precision: str
    data: XrayDataModule
    task: TransferTask
    provenance: Provenance
    proven: str | None = None

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context manager that computes in the run's precision, for use outside the trainer."""
        return autocast(self.precision, self.device)


def assemble(settings: Settings, stage: str | None = None, source: MakeSource | None = None) -> Parts:
    """Build data, classifier and task; no image of the data set is rendered yet.

    Args:
        settings: The run's configuration.
        stage: `fit` or `test` checks only the splits that it needs; `None` checks all.
        source: Finds the source weights of a finished run; by default they are taken from the cache, or
            trained if they are not there.

    Raises:
        InputError: An option asks for something that is not available.
    """
    set_threads(settings.trainer)
    device = choose_device(settings.trainer.accelerator)
    target = None
    if isinstance(settings.data, SyntheticDataConfig):
        target = settings.data.target_auroc
        settings = replace(settings, data=resolve_difficulty(settings.data, device))
    data = XrayDataModule(
        settings.data,
        seed=settings.seed,
        device=device,
        sampling=settings.optim.sampling,
        target_auroc=target,
        needed=needed_parts(stage),
    )
    (backbone, provenance, proven), policy = _backbone(settings, source)
    data.check(stage)
    objective = Objective(data.targets, settings.optim, data.positives())
    task = _task(settings, backbone, policy, objective, provenance, device)
    precision = choose_precision(settings.trainer.precision, device, trunk_trains=policy.at_end != NOTHING)
    return Parts(settings, device, precision, data, task, provenance, proven)


def assemble_trained(
    settings: Settings, targets: Targets, device: torch.device, source: MakeSource | None = None
) -> TransferTask:
    """Build the task of a finished run without its data, ready for a checkpoint's weights.

    Args:
        settings: The run's configuration.
        targets: What it predicts.
        device: The device that it computes on.
        source: Finds its source weights.

    Raises:
        InputError: Its initial weights are not available.
    """
    loaded, policy = _backbone(settings, source)
    objective = Objective(targets, settings.optim, torch.full((len(targets.names),), 0.5))
    return _task(settings, loaded.backbone, policy, objective, loaded.provenance, device)


def _task(
    settings: Settings,
    backbone: Backbone,
    policy: FreezePolicy,
    objective: Objective,
    provenance: Provenance,
    device: torch.device,
) -> TransferTask:
    classifier = XrayClassifier(
        backbone, len(objective.positive_weight), settings.seed, settings.model.head_dropout
    )
    classifier.to(device).to(memory_format=MEMORY_FORMATS[settings.model.memory_format])
    return TransferTask(
        classifier,
        objective,
        policy,
        settings.mode,
        settings.optim,
        settings.seed,
        provenance.sha256,
        build_augment(settings.augment),
    )


class Loaded(NamedTuple):
    """A backbone, the provenance of its weights, and the hash of its frozen tensors if it is known."""

    backbone: Backbone
    provenance: Provenance
    proven: str | None = None


_untouched: dict[str, Loaded] = {}
"""The last backbone that never trained (at most one), by the settings that it was built from.

The next job of a sweep in this process can use it again.
"""


def keep_proof(parts: Parts, frozen: str | None) -> None:
    """Store the checked hash of a kept backbone's frozen tensors, so that the next run can start from it."""
    for made_from, kept in _untouched.items():
        if kept.backbone is parts.task.classifier.backbone:
            _untouched[made_from] = kept._replace(proven=frozen)


def forget_trunk() -> None:
    """Drop the kept backbone, which may have been changed; the next run builds a new one."""
    _untouched.clear()


def _backbone(settings: Settings, source: MakeSource | None = None) -> tuple[Loaded, FreezePolicy]:
    """Build the backbone and its freeze policy, or use the previous job's backbone if it never trains."""
    made_from = json.dumps(
        [
            *(asdict(node) for node in (settings.model, settings.weights)),
            settings.data.image_size,
            settings.trainer.accelerator,
            settings.trainer.precision,  # also that of training source weights
            _finding(settings) in FINDINGS,  # for these findings source weights are refused
        ]
    )
    kept = _untouched.pop(made_from, None)
    if kept is not None:
        kept.backbone.enter(None)
        policy = build_policy(settings.mode, kept.backbone.num_stages, settings.trainer.max_epochs)
        if policy.at_end == NOTHING:
            _untouched[made_from] = kept._replace(proven=None)  # unknown until this run has checked it
            return kept, policy
    loaded = Loaded(*_build(settings, source))
    policy = build_policy(settings.mode, loaded.backbone.num_stages, settings.trainer.max_epochs)
    _untouched.clear()
    if policy.at_end == NOTHING:
        _untouched[made_from] = loaded
    return loaded, policy


def make_weights(settings: Settings) -> None:
    """Train a run's source weights if it needs them and they are missing; check that its weights fit.

    Raises:
        InputError: The weights are not available, or do not fit.
    """
    _build(settings)


def _build(settings: Settings, source: MakeSource | None = None) -> tuple[Backbone, Provenance]:
    make = source or partial(_source_file, settings)
    backbone, provenance = build_backbone(settings.model, settings.weights, settings.data.image_size, make)
    mode = settings.mode
    if mode.name == "lora" and mode.lora_rank is not None:
        stages = build_policy(mode, backbone.num_stages, 1).at_end.stages
        add_low_rank(backbone, mode.lora_rank, mode.lora_targets, settings.seed, stages)
    return backbone, provenance


def _finding(settings: Settings) -> str | None:
    return settings.data.finding if isinstance(settings.data, SyntheticDataConfig) else None


def _source_file(settings: Settings) -> Path:
    """Return the file of a run's source weights, training them first if the cache does not hold them.

    Raises:
        InputError: They are not available, or the source task trains on the target's finding.
    """
    finding = _finding(settings)
    if finding in FINDINGS:
        raise InputError(
            f"weights={settings.weights.source}: the source task trains on data.finding={finding} itself; "
            "choose weights=random, weights=imagenet or another finding"
        )
    return source_weights(settings.model, settings.weights, settings.trainer, settings.data.image_size)


@torch.no_grad()
def fit_standardiser(parts: Parts) -> None:
    """Fit the standardiser to the features of the training images, if the mode asks for it."""
    if parts.settings.mode.standardise:
        classifier = parts.task.classifier
        classifier.backbone.eval()
        batches = parts.data.ordered_dataloader("train")
        with parts.autocast():
            features = [classifier.features(batch.image.to(parts.device)).cpu() for batch in batches]
        classifier.standardiser.fit(torch.cat(features))
