"""Steps of a run: build, train, load the best epoch, test; each step adds to the record."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from xray_tl.config import typed
from xray_tl.data.synthetic.rng import SPLITS
from xray_tl.errors import RunError
from xray_tl.models.freeze import frozen_sha256
from xray_tl.models.trainable import Trainable
from xray_tl.runs import predictions
from xray_tl.runs.descriptions import describe_collection, describe_parts, describe_tested, hparams
from xray_tl.runs.feature_cache import FeatureCache
from xray_tl.runs.image_floors import describe_floors, describe_images
from xray_tl.runs.kept_weights import keep_weights
from xray_tl.runs.observer_efficiency import describe_ceiling, ideal_logits
from xray_tl.runs.parts import Parts, assemble, keep_proof
from xray_tl.runs.probe import check_solvable, describe_trained_head, fit_head, start_head, to_compare
from xray_tl.runs.random_trunk import settle_batchnorm
from xray_tl.runs.trunk_quality import describe_quality
from xray_tl.runs.tuning import tuned
from xray_tl.store.files import atomic_path
from xray_tl.store.records import PREDICTIONS
from xray_tl.store.run_folder import BEST, LAST, begin
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm
from xray_tl.training.board import RunLogger, write_ceiling, write_hparams, write_penalty_path
from xray_tl.training.callbacks import ExampleImages, Progress, Throughput
from xray_tl.training.checkpoints import (
    ResumableEarlyStopping,
    check_current,
    check_data,
    check_provenance,
    keepers,
    load_weights,
    read_checkpoint,
)
from xray_tl.training.trainer import build_trainer, interruptible

log = logging.getLogger(__name__)

Record = dict[str, Any]


def execute(cfg: DictConfig, folder: Path, record: Record, beside: Path) -> None:
    """Train and test a run in its claimed folder, from the start or from the last finished epoch.

    Args:
        cfg: Its configuration.
        folder: Its folder.
        record: Its record; the steps add to it in place.
        beside: Folder that gets a copy of the source weights, which the checkpoint leaves out.

    Raises:
        InputError: The configuration asks for something that is not available.
        RunError: The run failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    start = time.perf_counter()
    settings = typed(cfg)
    parts = assemble(settings)
    begin(folder, cfg)
    if parts.data.collection is not None:
        record |= describe_collection(parts.data.collection, folder)
    check_solvable(parts)
    quality = describe_quality(parts)
    parts, tuning = tuned(parts)
    record |= describe_parts(parts) | {"tuning": asdict(tuning) if tuning else None}
    record["weights"]["quality"] = quality
    last = folder / LAST if (folder / LAST).is_file() else None
    done = read_checkpoint(last) if last else None
    if last and done:
        log.info("going on from epoch %d of %s", len(done["history"]), last)
        check_current(done, last)
        check_provenance(done, parts.provenance.sha256, last)
        check_data(done, record["data_hash"], last)
    parts.task.data_hash = record["data_hash"]
    logger = None
    if settings.logger.name == "tensorboard":
        logger = RunLogger(folder / "tensorboard", done["global_step"] if done else None)
    try:
        throughput = Throughput()
        trainer = build_trainer(
            settings.trainer,
            parts.device,
            parts.precision,
            folder,
            logger,
            _callbacks(parts, folder, throughput),
        )
        backbone, policy = parts.task.classifier.backbone, parts.task.policy
        moved = settle_batchnorm(parts)
        frozen = None if moved else parts.proven
        frozen = frozen or frozen_sha256(backbone, policy.at_end)[1]
        features = FeatureCache(parts, frozen=frozen)
        features.enter(Trainable.of_checkpoint(done, backbone.num_stages) if done else backbone.trainable)
        parts.task.on_open = features.enter
        parts.data.setup()
        if done is None:
            start_head(parts)
            parts.task.frozen_before = frozen
        setup_s, start = time.perf_counter() - start, time.perf_counter()
        try:
            record |= _fit(parts, trainer, folder, last, logger)
        finally:
            record["history"] = list(parts.task.history)
        record["time"] = {"setup_s": setup_s, "fit_s": parts.task.fit_s, "images_per_s": throughput.rate}
        start = time.perf_counter()
        best = read_checkpoint(folder / BEST)
        load_weights(parts.task, best, folder / BEST)
        record |= describe_tested(parts, best, len(record["history"]))
        if parts.provenance.source == "source" and not best["holds_all"]:
            keep_weights(beside, folder, parts.settings, parts.provenance.sha256)
        parts.task.classifier.to(parts.device)  # the trainer has put it on the CPU
        features.enter_tested()
        _settle_best(parts, folder)
        record["frozen"] = _frozen_hashes(parts)
        _check_frozen(parts, record["frozen"])
        record |= _test(parts, trainer, folder)
        if logger is not None:
            _log_final(logger, trainer.global_step, parts, record)
        record["time"] |= {"test_s": time.perf_counter() - start, "feature_cache": features.outcome}
    finally:
        if logger is not None:
            logger.close()


