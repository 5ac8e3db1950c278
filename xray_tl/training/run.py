"""One run: from a composed configuration to a trained, tested and recorded model in its folder."""

from __future__ import annotations

import errno
import logging
import signal
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from xray_tl.config import Settings, typed
from xray_tl.errors import InputError, RunError
from xray_tl.files import atomic_path
from xray_tl.identity import arm, arm_hash, config_hash
from xray_tl.models.freeze import frozen_sha256
from xray_tl.records import write_record
from xray_tl.runfolder import BEST, LAST, PREDICTIONS, begin, claim
from xray_tl.training import predictions
from xray_tl.training.assembly import Parts, assemble, build_trainer, expected_warnings, prepare_frozen
from xray_tl.training.batchnorm import batchnorm_layers, estimate_batchnorm
from xray_tl.training.board import RunLogger, write_figures, write_hparams
from xray_tl.training.callbacks import ExampleImages, Progress, Throughput
from xray_tl.training.checkpoints import (
    ResumableEarlyStopping,
    check_provenance,
    keepers,
    load_weights,
    read_checkpoint,
)
from xray_tl.training.device import describe_environment
from xray_tl.validation import validate

log = logging.getLogger(__name__)

Record = dict[str, Any]


def run(cfg: DictConfig, folder: Path) -> Record:
    """Train, test and record one run; skip it if it is complete, go on with it if it was interrupted.

    Raises:
        InputError: The configuration asks for what cannot be done; nothing is recorded.
        RunError: The run broke; it is recorded as failed.
        KeyboardInterrupt: It was interrupted, is recorded so, and can go on.
    """
    validate(cfg)
    with claim(folder, cfg) as complete:
        if complete is not None:
            log.info("%s is complete: nothing to do", folder)
            return complete
        record = describe(cfg)
        try:
            with expected_warnings():
                _execute(cfg, folder, record)
        except InputError:
            raise
        except KeyboardInterrupt:
            write_record(folder, {**record, "status": "interrupted"})
            raise
        except Exception as error:
            failure = _explain(error, cfg)
            record_failure(folder, record, failure)
            if failure is error:
                raise
            raise failure from error
        write_record(folder, record)
        (folder / LAST).unlink(missing_ok=True)
        return record


def describe(cfg: DictConfig) -> Record:
    """Start a run's record with what its configuration says."""
    train_seed = cfg.data.train_seed
    return {
        "status": "complete",
        "error": None,
        "arm": arm(cfg),
        "seed": cfg.seed,
        "data_seed": cfg.data.seed,
        "train_seed": cfg.data.seed if train_seed is None else train_seed,
        "config_hash": config_hash(cfg),
        "arm_hash": arm_hash(cfg),
    }


def record_failure(folder: Path, record: Record, error: Exception) -> None:
    """Record a run as failed, as far as the disk lets it."""
    try:
        write_record(folder, {**record, "status": "failed", "error": f"{type(error).__name__}: {error}"})
    except (RunError, OSError) as second:
        log.error("the failure could not be recorded in %s: %s", folder, second)


def _execute(cfg: DictConfig, folder: Path, record: Record) -> None:
    start = time.perf_counter()
    settings = typed(cfg)
    parts = assemble(settings)
    begin(folder, cfg)
    record.update(_describe_parts(parts))
    logger = RunLogger(folder / "tensorboard") if settings.logger.name == "tensorboard" else None
    try:
        trainer, timing = _fit(parts, folder, logger, record)
        timing["setup_s"] = time.perf_counter() - start - timing.pop("here_s")
        start = time.perf_counter()
        _use_best(parts, folder)
        _test(parts, trainer, folder, logger, record)
        record["time"] = {**timing, "test_s": time.perf_counter() - start, "feature_cache": "off"}
    finally:
        if logger is not None:
            logger.close()


def _describe_parts(parts: Parts) -> Record:
    backbone, classifier = parts.task.classifier.backbone, parts.task.classifier
    closed = range(backbone.num_stages - parts.task.policy.most_open)
    total = sum(parameter.numel() for parameter in classifier.parameters())
    frozen = sum(parameter.numel() for stage in closed for _, parameter in backbone.stage_parameters(stage))
    return {
        "data_hash": parts.data.data_hash(),
        "weights": vars(parts.provenance) | {},
        "parameters": {"total": total, "trainable": total - frozen},
        "ceiling": None,
        "environment": describe_environment(parts.device, parts.precision),
    }


