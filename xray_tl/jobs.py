"""Jobs of a sweep: one after the other in this process, or side by side in several; no torch.

Hydra's own launcher hands out the jobs. With `hydra/launcher=parallel` they only queue here, for processes
that do one job after another each, so that imports are paid once a process. A process that is killed costs
its own job: another takes its place. Source weights that jobs would wait for are made first, on all cores.
"""

from __future__ import annotations

import atexit
import logging
import logging.config
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from omegaconf import DictConfig, OmegaConf
from pebble import ProcessExpired, ProcessPool

from xray_tl.errors import FolderError, InputError, RunError
from xray_tl.identity import arm_hash

log = logging.getLogger(__name__)

MEMORY_PER_JOB_GB = 4.0
"""What a fine-tuned VGG16 takes, the largest of the registered backbones' needs at 224 px."""

SKIPPED_S = 1.0
"""Jobs that end sooner after each other, before any other, were complete already: they say nothing."""

Report = Callable[[str, str | None], None]
Job = tuple[DictConfig, Path, dict[str, Any]]
"""A job that is queued: its configuration, its folder, and how it logs."""


def do_job(cfg: DictConfig, folder: Path) -> str | None:
    """Do one job of a sweep: a failure is recorded; return it, or `None`.

    Raises:
        KeyboardInterrupt: It was interrupted, is recorded so, and can go on.
    """
    from xray_tl.training.run import record_refusal, release_memory, run, settle_imports

    settle_imports()
    try:
        run(cfg, folder)
    except (InputError, RunError) as error:
        log.error("%s: %s", folder.name, error)
        if not isinstance(error, FolderError | RunError):
            record_refusal(cfg, folder, error)
        return str(error)
    except Exception as error:
        log.exception("%s failed", folder.name)
        return f"{type(error).__name__}: {error}"
    finally:
        release_memory()
    return None


class Workers:
    """Processes that do jobs side by side, on threads of their own.

    Args:
        jobs: How many at once.
    """

    def __init__(self, jobs: int) -> None:
        self._threads = threads = max(1, _cores() // jobs)
        # Read when a process imports torch: more threads than cores make each step several times as long.
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        self._pool = ProcessPool(jobs, context=multiprocessing.get_context("spawn"))
        self._queue: list[Job] = []
        atexit.register(self._stop)  # before the interpreter waits for its children
        # As Ctrl-C: no process is left behind.
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        log.info("%d jobs side by side, %d threads each", jobs, threads)

    def submit(self, cfg: DictConfig, folder: Path, logging_config: dict[str, Any]) -> None:
        """Queue a job."""
        self._queue.append((cfg, folder, logging_config))

    def wait(self, report: Report) -> None:
        """Do all jobs; tell of each one that ends its name and why it failed, if it did.

        Raises:
            KeyboardInterrupt: All jobs are stopped first; those that ran can go on.
        """
        try:
            names: dict[Future[str | None], str] = {
                self._pool.schedule(_work, args=job): job[1].name for job in in_turn(self._queue)
            }
            for future in as_completed(names):
                report(names[future], _failure(future))
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self._pool.close()  # type: ignore[no-untyped-call]
            self._pool.join()
            signal.signal(signal.SIGTERM, self._before)

    def prepare(self) -> None:
        """Make the source weights that jobs would wait for, one backbone after the other on all cores.

        Raises:
            KeyboardInterrupt: All processes are stopped first; what was being made can go on.
        """
        kinds = {
            OmegaConf.to_yaml(OmegaConf.masked_copy(job[0], ["model", "weights", "trainer"])): job
            for job in reversed(self._queue)
            if OmegaConf.select(job[0], "weights.source") in ("auto", "source")
        }
        try:
            for job in reversed(kinds.values()):
                failure = _failure(self._pool.schedule(_make_weights, args=(*job, _cores(), self._threads)))
                if failure is not None:  # its jobs will say so too
                    log.info("source weights of %s were not made first: %s", job[1].name, failure)
        except KeyboardInterrupt:
            self._stop()
            self._pool.join()
            signal.signal(signal.SIGTERM, self._before)
            raise

    def _stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble types its pools only in part


def in_turn(jobs: list[Job]) -> list[Job]:
    """Order jobs so that the first of every arm, on every data set, comes first, then the rest as they came.

    A first job chooses rates and makes features that others of its arm and data would wait for.
    """
    firsts: dict[tuple[Any, ...], Job] = {}
    rest = []
    for job in jobs:
        data = [OmegaConf.select(job[0], f"data.{key}") for key in ("seed", "train_seed", "fold")]
        if firsts.setdefault((arm_hash(job[0]), *data), job) is not job:
            rest.append(job)
    return [*firsts.values(), *rest]


def _work(cfg: DictConfig, folder: Path, logging_config: dict[str, Any]) -> str | None:
    """Do one job in a process of its own."""
    _set_up(logging_config, f"{folder.name}: ")
    return do_job(cfg, folder)


def _make_weights(
    cfg: DictConfig, folder: Path, logging_config: dict[str, Any], cores: int, share: int
) -> str | None:
    """Make the source weights that a job asks for, if it does, while no other job runs."""
    _set_up(logging_config, "")
    import torch

    from xray_tl.training.run import prepare

    torch.set_num_threads(cores)
    try:
        prepare(cfg)
    except (InputError, RunError) as error:
        return str(error)
    finally:
        torch.set_num_threads(share)
    return None


def _set_up(logging_config: dict[str, Any], prefix: str) -> None:
    """Register what configurations refer to, and log to the terminal that several jobs share."""
    from xray_tl.config import register_schemas
    from xray_tl.identity import register_resolvers

    register_schemas()
    register_resolvers()
    plain = logging_config["formatters"]["simple"]
    named = {**plain, "format": plain["format"].replace("%(message)s", f"{prefix}%(message)s")}
    logging_config["formatters"]["named"] = named
    logging_config["handlers"]["console"]["formatter"] = "named"
    logging.config.dictConfig(logging_config)


def _failure(future: Future[str | None]) -> str | None:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ProcessExpired):
        code = error.exitcode
        if code == -signal.SIGKILL:
            return (
                "its process was killed, out of memory perhaps: run fewer jobs at once "
                "(hydra.callbacks.summary.jobs=...); the same command goes on with it"
            )
        return f"its process ended with exit code {code}"
    return f"{type(error).__name__}: {error}"