def _callbacks(parts: Parts, folder: Path, throughput: Throughput) -> list[Any]:
    settings = parts.settings
    patience = settings.trainer.early_stopping
    return [
        throughput,
        Progress(bar=settings.trainer.progress_bar),
        ExampleImages(parts.data, settings.logger.example_images),
        *([ResumableEarlyStopping(patience)] if patience else []),
        *keepers(folder / BEST.parent),
    ]


def _fit(parts: Parts, trainer: Trainer, folder: Path, last: Path | None, logger: RunLogger | None) -> Record:
    """Solve the head of a frozen backbone, or train; return what the record says of a solved head."""
    if parts.settings.mode.is_solved:
        described, found = fit_head(parts, folder / BEST)
        if logger is not None:
            write_penalty_path(logger, found, parts.data.targets.names)
        return {"head": described}
    with interruptible(trainer):
        trainer.fit(parts.task, datamodule=parts.data, ckpt_path=last, weights_only=True)
    return {}


def _settle_best(parts: Parts, folder: Path) -> None:
    """Re-estimate the statistics of the best epoch's trainable BatchNorm layers; rewrite its checkpoint."""
    task = parts.task
    if not parts.settings.trainer.reestimate_batchnorm:
        return
    net = task.classifier
    trained = net.backbone.trained_modules()
    layers = [layer for layer in batchnorm_layers(net) if layer in trained]
    with parts.autocast():
        estimated = estimate_batchnorm(net, layers, parts.data.mixed_dataloader("train"))
    if estimated:
        checkpoint = read_checkpoint(folder / BEST)
        task.on_save_checkpoint(checkpoint := {**checkpoint, "state_dict": task.state_dict()})
        with atomic_path(folder / BEST) as unfinished:
            torch.save(checkpoint, unfinished)


def _frozen_hashes(parts: Parts) -> Record:
    """Return the hashes of the tensors that never train, before training and in the tested network."""
    task = parts.task
    count, after = frozen_sha256(task.classifier.backbone, task.policy.at_end)
    return {"tensors": count, "sha256_before": task.frozen_before, "sha256_after": after}


def _check_frozen(parts: Parts, hashes: Record) -> None:
    """Compare the two hashes of the tensors that never train, and keep the proof for the next run.

    Raises:
        RunError: The two hashes differ.
    """
    if hashes["sha256_after"] != hashes["sha256_before"]:
        raise RunError("a frozen tensor changed in training (frozen.sha256_before and sha256_after differ)")
    keep_proof(parts, hashes["sha256_after"])


def _test(parts: Parts, trainer: Trainer, folder: Path) -> Record:
    """Predict every split, write the predictions, and describe how good they are and could be."""
    data, task = parts.data, parts.task
    featured = to_compare(parts)
    with interruptible(trainer):
        splits = {name: predictions.predict(trainer, task, data, name, featured) for name in SPLITS}
    thresholds = predictions.thresholds_on(splits["val"])
    ideal = ideal_logits(data, splits)
    predictions.write_table(predictions.table(splits, data, ideal), folder / PREDICTIONS)
    head = {} if parts.settings.mode.is_solved else {"head": describe_trained_head(parts, splits)}
    return head | {
        "threshold": thresholds[0] if len(thresholds) == 1 else thresholds,
        "metrics": predictions.metrics(splits, data.targets, thresholds),
        "ceiling": describe_ceiling(splits["test"], ideal),
        "floors": describe_floors(data),
        "images": describe_images(data),
    }


def _log_final(logger: RunLogger, step: int, parts: Parts, record: Record) -> None:
    """Write the final metrics, with their hyperparameters, to TensorBoard."""
    final = {f"test/{name}": value for name, value in record["metrics"]["test"].items()}
    if record["ceiling"] is not None:
        write_ceiling(logger, record["ceiling"]["auroc"], step)
        final["test/efficiency"] = record["ceiling"]["efficiency"]
    write_hparams(logger, hparams(parts, record), final, step)
