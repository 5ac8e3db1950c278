"""Processes that decode: as many as a job may use, none where there is little to do; no torch."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

FEW = 24
"""So many files are decoded faster here than processes start."""


def own_cores() -> list[int]:
    """Name the cores that this process may run on, by their numbers."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """Count the cores that this process may use: its share of them, where jobs run side by side."""
    present = len(own_cores())
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(present, int(share)) if share.isdecimal() and int(share) else present


@contextmanager
def mapping(count: int, workers: int | None) -> Iterator[Any]:
    """Give a `map` that works in processes of its own, or in this one where there is little to do."""
    wanted = cores() if workers is None else workers
    if count <= FEW or wanted < 2:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(wanted, context, initializer=_end_with_parent)
    try:
        yield partial(pool.map, chunksize=8)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Leave no process behind, however the one that started it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
