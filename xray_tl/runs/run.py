"""Entry point of a run: claim its folder, execute it, and record the outcome or the failure."""

from __future__ import annotations

import gc
import logging
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from xray_tl.config import SyntheticDataConfig, typed
from xray_tl.config.identity import arm, arm_hash, config_hash
from xray_tl.config.planned import plan_of
from xray_tl.config.rungs import rungs_of
from xray_tl.config.validation import validate
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.errors import FolderError, InputError, RunError
from xray_tl.runs.parts import forget_trunk, make_weights
from xray_tl.runs.retest import check_shifts, evaluate_shifts
from xray_tl.runs.steps import execute
from xray_tl.store.files import out_of_space
from xray_tl.store.records import SCHEMA, write_record
from xray_tl.store.run_folder import LAST, claim, of_earlier_version
from xray_tl.training.trainer import expected_warnings

log = logging.getLogger(__name__)

Record = dict[str, Any]


def run(cfg: DictConfig, folder: Path, beside: Path | None = None) -> Record:
    """Train, test and record one run; skip it if it is complete, resume it if it was interrupted.

    Args:
        cfg: Its configuration.
        folder: Its folder.
        beside: Folder that gets a copy of its source weights: that of the sweep for all of its runs; by
            default the run's own.

    Raises:
        InputError: The configuration asks for something impossible; nothing is recorded.
        RunError: The run failed and is recorded as failed.
        KeyboardInterrupt: The run was interrupted, is recorded as interrupted, and can be resumed.
    """
    validate(cfg)
    shifts = list(cfg.get("shifts") or [])
    check_shifts(shifts, cfg.data)
    record = _run(cfg, folder, beside or folder)
    evaluate_shifts(folder, shifts)
    return record


def prepare(cfg: DictConfig) -> None:
    """Train the source weights that a run needs, if it needs any and they are missing.

    Raises:
        InputError: The configuration asks for something impossible.
    """
    validate(cfg)
    make_weights(typed(cfg))


def _run(cfg: DictConfig, folder: Path, beside: Path) -> Record:
    with claim(folder, cfg) as complete:
        if complete is not None:
            _check_current(complete, folder)
            _check_unchanged(cfg, complete, folder)
            log.info("%s is complete: nothing to do", folder)
            (folder / LAST).unlink(missing_ok=True)  # a process may have died before it did this
            return complete
        record = describe(cfg)
        try:
            with expected_warnings():
                execute(cfg, folder, record, beside)
            write_record(folder, record)
        except InputError:
            raise
        except KeyboardInterrupt:
            write_record(folder, {**record, "status": "interrupted"})
            raise
        except Exception as error:
            forget_trunk()
            failure = _explain(error, cfg)
            _record_failure(folder, record, failure)
            if failure is error:
                raise
            raise failure from error
        (folder / LAST).unlink(missing_ok=True)
        return record


def _check_current(complete: Record, folder: Path) -> None:
    """Refuse a complete run of an earlier version: its result was computed by other rules.

    Raises:
        FolderError: The run has an earlier schema.
    """
    if complete["schema"] < SCHEMA:
        raise FolderError(of_earlier_version(folder, complete))


def _check_unchanged(cfg: DictConfig, complete: Record, folder: Path) -> None:
    """Refuse a complete run whose image files, labels or split have changed since.

    Raises:
        FolderError: They have changed.
    """
    settings = typed(cfg)
    if isinstance(settings.data, SyntheticDataConfig):
        return
    now = XrayDataModule(settings.data, seed=settings.seed).data_hash()
    if now != complete["data_hash"]:
        raise FolderError(
            f"{folder} is complete, but the images or labels of data.root={settings.data.root}, their split "
            "or the libraries that decode them have changed since: choose another folder (hydra.run.dir, "
            "hydra.sweep.dir)"
        )


def record_refusal(cfg: DictConfig, folder: Path, error: InputError) -> None:
    """Record a sweep's run with a refused configuration as failed; never overwrite a result."""
    try:
        with claim(folder, cfg) as complete:
            if complete is None:
                _record_failure(folder, describe(cfg), error)
    except InputError as second:
        log.error("the failure could not be recorded: %s", second)


@cache
def settle_imports() -> None:
    """Exclude all objects imported so far from garbage collection, which runs after every job."""
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Free the memory of a finished run: trainer and task form a cycle that only the collector frees."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA was not used


def describe(cfg: DictConfig) -> Record:
    """Return a new record with what the configuration states, and the time at which the run began.

    A run that is gone on with begins again here: it had no result yet, so the questions declared now are the
    ones that it is for.
    """
    train_seed = cfg.data.train_seed
    return {
        "status": "complete",
        "error": None,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "arm": arm(cfg),
        "arm_file": OmegaConf.select(cfg, "arm_file", default=None),
        "planned": plan_of(cfg),
        "rungs": rungs_of(cfg),
        "seed": cfg.seed,
        "data_seed": cfg.data.seed,
        "train_seed": cfg.data.seed if train_seed is None else train_seed,
        "config_hash": config_hash(cfg),
        "arm_hash": arm_hash(cfg),
    }


def _record_failure(folder: Path, record: Record, error: Exception) -> None:
    """Record a run as failed; if the record cannot be written, log that."""
    try:
        write_record(folder, {**record, "status": "failed", "error": f"{type(error).__name__}: {error}"})
    except (RunError, OSError) as second:
        log.error("the failure could not be recorded in %s: %s", folder, second)


def _explain(error: Exception, cfg: DictConfig) -> Exception:
    """Return an error with a known remedy as one that names the remedy, any other unchanged."""
    if isinstance(error, torch.OutOfMemoryError):
        size, batch = cfg.data.image_size, cfg.data.batch_size
        return RunError(f"CUDA out of memory: lower data.batch_size={batch} or data.image_size={size}")
    if out_of_space(error):
        return RunError(f"no space left on the device: {error}")
    return error
