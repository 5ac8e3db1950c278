"""A sweep from its start to its end: jobs, progress, a summary of all runs, the exit code; no torch."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus, configure_log
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xray_tl.cli import INTERRUPTED
from xray_tl.errors import InputError, RunError
from xray_tl.identity import UNNAMED, run_name
from xray_tl.jobs import Workers
from xray_tl.progress import Progress, count_jobs, jobs_at_once

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

workers: Workers | None = None
"""The processes of this sweep, where its jobs run side by side."""


class SweepSummary(Callback):
    """Hydra callback of every sweep: the exit code follows from this sweep's jobs, the table has all runs.

    Args:
        jobs: How many jobs run side by side; `auto`: as many as cores and memory allow.
    """

    def __init__(self, jobs: int | str = 1) -> None:
        self.jobs = jobs
        self.failed: list[str] = []
        self.progress = Progress(None)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Count the jobs, and start processes for them unless they run one by one in this one."""
        global workers
        at_once = 1
        try:
            at_once = jobs_at_once(self.jobs)
        except InputError as error:
            sys.exit(f"error: {error}")
        workers = Workers(at_once) if self.jobs != 1 else None  # a job that is killed costs itself
        self.progress = Progress(count_jobs(config), at_once)
        compose_once(GlobalHydra.instance().config_loader())

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Note a job that failed: it returned why, or let an exception out."""
        if workers is not None and job_return.status == JobStatus.COMPLETED:
            return  # it was queued
        wrong = job_return.status != JobStatus.COMPLETED or isinstance(job_return._return_value, str)
        failure = str(job_return._return_value) if wrong else None
        self._ended(Path(config.hydra.runtime.output_dir).name, failure)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Summarise the sweep; name the jobs that failed and leave with exit code 1 if there are any."""
        folder = Path(config.hydra.sweep.dir)
        if workers is not None:
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)  # not into the last job's file
            try:
                self._prepare(workers)
                self.progress = Progress(self.progress.total, self.progress.at_once)  # jobs start now
                workers.wait(self._ended)
            except KeyboardInterrupt:
                _summarise_or_say_why(folder)
                print("interrupted: the same command goes on with the sweep", file=sys.stderr)
                sys.exit(INTERRUPTED)
        whole = _summarise_or_say_why(folder)
        for failure in self.failed:
            log.error("failed: %s", failure)
        if self.failed or not whole:
            sys.exit(1)

    def _prepare(self, workers: Workers) -> None:
        """Make what jobs share first; if that breaks, each job makes its own."""
        try:
            workers.prepare()
        except Exception:
            log.exception("source weights could not be made first")

    def _ended(self, name: str, failure: str | None) -> None:
        if failure is not None:
            self.failed.append(f"{name}: {failure}")
        log.info(self.progress.job_ended(failed=failure is not None))


def compose_once(loader: ConfigLoader) -> None:
    """Let Hydra compose each job of a sweep once: it does so to check it, and again to launch it.

    Different jobs that are one and the same run are warned of: an arm would be missing, and nothing say so.
    """
    compose = loader.load_sweep_config
    checked: dict[tuple[str, ...], DictConfig] = {}
    jobs: dict[str, list[str]] = {}

    def load(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        if key in checked:
            return checked.pop(key)
        checked[key] = compose(master_config, sweep_overrides)
        name = run_name(checked[key])
        first = jobs.setdefault(name, sweep_overrides)
        if set(first) != set(sweep_overrides) and name != UNNAMED:
            mine = " ".join(option for option in sweep_overrides if option not in first)
            other = " ".join(option for option in first if option not in sweep_overrides)
            log.warning(
                "%s is the same run as %s: what tells them apart is overruled or changes no result",
                mine,
                other,
            )
        return checked[key]

    loader.load_sweep_config = load  # type: ignore[method-assign]  # of this sweep's loader alone


def _summarise_or_say_why(folder: Path) -> bool:
    """Summarise; Hydra would turn an exception into a warning and end with exit code 0."""
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
    """Write summary, figure and report, print the table of arms, name the runs that are not complete."""
    from xray_tl.evaluation.collect import arms, collect, format_arms, write_summary

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
    """Write the report of a sweep; where its runs do not allow one, the figure alone, and say why."""
    from xray_tl.data.allocator import keep_large_blocks
    from xray_tl.data.atlas import write_missing
    from xray_tl.report.figures import write_auroc
    from xray_tl.report.page import write_report

    try:
        keep_large_blocks()
        write_missing(folder, runs)
        return write_report(folder)
    except InputError as error:
        log.warning("no report: %s", error)
        return write_auroc(runs, folder)
