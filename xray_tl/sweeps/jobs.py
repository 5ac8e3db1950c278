"""Jobs of a sweep, run one after another in this process or in parallel in several; no torch.

Hydra's own launcher starts the jobs. With `hydra/launcher=parallel` they are only queued here, for worker
processes. Each worker runs one job after another on its own group of cores, so that it imports libraries only
once. If a worker is killed, only its job is lost: a new one takes its place and its cores. Source weights for
which jobs would wait are trained first.
"""

from __future__ import annotations

import atexit
import logging
import logging.config
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pebble import ProcessExpired, ProcessPool

from xray_tl.config.identity import arm_hash, config_hash
from xray_tl.data.films.processes import cores, own_cores
from xray_tl.errors import FolderError, InputError, InUseError, RunError
from xray_tl.store.run_folder import claim
from xray_tl.store.temporary import spare_folder
from xray_tl.sweeps.core_groups import core_groups, on_cores, take_group

log = logging.getLogger(__name__)

Report = Callable[[str, str | None], None]
Job = tuple[DictConfig, Path, dict[str, Any]]
"""A job that is queued: its configuration, its folder, and how it logs."""
WEIGHTS_FROM = (
    "model.registry",
    "model.name",
    "model.memory_format",
    "weights.source",
    "weights.budget",
    "weights.seed",
    "data.image_size",
    "trainer.accelerator",
    "trainer.precision",
)
"""Options that a set of source weights depends on; not on dropout or depth, in which arms differ."""


def do_job(cfg: DictConfig, folder: Path) -> str | None:
    """Run one job of a sweep; record a failure and return its message, else return `None`.

    A run that another process works on is no failure: at the end of the sweep its folder is checked.

    Raises:
        KeyboardInterrupt: The run was interrupted, is recorded as interrupted, and can be resumed.
    """
    from xray_tl.runs.run import record_refusal, release_memory, run, settle_imports

    settle_imports()
    try:
        run(cfg, folder, beside=folder.parent)
    except InUseError as error:
        log.warning("%s: %s", folder.name, error)
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
    """Worker processes that run jobs in parallel, each on its own group of cores.

    Args:
        jobs: Number of processes, at most one per core.
    """

    def __init__(self, jobs: int) -> None:
        with suppress(OSError):  # no folder for temporary files
            spare_folder()  # created here, so that the processes share it and this one removes it
        groups = core_groups(own_cores(), jobs)
        self._jobs = len(groups)
        self._locks = TemporaryDirectory(prefix="xray_tl-", ignore_cleanup_errors=True)
        self._pool = ProcessPool(
            len(groups),
            initializer=_start,
            initargs=(Path(self._locks.name), groups),
            context=multiprocessing.get_context("spawn"),
        )
        self._queue: list[Job] = []
        self._twins: list[str] = []
        atexit.register(self._stop)  # before the interpreter waits for its children
        threads = " or ".join(map(str, sorted({len(group) for group in groups})))
        log.info("%d jobs side by side, %s threads each", len(groups), threads)

    def submit(self, cfg: DictConfig, folder: Path, logging_config: dict[str, Any]) -> None:
        """Queue a job, unless the same run is queued already, as for the next seed of a solved head."""
        if any(folder == job[1] and _is_same(cfg, job[0]) for job in self._queue):
            self._twins.append(folder.name)
        else:
            self._queue.append((cfg, folder, logging_config))

    def wait(self, report: Report) -> None:
        """Run all queued jobs; report the name and the failure, if any, of each job that ends.

        Raises:
            KeyboardInterrupt: All jobs are stopped first; those that had started can be resumed.
        """
        try:
            names: dict[Future[str | None], str] = {
                self._pool.schedule(_work, args=job): job[1].name for job in in_turn(self._queue)
            }
            for name in self._twins:
                report(name, None)
            for future in as_completed(names):
                report(names[future], _failure(future))
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self._close()

    def prepare(self) -> None:
        """Train the source weights for which jobs would wait: several sets side by side, few on all cores.

        With at least as many sets as workers, each worker makes one after another on its own cores; else they
        are made one after another on all cores, of which none would have work otherwise.

        Raises:
            KeyboardInterrupt: All processes are stopped first; the training can be resumed.
        """
        sets: dict[str, Job] = {}
        for job in self._queue:
            own = _weights_of(job[0])
            source = OmegaConf.select(job[0], "weights.source")
            if own not in sets and source in ("auto", "source") and _will_train(job):
                sets[own] = job
        beside = len(sets) >= self._jobs > 1
        try:
            made: dict[Future[str | None], str] = {}
            for job in sets.values():
                future: Future[str | None] = self._pool.schedule(
                    _make_weights, args=(*job, None if beside else own_cores())
                )
                made[future] = job[1].name
                if not beside:
                    future.exception()  # waits for its end
            for future in as_completed(made):
                failure = _failure(future)
                if failure is not None:  # its jobs will report it too
                    log.info("source weights of %s were not made first: %s", made[future], failure)
        except KeyboardInterrupt:
            self._stop()
            self._close()
            raise

    def _stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]  # pebble types its pools only in part

    def _close(self) -> None:
        self._pool.close()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._locks.cleanup()


