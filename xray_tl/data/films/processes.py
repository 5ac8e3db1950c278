"""Processes that decode files: as many as a job may use, or none if there are few files.

If a process crashes, which decoders written in C can cause, only the file that it was decoding is lost.
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
"""Up to this number of files, decoding in this process is faster than starting others."""
LOST = "it cannot be read: the process that decoded it ended, by a fault of the decoder or for lack of memory"
"""Result of a call whose process ended."""
_CHUNK = 8
"""Number of calls that are sent to a process at once."""

Calls = Sequence[tuple[Any, ...]]


def own_cores() -> list[int]:
    """Return the numbers of the cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """Return the number of cores that this process may use: its share, if jobs run in parallel."""
    present = len(own_cores())
    share = os.environ.get("OMP_NUM_THREADS", "")
    return min(present, int(share)) if share.isdecimal() and int(share) else present


@contextmanager
def mapping(count: int, workers: int | None) -> Iterator[Any]:
    """Yield a `map` that runs in several processes, or in this one if there are few calls.

    A call that makes its process end has the result `LOST`.
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
    """Run a call in a separate process; return its result, or `LOST` if the process ends."""
    return _one_by_one(call, [()])[0]


class _Processes:
    """A pool of processes that is restarted if one of them ends."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._pool = _pool(wanted)

    def map(self, function: Callable[..., Any], *iterables: Sequence[Any]) -> Iterator[Any]:
        """Submit all calls now; yield their results in order, as soon as they are ready."""
        calls = list(zip(*iterables, strict=True))
        chunks = [calls[start : start + _CHUNK] for start in range(0, len(calls), _CHUNK)]
        return self._results(function, deque((chunk, self._submit(function, chunk)) for chunk in chunks))

    def end(self) -> None:
        """Let the processes end, and cancel the calls that have not begun."""
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
        """Submit the lost calls of a broken pool again; those that may have broken it run one by one."""
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
    """Run calls one after the other in a process, and in a new one whenever it ends.

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
    """End this process when its parent process ends, however that happens."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
