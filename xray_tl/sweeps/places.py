"""Places for worker processes: a group of cores each, and a device where there are some; no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle, pairwise
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from xray_tl.data.films.processes import own_cores

TRIES = 200
"""Attempts to find a free place, 50 ms apart: a killed process may take seconds to end."""

held: list[FileLock] = []
"""The lock on this process's place; the system releases it when the process ends."""


class Place(NamedTuple):
    """What one worker process computes on.

    Attributes:
        cores: Numbers of its cores.
        device: The GPU that it sees, as in `CUDA_VISIBLE_DEVICES`; `None` if there is none.
    """

    cores: list[int]
    device: str | None = None


def divide(present: list[int], jobs: int, devices: Sequence[str] = ()) -> list[Place]:
    """Divide cores into groups of neighbours of about equal size, one per job and at most one per core.

    Devices are given out in turn: with more jobs than devices several jobs share one.
    """
    jobs = min(jobs, len(present))
    ends = [len(present) * number // jobs for number in range(jobs + 1)]
    groups = [present[first:end] for first, end in pairwise(ends)]
    return [Place(*place) for place in zip(groups, cycle(devices or (None,)), strict=False)]


def take_place(folder: Path, all_places: list[Place]) -> None:
    """Take a free place for this process and the processes that it starts."""
    place = _free_place(folder, all_places)
    cores, device = place or Place(all_places[0].cores)
    # Read when a process imports torch: more threads than cores make each step several times as long.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(len(cores))
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    if place is not None:  # else the system chooses the cores
        pin(cores)


def _free_place(folder: Path, all_places: list[Place]) -> Place | None:
    """Lock the first place that no process holds; `None` where none can be locked."""
    for _ in range(TRIES):
        for number, place in enumerate(all_places):
            lock = FileLock(folder / str(number), timeout=0)
            with suppress(OSError, NotImplementedError):  # held, or a file system without locks
                lock.acquire()
                held.append(lock)
                return place
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
