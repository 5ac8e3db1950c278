"""How the runs of a sweep stand, by its folder alone: which are done, running, waiting, failed; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from xray_tl.errors import InputError
from xray_tl.store.records import RECORD
from xray_tl.store.run_folder import CONFIG, LOCK, RunState, Standing, standing
from xray_tl.store.sweep_file import Job, Sweep, read_sweep
from xray_tl.sweeps.slurm_queue import queued

LONGEST = 200
"""Characters of an error that a table shows; the record has it all."""

_ORDER = (
    RunState.COMPLETE,
    RunState.WAITING,
    RunState.RUNNING,
    RunState.INTERRUPTED,
    RunState.KILLED,
    RunState.FAILED,
)
"""States as a table has them: what needs a look stands at its end."""
_QUEUED = (RunState.WAITING, RunState.INTERRUPTED, RunState.KILLED, RunState.FAILED)
"""States of runs for which Slurm may have a job in its queue."""
_PLAIN = (RunState.COMPLETE, RunState.RUNNING)
"""States that say all there is to say."""


def standings(folder: Path) -> dict[str, Standing]:
    """Return how each run of a sweep stands, by the name of its folder.

    These are the runs that the sweep's commands asked for, and all others in its folder. A run whose job
    waits in a queue of Slurm says so, where `squeue` answers.

    Raises:
        InputError: It is not the folder of a sweep, or its sweep file is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"dir={folder} is not a folder: give that of a sweep")
    sweep = read_sweep(folder) or Sweep(began="")
    begun = {path.parent.name for path in folder.glob(f"*/{RECORD}")}
    begun |= {path.parents[1].name for path in folder.glob(f"*/{CONFIG}")}
    begun |= {path.parent.name for path in folder.glob(f"*/{LOCK}-*")}
    names = [*sweep.jobs, *sorted(begun - sweep.jobs.keys())]
    if not names:
        hint = " (it is a run's: give the folder that it lies in)" if (folder / CONFIG).exists() else ""
        raise InputError(f"dir={folder} holds no run{hint}: give the folder of a sweep")
    found = {name: standing(folder / name, sweep.jobs.get(name, Job()).shifts) for name in names}
    jobs = {
        name: job for name, job in sweep.submitted.items() if name in found and found[name].state in _QUEUED
    }
    queue = queued(set(jobs.values())) if jobs else None
    if queue is not None:
        for name, job in jobs.items():
            now = f"Slurm has no job {job} now"
            if job in queue:
                state, reason = queue[job]
                now = f"queued in Slurm: job {job}, {state}" + (f" ({reason})" if reason else "")
            elif found[name].state is RunState.FAILED:
                continue  # it ended as its record says
            found[name] = replace(found[name], reason=f"{now}; {found[name].reason}")
    return found


def counted(runs: Iterable[Standing]) -> str:
    """Return a count of runs by state, as one line: `12 of 35 done, 1 failed, 8 running, 14 waiting`."""
    states = Counter(run.state for run in runs)
    others = [f"{states[state]} {state.value}" for state in reversed(_ORDER[1:]) if states[state]]
    return ", ".join([f"{states[RunState.COMPLETE]} of {states.total()} done", *others])


def table(runs: Mapping[str, Standing]) -> str:
    """Return a table of runs for a terminal: state, since when, run, why."""
    rows = [
        (run.state.value, _time(run.since), name, "" if run.state in _PLAIN else _short(run.reason or ""))
        for state in _ORDER
        for name, run in runs.items()
        if run.state is state
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])).rstrip()
        for row in rows
    )


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
