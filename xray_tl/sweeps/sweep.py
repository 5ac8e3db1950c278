"""Control of a sweep: its jobs, their progress, a summary of all runs, the exit code; no torch.

The process that started the sweep does all of this, wherever a launcher runs the jobs: it reads in their
folders how they ended.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xray_tl.config.cli import INTERRUPTED
from xray_tl.config.planned import check_names
from xray_tl.errors import InputError, RunError
from xray_tl.store.files import check_writable
from xray_tl.store.run_folder import RunState, Standing, standing
from xray_tl.store.sweep_file import SWEEP, write_sweep
from xray_tl.sweeps.composition import ComposedOnce
from xray_tl.sweeps.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

begun: SweepSummary | None = None
"""The sweep that this process started and has not ended, if any; a launcher may run its jobs elsewhere."""


class SweepSummary(Callback):
    """Hydra callback of every sweep: its jobs decide the exit code; the table has all runs in the folder."""

    def __init__(self) -> None:
        self.folder = Path()
        self.progress: Progress | None = None
        self.composed: ComposedOnce | None = None
        self.failed: dict[str, str] = {}
        self._noted = 0

    def __reduce__(self) -> tuple[type[SweepSummary], tuple[()]]:
        """Pickle as a callback without a sweep: in a job's own process it counts and logs nothing."""
        return type(self), ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Check the declared questions, and begin to note which jobs there are and how they end."""
        global begun
        self.folder, loader = Path(config.hydra.sweep.dir), GlobalHydra.instance().config_loader()
        try:
            check_names(config, loader.get_group_options)
            check_writable(self.folder / SWEEP, "hydra.sweep.dir")
        except InputError as error:
            refuse(error)
        begun = self
        self.composed = ComposedOnce(loader)
        self.progress = Progress(self.folder, self.composed.shifts)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Note which jobs there are; all of them are composed when the first one starts."""
        self.note_jobs()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Note a job that failed: it returned a message or raised an exception."""
        wrong = job_return.status != JobStatus.COMPLETED or isinstance(job_return._return_value, str)
        failure = str(job_return._return_value) if wrong else None
        self.job_ended(Path(config.hydra.runtime.output_dir).name, failure)

    def job_ended(self, name: str, failure: str | None) -> None:
        """Note how a job ended, and log how far the sweep is."""
        if self.progress is None:
            return  # a single run, or a job of a sweep that another process began
        if failure is not None:
            self.failed[name] = failure
        log.info(self.progress.job_ended(name, failed=failure is not None))

    def note_jobs(self) -> None:
        """Write into the sweep's folder which runs there are to be, for `status`."""
        if self.composed is None or len(self.composed.shifts) == self._noted:
            return
        self._noted = len(self.composed.shifts)
        with suppress(OSError):  # its runs will say so
            write_sweep(self.folder, self.composed.jobs(), command=sys.argv[1:])

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Summarise the sweep; name the jobs that failed and leave with exit code 1 if there are any."""
        if not self.end():
            sys.exit(1)

    def end(self) -> bool:
        """Summarise the sweep, log the jobs without a complete run, and return whether there are none.

        A run that another process works on is no failure, but the sweep is not complete without it.
        """
        global begun
        begun = None
        self.note_jobs()  # a launcher of others may have started jobs elsewhere only
        whole = _summarise_or_say_why(self.folder)
        left = self._incomplete()
        elsewhere = [name for name, now in left.items() if now.state is RunState.RUNNING]
        failures = {name: str(now.reason) for name, now in left.items() if name not in elsewhere}
        for name, failure in {**failures, **self.failed}.items():
            log.error("failed: %s: %s", name, failure)
        if elsewhere:
            log.warning(
                "running elsewhere: %s; the same command later makes the report of all", ", ".join(elsewhere)
            )
        return whole and not (left or self.failed)

    def _incomplete(self) -> dict[str, Standing]:
        """Return how each job stands whose folder has no complete run."""
        shifts = self.composed.shifts if self.composed is not None else {}
        found = {name: standing(self.folder / name, names) for name, names in shifts.items()}
        return {name: now for name, now in found.items() if now.state is not RunState.COMPLETE}


def jobs_begin(at_once: int) -> None:
    """Note that the jobs of this process's sweep start now, so many at once."""
    if begun is not None and begun.progress is not None:
        begun.note_jobs()
        begun.progress.restart(at_once)


