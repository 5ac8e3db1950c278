"""The end of a sweep: a summary of all runs, a printed table of arms, and the exit code; no torch."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xray_tl.errors import InputError

log = logging.getLogger(__name__)


class SweepSummary(Callback):
    """Hydra callback of every sweep."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra's signature)
        """Summarise the sweep; leave with exit code 1 if a run is not complete."""
        if not summarise(Path(config.hydra.sweep.dir)):
            sys.exit(1)


def summarise(folder: Path) -> bool:
    """Write `summary.csv`, print the table of arms, name what failed; return whether all is complete."""
    from xray_tl.evaluation.collect import arms, collect, format_arms, write_summary

    try:
        runs = collect(folder)
    except InputError as error:
        log.error("%s", error)
        return False
    path = write_summary(runs, folder)
    complete = runs["status"] == "complete"
    if complete.any():
        print("\nTest split, mean ± SD over seeds (n runs):\n")
        print(format_arms(arms(runs)))
    print(f"\n{complete.sum()} of {len(runs)} runs complete: {path}")
    for run in runs[~complete].itertuples():
        log.error("%s %s: %s", run.run_dir, run.status, run.error or "the same command goes on with it")
    return bool(complete.all())
