"""Processes that decode: as many as a job may use, none where there is little to do; no torch.

A process that ends, as decoders written in C can make it, costs what it was doing, and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

FEW = 24
"""So many files are decoded faster here than processes start."""
LOST = "it cannot be read: the process that decoded it ended, by a fault of the decoder or for lack of memory"
"""The result of what made its process end."""
_CHUNK = 8
"""So many calls go to a process at once."""

Calls = Sequence[tuple[Any, ...]]


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
    """Give a `map` that works in processes of its own, or in this one where there is little to do.

    What makes its process end has `LOST` as its result.
    """
    wanted = cores() if workers is None else workers
    if count <= FEW or wanted < 2:
        yield map
        return
    processes = _Processes(wanted)
    try:
        yield processes.map
    finally:
        processes.end()


def alone(call: Callable[[], Any]) -> Any:  # noqa: ANN401  (what the call returns)
    """Do something in a process of its own; return its result, or `LOST`."""
    return _one_by_one(call, [()])[0]


class _Processes:
    """A pool that begins anew when one of its processes ends."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._pool = _pool(wanted)

    def map(self, function: Callable[..., Any], *iterables: Sequence[Any]) -> Iterator[Any]:
        """Hand out all calls now; give their results in order, as they come."""
        calls = list(zip(*iterables, strict=True))
        chunks = [calls[start : start + _CHUNK] for start in range(0, len(calls), _CHUNK)]
        return self._results(function, deque((chunk, self._submit(function, chunk)) for chunk in chunks))

    def end(self) -> None:
        """Let the processes end, whatever they have left to do."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, function: Callable[..., Any], chunk: Calls) -> Future[list[Any]]:
        try:
            return self._pool.submit(_results_of, function, chunk)
        except BrokenProcessPool:
            self.end()
            self._pool = _pool(self._wanted)
            return self._pool.submit(_results_of, function, chunk)

    def _results(
        self, function: Callable[..., Any], waiting: deque[tuple[Calls, Future[list[Any]]]]
    ) -> Iterator[Any]:
        while waiting:
            if _is_broken(waiting[0][1]):
                waiting = self._again(function, waiting)
            yield from waiting.popleft()[1].result()

    def _again(
        self, function: Callable[..., Any], waiting: deque[tuple[Calls, Future[list[Any]]]]
    ) -> deque[tuple[Calls, Future[list[Any]]]]:
        """Hand out again what a pool has not done, all that its processes were at first: one by one."""
        suspects = 2 * self._wanted
        again: deque[tuple[Calls, Future[list[Any]]]] = deque()
        for chunk, future in waiting:
            if not (future.done() and _is_broken(future)):
                again.append((chunk, future))
            elif suspects:
                suspects -= 1
                done: Future[list[Any]] = Future()
                done.set_result(_one_by_one(function, chunk))
                again.append((chunk, done))
            else:
                again.append((chunk, self._submit(function, chunk)))
        return again


def _pool(wanted: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(wanted, context, initializer=_end_with_parent)


def _is_broken(future: Future[list[Any]]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def _results_of(function: Callable[..., Any], chunk: Calls) -> list[Any]:
    return [function(*call) for call in chunk]


def _one_by_one(function: Callable[..., Any], calls: Calls) -> list[Any]:
    """Make calls in one process, and in another one whenever it ends.

    Raises:
        BrokenProcessPool: No process can start.
    """
    pool: ProcessPoolExecutor | None = None
    results: list[Any] = []
    try:
        for call in calls:
            if pool is None:
                pool = _pool(1)
                pool.submit(int).result()
            try:
                results.append(pool.submit(function, *call).result())
            except BrokenProcessPool:
                results.append(LOST)
                pool.shutdown(wait=False)
                pool = None
    finally:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
    return results


def _end_with_parent() -> None:
    """Leave no process behind, however the one that started it ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
