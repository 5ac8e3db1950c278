"""Jobs of a sweep side by side on one machine, each on a device or a group of cores of its own; no torch.

Each worker process does one job after another, so that it imports libraries only once. If a worker is killed,
only its job is lost: a new one takes its place, and the job is tried once more. Source weights for which jobs
would wait are trained first.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pebble import ProcessExpired, ProcessPool

from xray_tl.data.films.processes import own_cores
from xray_tl.store.temporary import spare_folder
from xray_tl.sweeps.job import Job, do_elsewhere, make_weights
from xray_tl.sweeps.places import Place, divide, take_place
from xray_tl.sweeps.shared_work import distinct, in_turn, sets_of_weights

log = logging.getLogger(__name__)

Report = Callable[[str, str | None], None]
TRIES = 2
"""How often a job is started whose process is killed: the first time it may have been for want of memory."""


class Workers:
    """Worker processes, each on a device or a group of cores of its own.

    Args:
        jobs: How many jobs run at once, at most one per core.
        devices: Names of the accelerators that the processes share out, as in `CUDA_VISIBLE_DEVICES`.
    """

    def __init__(self, jobs: int, devices: Sequence[str] = ()) -> None:
        with suppress(OSError):  # no folder for temporary files
            spare_folder()  # created here, so that the processes share it and this one removes it
        own = divide(own_cores(), jobs, devices)
        self._jobs = len(own)
        self._locks = TemporaryDirectory(prefix="xray_tl-", ignore_cleanup_errors=True)
        self._pool = ProcessPool(
            len(own),
            initializer=_start,
            initargs=(Path(self._locks.name), own),
            context=multiprocessing.get_context("spawn"),
        )
        atexit.register(self._stop)  # before the interpreter waits for its children
        threads = " or ".join(map(str, sorted({len(place.cores) for place in own})))
        on = f", on GPU {', '.join(place.device or '' for place in own)}" if devices else ""
        log.info("%d jobs side by side, threads of each: %s%s", len(own), threads, on)

    def do(self, jobs: Sequence[Job], report: Report) -> dict[str, str]:
        """Do jobs, what they share first; report the name and the failure, if any, of each that ends.

        Returns:
            The failures, by the name of the job's folder.

        Raises:
            KeyboardInterrupt: All jobs are stopped first; those that had started can be resumed.
        """
        failures: dict[str, str] = {}
        try:
            self._make_weights(jobs)
            left: dict[Future[str | None], tuple[Job, int]] = {}
            for job in in_turn(distinct(jobs)):
                left[self._pool.schedule(do_elsewhere, args=(job,))] = job, 1
            while left:
                for future in wait(left, return_when=FIRST_COMPLETED).done:
                    job, tries = left.pop(future)
                    failure = _failure(future)
                    if _was_killed(future) and tries < TRIES:
                        log.warning("%s: %s: it is tried once more", job.folder.name, failure)
                        left[self._pool.schedule(do_elsewhere, args=(job,))] = job, tries + 1
                        continue
                    if failure is not None:
                        failures[job.folder.name] = failure
                    report(job.folder.name, failure)
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self._pool.close()  # type: ignore[no-untyped-call]  # pebble types its pools only in part
            self._pool.join()
            self._locks.cleanup()
        return failures

    def _make_weights(self, jobs: Sequence[Job]) -> None:
        """Train the source weights for which jobs would wait: several sets side by side, few on all cores.

        With at least as many sets as workers, each worker makes one after another on its own cores; else they
        are made one after another on all cores, of which none would have work otherwise.
        """
        sets = sets_of_weights(jobs)
        beside = len(sets) >= self._jobs > 1
        made: dict[Future[str | None], Job] = {}
        for job in sets:
            future: Future[str | None] = self._pool.schedule(
                make_weights, args=(job, None if beside else own_cores())
            )
            made[future] = job
            if not beside:
                wait([future])
        wait(made)
        for future, job in made.items():
            failure = _failure(future)
            if failure is not None:  # its jobs will report it too
                log.info("source weights of %s were not made first: %s", job.folder.name, failure)

    def _stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]


def _start(folder: Path, own: list[Place]) -> None:
    """Initialise a worker: ignore signals that a scheduler sends to all processes, take a place."""
    for name in ("SIGUSR1", "SIGUSR2"):  # pebble does the same with Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    take_place(folder, own)


def _was_killed(future: Future[str | None]) -> bool:
    error = future.exception()
    return isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGKILL


def _failure(future: Future[str | None]) -> str | None:
    error = future.exception()
    if error is None:
        return future.result()
    if _was_killed(future):
        return (
            "its process was killed, out of memory perhaps: run fewer jobs at once "
            "(hydra.launcher.jobs=...); the same command goes on with it"
        )
    if isinstance(error, ProcessExpired):
        return f"its process ended with exit code {error.exitcode}"
    return f"{type(error).__name__}: {error}"