def job_ended(name: str, failure: str | None) -> None:
    """Note how a job of this process's sweep ended, for launchers that bypass Hydra's `run_job`."""
    if begun is not None:
        begun.job_ended(name, failure)


def returned(failure: str | None) -> JobReturn:
    """Return what a launcher is to return for a job that ended, with its failure, if any."""
    ended = JobReturn(status=JobStatus.COMPLETED)
    ended.return_value = failure
    return ended


def failed(name: str, failure: str) -> None:
    """Note why a job of this process's sweep failed that another process did and could not record."""
    if begun is not None:
        begun.failed[name] = failure


def not_asked_for(names: Iterable[str]) -> None:
    """Forget jobs that were composed and are not launched: that they are not complete is no failure."""
    if begun is not None and begun.composed is not None:
        for name in names:
            begun.composed.forget(name)


def refuse(error: InputError) -> NoReturn:
    """End a sweep whose options are wrong before any of its jobs has begun: one line, no summary."""
    leave(f"error: {error}")


def leave(code: int | str) -> NoReturn:
    """End this process without a summary: its sweep has not begun, or goes on without it.

    Args:
        code: The exit code, or a line for stderr, which stands for exit code 1.
    """
    global begun
    begun = None
    sys.exit(code)


@contextmanager
def summarised() -> Iterator[None]:
    """Summarise a sweep that is interrupted or whose launcher fails, for which Hydra calls no callback."""
    try:
        yield
        if begun is not None:  # its callback failed, of which Hydra only warns
            sys.exit(1)
    except BaseException as stop:
        if begun is None:
            raise
        if not isinstance(stop, KeyboardInterrupt):
            begun.end()
            raise
        _summarise_or_say_why(begun.folder)
        print("interrupted: the same command goes on with the sweep", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _summarise_or_say_why(folder: Path) -> bool:
    """Summarise and return whether it worked; Hydra would only warn of an exception and exit with 0."""
    try:
        summarise(folder)
    except (InputError, RunError, OSError) as error:
        log.error("the summary could not be made: %s", error)
        return False
    except Exception:
        log.exception("the summary could not be made")
        return False
    return True


def summarise(folder: Path) -> None:
    """Write summary, figure and report; print the table of arms; log the runs that are not complete."""
    from xray_tl.study.run_table import arms, collect, format_arms, write_summary

    try:
        runs = collect(folder)
    except InputError as error:
        log.error("%s", error)
        return
    path = write_summary(runs, folder)
    complete = runs["status"] == "complete"
    if complete.any():
        print("\nTest split, mean ± SD over n seeds:\n")
        print(format_arms(arms(runs)))
        print(f"\nReport: {_report(folder, runs)}")
    print(f"\n{complete.sum()} of {len(runs)} runs complete: {path}")
    for run in runs[~complete].itertuples():
        log.warning("%s is %s", run.run_dir, run.status)


def _report(folder: Path, runs: pd.DataFrame) -> Path:
    """Write the report of a sweep; if its runs do not allow one, log why and write only the figure."""
    from xray_tl.report.figures import write_auroc
    from xray_tl.report.page import write_report
    from xray_tl.store.allocator import keep_large_blocks
    from xray_tl.sweeps.atlas import write_missing

    try:
        keep_large_blocks()
        write_missing(folder, runs)
        return write_report(folder)
    except InputError as error:
        log.warning("no report: %s", error)
        return write_auroc(runs, folder)
