"""Run folders: locking, the check that a folder belongs to a run, and whether the run is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from xray_tl.config.cli import GONE
from xray_tl.config.identity import config_hash
from xray_tl.errors import FolderError, InputError, InUseError
from xray_tl.store.files import fence, remove_partials, unfence, write_text
from xray_tl.store.locks import STALE_S, BusyError, held_since, left_since, take
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
    note = (
        f"{folder}: its last process gave no sign of its end: {STALE_S:.0f} s for one, else this one goes on"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = take(folder / LOCK, note, wait=False, on_lost=lambda: fence(folder))
        unfence(folder)
    except BusyError:
        raise InUseError(f"{folder} is in use by another process (hydra.run.dir, hydra.sweep.dir)") from None
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written to (hydra.run.dir, hydra.sweep.dir): {error}"
        ) from error
    try:
        record = check_same_run(folder, cfg)
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


class RunState(Enum):
    """State of a sweep's run."""

    COMPLETE = "complete"
    RUNNING = "running"
    WAITING = "waiting"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    KILLED = "killed"


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        state: Its state.
        reason: One line on why it is not complete; `None` if it is.
        since: Since when, seconds; `None` if it never began.
    """

    state: RunState
    reason: str | None = None
    since: float | None = None


def standing(folder: Path, shifts: Sequence[str] = ()) -> Standing:
    """Return how the run of a folder stands; complete is one that was tested on all `shifts` too."""
    try:
        record = read_record(folder)
    except InputError as error:
        return Standing(RunState.FAILED, str(error), _changed(folder / RECORD))
    ended = _changed(folder / RECORD)
    whole = record is not None and record["status"] == "complete"
    if record is not None and whole and record["schema"] < SCHEMA:
        return Standing(RunState.FAILED, of_earlier_version(folder, record), ended)
    untested = [name for name in shifts if not (shifted(folder, name) / RECORD).is_file()]
    if whole and not untested:
        return Standing(RunState.COMPLETE, None, ended)
    running = held_since(folder / LOCK)
    if running is not None:
        return Standing(RunState.RUNNING, "in use by another process", running)
    if whole:
        return Standing(RunState.INTERRUPTED, f"it was not tested on {', '.join(untested)}", ended)
    taken = left_since(folder / LOCK) or _changed(folder / CONFIG)
    if record is None and taken is None:
        return Standing(RunState.WAITING, "no record: it never began")
    if record is None or (left_since(folder / LOCK) or 0.0) > (ended or 0.0):
        return Standing(RunState.KILLED, "no record: it was killed", taken)
    state = RunState.INTERRUPTED if record["status"] == "interrupted" else RunState.FAILED
    return Standing(state, str(record["error"] or record["status"]), ended)


def unfinished(folder: Path, shifts: Sequence[str] = ()) -> str | None:
    """Return one line on why a folder has no complete run tested on all `shifts`; `None` if it has one."""
    return standing(folder, shifts).reason


def _changed(path: Path) -> float | None:
    """Return when a file was last written, seconds; `None` if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


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


def check_same_run(folder: Path, cfg: DictConfig) -> dict[str, Any] | None:
    """Return the folder's record, if any, after a check that the folder belongs to this run.

    Raises:
        FolderError: It belongs to another run, or is damaged.
    """
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
