"""Groups of cores, one for each worker process; no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from filelock import FileLock

from xray_tl.data.films.processes import own_cores

TRIES = 200
"""Attempts to find a free group of cores, 50 ms apart: a killed process may take seconds to end."""

held: list[FileLock] = []
"""The lock on this process's group of cores; the system releases it when the process ends."""


def core_groups(present: list[int], jobs: int) -> list[list[int]]:
    """Divide cores into groups of neighbours of about equal size, one per job and at most one per core."""
    jobs = min(jobs, len(present))
    ends = [len(present) * number // jobs for number in range(jobs + 1)]
    return [present[first:end] for first, end in pairwise(ends)]


def take_group(folder: Path, groups: list[list[int]]) -> None:
    """Take a free group of cores for this process and the processes that it starts."""
    group = free_group(folder, groups)
    # Read when a process imports torch: more threads than cores make each step several times as long.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(len(group or groups[0]))
    if group is not None:  # else the system chooses the cores
        pin(group)


def free_group(folder: Path, groups: list[list[int]]) -> list[int] | None:
    """Lock the first group that no process holds; `None` where none can be locked."""
    for _ in range(TRIES):
        for number, group in enumerate(groups):
            lock = FileLock(folder / str(number), timeout=0)
            with suppress(OSError, NotImplementedError):  # held, or a file system without locks
                lock.acquire()
                held.append(lock)
                return group
        time.sleep(0.05)
    return None


def pin(group: list[int]) -> None:
    """Restrict all threads of this process to these cores, where the system supports it."""
    if not hasattr(os, "sched_setaffinity"):
        return
    threads = Path("/proc/self/task")
    for thread in [int(entry.name) for entry in threads.iterdir()] if threads.is_dir() else [0]:
        with suppress(OSError):  # it has ended, or the cores are taken away
            os.sched_setaffinity(thread, group)


@contextmanager
def on_cores(present: list[int]) -> Iterator[None]:
    """Compute on the given cores instead of this process's group, with one thread per core."""
    import torch

    group, threads = own_cores(), torch.get_num_threads()
    pin(present)
    torch.set_num_threads(len(present))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        pin(group)
