"""Slurm's answers: which jobs are queued, how one ended, how long an array may be; no torch."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable
from typing import NamedTuple

from xray_tl.errors import InputError

log = logging.getLogger(__name__)

MAX_ARRAY = 1001
"""Slurm's own default of `MaxArraySize`, for a controller that does not say."""
TIMEOUT_S = 60.0
"""Seconds after which a command of Slurm counts as unanswered."""

IN_TURN = {"", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit", "Cleaning"}
"""Reasons for which jobs wait that pass by themselves."""
ENDED = {
    "CANCELLED": "was cancelled (scancel)",
    "TIMEOUT": "reached its time limit (hydra.launcher.timeout_min)",
    "OUT_OF_MEMORY": "was killed for want of memory (hydra.launcher.mem_gb)",
    "NODE_FAIL": "was lost with its node",
    "PREEMPTED": "had to make room for other jobs, and was not queued again",
    "DEADLINE": "reached its deadline",
}
"""State of a job that did not end by itself -> what to say of it."""


def check_here() -> None:
    """Check that jobs can be submitted from this machine.

    Raises:
        InputError: There is no `sbatch` or no `srun`.
    """
    missing = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
    if missing:
        raise InputError(
            f"hydra/launcher=slurm: there is no {missing[0]} on the PATH; give the command on a machine from "
            "which jobs are submitted, or choose hydra/launcher=parallel"
        )


def longest_array() -> int:
    """Return how many jobs an array may have at this site."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _text("scontrol", "show", "config"), re.M)
    return max(1, int(found[1]) if found else MAX_ARRAY)


class Queued(NamedTuple):
    """A job that waits or runs.

    Attributes:
        state: Slurm's state, such as `PENDING`.
        reason: Why it waits, such as `Priority`; empty if it does not.
    """

    state: str
    reason: str


def queued(job_ids: Collection[str]) -> dict[str, Queued] | None:
    """Return those of some jobs, such as `41` and `42_3`, that wait or run; `None`: Slurm does not answer."""
    arrays = ",".join(main_ids(job_ids))
    done = _ask("squeue", "--noheader", "--array", "--format=%i|%T|%r", f"--jobs={arrays}")
    if done is None or (done.returncode != 0 and "Invalid job id" not in done.stderr):
        return None  # with that answer, none of them is there any more
    lines = (line.strip().split("|", 2) for line in done.stdout.splitlines())
    return {
        job_id: Queued(state, "" if reason == "None" else reason)
        for job_id, state, reason in lines
        if job_id in job_ids
    }


def main_ids(job_ids: Iterable[str]) -> list[str]:
    """Return the ids of jobs without their numbers in an array, each once: `41` for `41_0` and `41_1`."""
    return sorted({job_id.partition("_")[0] for job_id in job_ids}, key=lambda each: (len(each), each))


def how_it_ended(job_id: str) -> str | None:
    """Return what Slurm says of a job that is not queued any more; `None` if it knows it no more.

    Asks the controller, which remembers a job for some minutes: not every site keeps accounts.
    """
    answer = _text("scontrol", "show", "job", "-o", job_id)
    state = re.search(r"\bJobState=(\w+)", answer)
    if state is None:
        return None
    exit_code = re.search(r"\bExitCode=(\d+):(\d+)", answer)
    ended = ENDED.get(state[1])
    if ended is None and state[1] != "COMPLETED" and exit_code is not None:
        code, number = map(int, exit_code.groups())
        by = number or (code - 128 if code > 128 else 0)
        ended = f"was killed (signal {by})" if by else f"ended with exit code {code}"
    return ended


def cancel_waiting(job_ids: Iterable[str]) -> None:
    """Take jobs that have not started from the queue."""
    _ask("scancel", "--state=PENDING", *job_ids)


def _text(*command: str) -> str:
    """Return what a command of Slurm prints; nothing if it fails or does not answer."""
    done = _ask(*command)
    return done.stdout if done is not None and done.returncode == 0 else ""


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Return a command of Slurm that has ended; `None` if it is not there or does not answer."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("%s: %s", command[0], error)
        return None
