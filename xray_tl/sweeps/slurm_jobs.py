"""What one job of Slurm does: runs, source weights or the report; it can be stopped and go on; no torch.

submitit gives a job to `sbatch`, starts it, and has Slurm queue it again when it is stopped. Its own handler
of SIGTERM, which ignores the signal, stays: Slurm ends a job that it preempts, and queues it again.
"""

from __future__ import annotations

import logging
import logging.config
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import SubprocessError
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from xray_tl.config.cli import INTERRUPTED
from xray_tl.errors import RunError
from xray_tl.store.cache import cache_folder
from xray_tl.store.records import RECORD, git_revision
from xray_tl.store.run_folder import LAST
from xray_tl.sweeps.batches import Batch
from xray_tl.sweeps.job import Job, do_job, make_weights, set_up

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

log = logging.getLogger(__name__)

EARLY_S = 60.0
"""Seconds by which Slurm may send a signal earlier than it was asked to."""
NOT_AGAIN = "stopped by a signal, and not queued again"
"""What a job says before the reason, for which the command that waits looks in its log."""
MARK = ".shared-by"
"""File in the cache folder by which a job sees that its cache is that of the command that submitted it."""
MAKES = ("source/*/last.ckpt", "rates/*.safetensors")
"""What a job leaves in the cache when it has come further, beside its runs' own files."""


@dataclass(frozen=True)
class Terms:
    """What is fixed when jobs are submitted.

    Attributes:
        threads: CPU threads of each run.
        timeout_min: Time limit of a job, minutes.
        signal_delay_s: Seconds before it at which a job is told to stop.
        git: Revision of the code; `None`: not known.
        cache: The cache folder.
        mark: Text of the file `MARK` in it; `None`: it cannot be written to.
    """

    threads: int
    timeout_min: int
    signal_delay_s: int
    git: str | None
    cache: Path
    mark: str | None


@dataclass
class Work:
    """Runs, or the source weights of one, in a job of Slurm.

    Attributes:
        batch: What to do.
        terms: What was fixed when it was submitted.
    """

    batch: Batch
    terms: Terms
    _began: float = field(default=0.0, init=False)
    _before: dict[Path, int] = field(default_factory=dict, init=False)

    def __call__(self) -> None:
        """Do it.

        Raises:
            SystemExit: A run failed (exit code 1), or the job was stopped (130); Slurm shows that.
        """
        self._began, self._before = monotonic(), self._left()
        stop_on_signals()
        try:
            failures = [self._do(job) for job in self.batch.jobs]
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        if any(failures):
            raise SystemExit(1)

    def checkpoint(self) -> DelayedSubmission:
        """Return what the job does when it is queued again: the same, since runs go on.

        Raises:
            RunError: The time limit is too short for it to get anywhere.
        """
        from submitit.core.utils import DelayedSubmission

        limit_s = 60 * self.terms.timeout_min - self.terms.signal_delay_s - EARLY_S
        if monotonic() - self._began > limit_s and self._left() == self._before:
            raise RunError(
                "no epoch and no run came to its end within "
                f"hydra.launcher.timeout_min={self.terms.timeout_min}"
            )
        return DelayedSubmission(Work(self.batch, self.terms))

    def _do(self, job: Job) -> str | None:
        set_up(job, f"{job.folder.name}: ")
        self._compare()
        if self.batch.weights:
            return make_weights(job)
        from xray_tl.training.device import limit_threads

        limit_threads(self.terms.threads)
        return do_job(job.cfg, job.folder)

    def _compare(self) -> None:
        """Warn of edited code, and of a cache that is not the one that was meant."""
        then, now = self.terms.git, git_revision()
        if then is not None and now is not None and then != now:
            log.warning("the code was edited: submitted at revision %s, runs %s", then, now)
        cache = cache_folder()
        if self.terms.mark is not None and cache == self.terms.cache and read_mark(cache) != self.terms.mark:
            log.warning(
                "the cache %s (XRAY_TL_CACHE) of %s is not that of the machine that submitted this job: what "
                "runs share is made again on each node",
                cache,
                os.uname().nodename,
            )

    def _left(self) -> dict[Path, int]:
        """Return the times of the files that a job leaves when it has come further."""
        paths = [job.folder / name for job in self.batch.jobs for name in (LAST, RECORD)]
        paths += [path for pattern in MAKES for path in cache_folder().glob(pattern)]
        return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


@dataclass(frozen=True)
class Report:
    """Summary and report of a sweep, in the last of its jobs.

    Attributes:
        folder: The sweep's folder.
        logging_config: How it logs.
    """

    folder: Path
    logging_config: dict[str, Any]

    def __call__(self) -> None:
        """Make them."""
        from xray_tl.sweeps.sweep import summarise

        logging.config.dictConfig(self.logging_config)
        summarise(self.folder)


def stop_on_signals() -> None:
    """Stop this job on SIGUSR1 and SIGUSR2: submitit has it queued again, and its run is interrupted.

    Where it cannot be queued again, one line says why. SIGUSR1 is what users of Lightning ask Slurm to send.
    """
    numbers = (signal.SIGUSR2, signal.SIGUSR1)
    handlers = [handler for number in numbers if callable(handler := signal.getsignal(number))]

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        try:
            for queue_again in handlers[:1]:
                queue_again(number, frame)
        except SystemExit:
            log.info("stopped by a signal, and queued again: it goes on after the last finished epoch")
        except (RuntimeError, SubprocessError, OSError, RunError) as error:  # submitit's own, or scontrol's
            used_up = "its time limits are used up (hydra.launcher.max_num_timeout)"
            log.error("%s: %s", NOT_AGAIN, used_up if "too many times" in str(error) else error)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)


def read_mark(cache: Path) -> str | None:
    """Return the mark of a cache folder; `None` if it has none."""
    try:
        return (cache / MARK).read_text(encoding="utf-8")
    except OSError:
        return None