def _is_same(first: DictConfig, second: DictConfig) -> bool:
    """Tell whether two jobs make the same run, and test it on the same shifts."""
    shifts = [OmegaConf.select(cfg, "shifts") for cfg in (first, second)]
    return shifts[0] == shifts[1] and config_hash(first) == config_hash(second)


def _start(folder: Path, groups: list[list[int]]) -> None:
    """Initialise a worker: ignore signals that a scheduler sends to all processes, take a group of cores."""
    for name in ("SIGUSR1", "SIGUSR2"):  # pebble does the same with Ctrl-C
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    take_group(folder, groups)


def _will_train(job: Job) -> bool:
    """Tell whether a job has something to do: its run is not complete, and its folder can be claimed."""
    cfg, folder, _ = job
    try:
        with claim(folder, cfg) as complete:
            return complete is None
    except (FolderError, OSError, KeyError):  # the job will report it
        return False


def in_turn(jobs: list[Job]) -> list[Job]:
    """Return jobs in a new order: first one job of every arm, data set and set of weights, then the others.

    The first job chooses learning rates and computes features; the others of its arm, data and weights would
    wait.
    """
    firsts: dict[tuple[Any, ...], Job] = {}
    rest = []
    for job in jobs:
        keys = ("data.seed", "data.train_seed", "data.fold", "weights.seed")
        data = [OmegaConf.select(job[0], key) for key in keys]
        if firsts.setdefault((arm_hash(job[0]), *data), job) is not job:
            rest.append(job)
    return [*firsts.values(), *rest]


def _work(cfg: DictConfig, folder: Path, logging_config: dict[str, Any]) -> str | None:
    """Run one job in a worker process, on at most as many threads as that has cores."""
    _set_up(logging_config, f"{folder.name}: ")
    from xray_tl.training.device import limit_threads

    limit_threads(cores())
    return do_job(cfg, folder)


def _weights_of(cfg: DictConfig) -> str:
    """Return text that jobs have in common if they start from the same set of source weights."""
    try:
        return str([OmegaConf.select(cfg, key) for key in WEIGHTS_FROM])
    except OmegaConfBaseException:  # refused when the run starts, and recorded there
        return OmegaConf.to_yaml(cfg.weights)


def _make_weights(
    cfg: DictConfig, folder: Path, logging_config: dict[str, Any], present: list[int] | None
) -> str | None:
    """Train the source weights that a job needs, if any, while no job runs; return a failure.

    Args:
        cfg: The job's configuration.
        folder: Its folder.
        logging_config: How it logs.
        present: Cores to use, of all processes; `None`: those of this worker.
    """
    _set_up(logging_config, "")
    from xray_tl.runs.run import prepare
    from xray_tl.training.device import limit_threads

    try:
        if present is None:
            limit_threads(cores())
            prepare(cfg)
        else:
            with on_cores(present):
                prepare(cfg)
    except (InputError, RunError) as error:
        return str(error)
    return None


def _set_up(logging_config: dict[str, Any], prefix: str) -> None:
    """Register config schemas and resolvers; log with a prefix to the terminal that jobs share."""
    from xray_tl.config import register_schemas
    from xray_tl.config.identity import register_resolvers

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