def jobs_at_once(asked: int | str) -> int:
    """Return how many jobs run side by side: as asked, or for `auto` one a core as far as memory lasts.

    On an accelerator `auto` is one: what several would take of its memory is not known.

    Raises:
        InputError: It is neither `auto` nor a number from 1.
    """
    if asked == "auto":
        if _accelerated():
            return 1
        return max(1, min(_cores(), int(_memory_gb() // MEMORY_PER_JOB_GB)))
    if isinstance(asked, int) and asked >= 1:
        return asked
    raise InputError(f"hydra.callbacks.summary.jobs={asked} is not valid: choose auto or a number from 1")


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _accelerated() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # not on this system
        return MEMORY_PER_JOB_GB


def count_jobs(config: DictConfig) -> int | None:
    """Return how many jobs a sweep has; `None` where that shows only as it goes."""
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith("BasicSweeper"):
        return None
    lines = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    values = {}
    for override in OverridesParser.create().parse_overrides([*lines, *config.hydra.overrides.task]):
        if isinstance(override.value(), Glob):  # Hydra alone knows what it stands for
            return None
        sweep = override.is_discrete_sweep()
        values[override.get_key_element()] = len(list(override.sweep_string_iterator())) if sweep else 1
    total = 1
    for count in values.values():
        total *= count
    return total


class Progress:
    """Says after each job how far a sweep is, and how much time is left.

    Args:
        total: How many jobs there are, if it is known.
        at_once: How many of them run side by side.
    """

    def __init__(self, total: int | None, at_once: int = 1) -> None:
        self.total, self.at_once = total, at_once
        self.done, self.failed = 0, 0
        self._worked = 0
        self._start = self._last = time.monotonic()

    def job_ended(self, *, failed: bool) -> str:
        """Count a job; return the line to show."""
        now = time.monotonic()
        self.done += 1
        self.failed += failed
        self._worked += bool(self._worked) or now - self._last >= SKIPPED_S
        self._last = now
        parts = [f"{self.done} of {self.total or '?'} jobs done"]
        if self.failed:
            parts.append(f"{self.failed} of them failed")
        if self.total and self.total > self.done:
            left = self.total - self.done
            if self.at_once > 1:
                parts.append(f"{min(left, self.at_once)} running")
            if self._worked:
                parts.append(f"about {_span((now - self._start) / self._worked * left)} left")
        return "sweep: " + ", ".join(parts)


def _span(seconds: float) -> str:
    """Round a time to what a reader needs: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