def _fit(
    parts: Parts, folder: Path, logger: RunLogger | None, record: Record
) -> tuple[Trainer, dict[str, Any]]:
    """Train from the start or from the last epoch that a killed process finished."""
    task, backbone = parts.task, parts.task.classifier.backbone
    last = folder / LAST if (folder / LAST).is_file() else None
    if last is None:
        prepare_frozen(parts)
    else:
        log.info("going on from %s", last)
        check_provenance(read_checkpoint(last), parts.provenance.sha256, last)
    count, task.frozen_before = frozen_sha256(backbone, task.policy)
    throughput = Throughput()
    config = parts.settings.trainer
    stopping = [ResumableEarlyStopping(config.early_stopping)] if config.early_stopping else []
    shown = [Progress(bar=config.progress_bar), ExampleImages(parts.settings.logger.example_images)]
    callbacks = [throughput, *shown, *stopping, *keepers(folder / BEST.parent)]
    trainer = build_trainer(parts, folder, logger, callbacks)
    start = time.perf_counter()
    record["history"] = task.history
    try:
        trainer.fit(task, datamodule=parts.data, ckpt_path=last, weights_only=True)
    except SystemExit as stop:  # Lightning's way out of Ctrl-C and SIGTERM; it leaves SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop
    finally:
        record["history"] = list(task.history)
    here, fit_s = time.perf_counter() - start, task.fit_s
    _, after = frozen_sha256(backbone, task.policy)
    record["frozen"] = {"tensors": count, "sha256_before": task.frozen_before, "sha256_after": after}
    return trainer, {"here_s": here, "fit_s": fit_s, "images_per_s": throughput.rate}


def _use_best(parts: Parts, folder: Path) -> None:
    """Load the best epoch's weights; re-estimate trained BatchNorm statistics into the same checkpoint."""
    task = parts.task
    checkpoint = read_checkpoint(folder / BEST)
    load_weights(task, checkpoint, folder / BEST)
    if not parts.settings.trainer.reestimate_batchnorm:
        return
    net = task.classifier.to(parts.device)
    trained = [layer for layer in batchnorm_layers(net) if layer.weight.requires_grad]
    if estimate_batchnorm(net, trained, parts.data.ordered_dataloader("train")):
        task.on_save_checkpoint(checkpoint := {**checkpoint, "state_dict": task.state_dict()})
        with atomic_path(folder / BEST) as partial:
            torch.save(checkpoint, partial)


def _test(parts: Parts, trainer: Trainer, folder: Path, logger: RunLogger | None, record: Record) -> None:
    data, task = parts.data, parts.task
    splits = {name: predictions.predict(trainer, task, data, name) for name in ("train", "val", "test")}
    thresholds = predictions.thresholds_on(splits["val"])
    record["threshold"] = thresholds[0] if len(thresholds) == 1 else thresholds
    record["metrics"] = predictions.metrics(splits, data.targets, thresholds)
    predictions.write_table(predictions.table(splits, data.targets), folder / PREDICTIONS)
    if logger is not None:
        step = trainer.global_step
        write_figures(logger, splits["test"], data.targets, thresholds, step)
        final = {f"test/{name}": value for name, value in record["metrics"]["test"].items()}
        write_hparams(logger, _hparams(parts.settings, record), final, step)


def _hparams(settings: Settings, record: Record) -> dict[str, str | float]:
    return {
        **record["arm"],
        "seed": settings.seed,
        "finding": settings.data.finding,
        "image_size": settings.data.image_size,
        "n_train": settings.data.n_train,
        "head_lr": settings.mode.head_lr,
        "backbone_lr": settings.optim.lr,
        "max_epochs": settings.trainer.max_epochs,
        "trainable_parameters": record["parameters"]["trainable"],
    }


def _explain(error: Exception, cfg: DictConfig) -> Exception:
    """Turn a failure that has a known remedy into one line that names it."""
    if isinstance(error, torch.OutOfMemoryError):
        size, batch = cfg.data.image_size, cfg.data.batch_size
        return RunError(f"CUDA out of memory: lower data.batch_size={batch} or data.image_size={size}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunError(f"no space left on the device: {error.filename or 'a file of the run'}")
    return error
