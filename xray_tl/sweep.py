"""The end of a sweep: a summary of all runs, a printed table of arms, and the exit code; no torch."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xray_tl.errors import InputError

log = logging.getLogger(__name__)


class SweepSummary(Callback):
    """Hydra callback of every sweep: the exit code follows from this sweep's jobs, the table has all runs."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ANN401
        """Note a job that failed: it returned why, or let an exception out."""
        if job_return.status != JobStatus.COMPLETED or isinstance(job_return._return_value, str):
            self.failed.append(f"{Path(config.hydra.runtime.output_dir).name}: {job_return._return_value}")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra's signature)
        """Summarise the sweep; name the jobs that failed and leave with exit code 1 if there are any."""
        summarise(Path(config.hydra.sweep.dir))
        for failure in self.failed:
            log.error("failed: %s", failure)
        if self.failed:
            sys.exit(1)


def summarise(folder: Path) -> None:
    """Write `summary.csv` and `auroc.png`, print the table of arms, name the runs that are not complete."""
    from xray_tl.evaluation.collect import arms, collect, format_arms, write_summary
    from xray_tl.report.figures import write_auroc

    try:
        runs = collect(folder)
    except InputError as error:
        log.error("%s", error)
        return
    path = write_summary(runs, folder)
    complete = runs["status"] == "complete"
    if complete.any():
        print("\nTest split, mean ± SD over seeds (n runs):\n")
        print(format_arms(arms(runs)))
        print(f"\nFloors, arms and ceiling on one axis: {write_auroc(runs, folder)}")
    print(f"\n{complete.sum()} of {len(runs)} runs complete: {path}")
    for run in runs[~complete].itertuples():
        log.warning("%s is %s", run.run_dir, run.status)
