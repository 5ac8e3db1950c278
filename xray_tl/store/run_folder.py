"""Run folders: locking, the check that a folder belongs to a run, and whether the run is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from xray_tl.config.cli import GONE
from xray_tl.config.identity import config_hash
from xray_tl.errors import FolderError, InputError, InUseError
from xray_tl.store.files import remove_partials, write_text
from xray_tl.store.records import EVALUATIONS, RECORD, SCHEMA, read_record

CONFIG = Path(".hydra") / "config.yaml"
BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"
LOCK = ".lock"


@contextlib.contextmanager
def claim(folder: Path, cfg: DictConfig) -> Iterator[dict[str, Any] | None]:
    """Lock `folder` for this run, and yield the record if the run is already complete, else `None`.

    Raises:
        InUseError: Another process has locked it.
        FolderError: It cannot be written to, or it belongs to another run.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InUseError(f"{folder} is in use by another process (hydra.run.dir, hydra.sweep.dir)") from None
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written to (hydra.run.dir, hydra.sweep.dir): {error}"
        ) from error
    try:
        record = _check_same_run(folder, cfg)
        yield record if record is not None and record["status"] == "complete" else None
    finally:
        lock.release()


def begin(folder: Path, cfg: DictConfig) -> None:
    """Prepare a claimed folder: write the run's configuration, and remove files left by a killed process.

    Earlier versions allowed Lightning to requeue jobs under Slurm, which left `hpc_ckpt` files.
    """
    remove_partials(folder)
    for leftover in folder.glob("hpc_ckpt_*.ckpt"):
        leftover.unlink()
    write_text(folder / CONFIG, OmegaConf.to_yaml(cfg))


def unfinished(folder: Path, shifts: Sequence[str] = ()) -> str | None:
    """Return one line on why a folder has no complete run tested on all `shifts`; `None` if it has one."""
    try:
        record = read_record(folder)
    except InputError as error:
        return str(error)
    whole = record is not None and record["status"] == "complete"
    if record is not None and whole and record["schema"] < SCHEMA:
        return of_earlier_version(folder, record)
    untested = [name for name in shifts if not (shifted(folder, name) / RECORD).is_file()]
    if whole and not untested:
        return None
    if _is_held(folder):
        return "in use by another process"
    if record is None:
        return "no record: it was killed, or never began"
    if whole:
        return f"it was not tested on {', '.join(untested)}"
    return str(record["error"] or record["status"])


def of_earlier_version(folder: Path, record: dict[str, Any]) -> str:
    """Return why a complete run with an earlier schema is not accepted as a run of this version."""
    return (
        f"{folder} holds a complete run of an earlier version (schema {record['schema']}, now {SCHEMA}), "
        "whose result was computed by other rules (CHANGELOG.md): choose another folder (hydra.run.dir, "
        "hydra.sweep.dir), or move this one away; report and evaluate still read it"
    )


def shifted(folder: Path, shift: str) -> Path:
    """Return the folder of a run's test on a named shift."""
    return folder / EVALUATIONS / f"shift={shift}"


def _is_held(folder: Path) -> bool:
    """Tell whether a process has locked a folder, without changing the folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # no permission, or a file system without locks
        return False


def load_config(folder: Path) -> DictConfig:
    """Read the configuration that a run was started with.

    Raises:
        InputError: There is none.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"run={folder} is not a run's folder: it has no {CONFIG}")
    cfg = OmegaConf.load(path)
    assert isinstance(cfg, DictConfig)
    for option in GONE:
        group, _, key = option.partition(".")
        if key and group in cfg:
            cfg[group].pop(key, None)
    if OmegaConf.select(cfg, "optim.name") == "lbfgs":  # of an earlier version; its head is in the checkpoint
        cfg.optim.name = "adamw"
    return cfg


def _check_same_run(folder: Path, cfg: DictConfig) -> dict[str, Any] | None:
    """Return the folder's record, after a check that the folder belongs to this run."""
    try:
        record = read_record(folder)
        same = not (folder / CONFIG).is_file() or config_hash(load_config(folder)) == config_hash(cfg)
    except InputError as error:
        raise FolderError(str(error)) from error
    if not same:
        raise FolderError(
            f"{folder} holds a run with another configuration ({folder / CONFIG}): "
            "choose another folder with hydra.run.dir, or give that run's options to continue it"
        )
    return record
