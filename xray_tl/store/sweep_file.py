"""Sweep file `sweep.json`: what a sweep's commands asked for, so that its folder says what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xray_tl.errors import InputError
from xray_tl.store.files import write_text
from xray_tl.store.locks import take
from xray_tl.store.records import git_revision

SWEEP = "sweep.json"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: What tells it from the other jobs, as typed: `mode=frozen`, `seed=2`.
        shifts: Shifts on which its finished run is tested too.
    """

    overrides: tuple[str, ...] = ()
    shifts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """What the commands of a sweep asked for.

    Attributes:
        began: Start of its first command, ISO 8601, UTC.
        command: Words of its latest command.
        git: Revision of the code when that began; `None` if it is not known.
        jobs: Name of a run's folder -> its job.
        submitted: Name of a run's folder -> id of the Slurm job that was to make it last, such as `41_3`.
    """

    began: str
    command: tuple[str, ...] = ()
    git: str | None = None
    jobs: Mapping[str, Job] = field(default_factory=dict)
    submitted: Mapping[str, str] = field(default_factory=dict)


def write_sweep(
    folder: Path,
    jobs: Mapping[str, Job] | None = None,
    *,
    command: Sequence[str] = (),
    submitted: Mapping[str, str] | None = None,
) -> Sweep:
    """Add to the sweep file of a folder what a command asks for, or what it handed over; return the whole.

    The jobs of earlier commands, and when the first one began, are kept. A file that cannot be read is made
    anew. Two commands may write at once.

    Args:
        folder: The sweep's folder.
        jobs: Name of a run's folder -> its job; given when a command begins.
        command: Words of that command.
        submitted: Name of a run's folder -> id of its Slurm job.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with take(folder / f".{SWEEP}", f"another command writes {folder / SWEEP}", wait=True):
        before = Sweep(datetime.now(UTC).isoformat(timespec="seconds"))
        with suppress(InputError):
            before = read_sweep(folder) or before
        if jobs is not None:
            before = replace(before, command=tuple(command), git=git_revision())
        now = replace(
            before,
            jobs={**before.jobs, **(jobs or {})},
            submitted={**before.submitted, **(submitted or {})},
        )
        write_text(folder / SWEEP, json.dumps(asdict(now), indent=1) + "\n")
    return now


def read_sweep(folder: Path) -> Sweep | None:
    """Read the sweep file of a folder; `None` if there is none.

    Raises:
        InputError: It is damaged.
    """
    path = folder / SWEEP
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        jobs = {
            name: Job(_texts(job["overrides"]), _texts(job["shifts"])) for name, job in found["jobs"].items()
        }
        submitted = dict(zip(found["submitted"], _texts(list(found["submitted"].values())), strict=True))
        began, git = str(found["began"]), found["git"] and str(found["git"])
        return Sweep(began, _texts(found["command"]), git, jobs, submitted)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a sweep file ({type(error).__name__}: {error}): remove it, and the sweep's "
            "command makes it again"
        ) from error


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"not a list of texts: {values}")
    return tuple(values)
