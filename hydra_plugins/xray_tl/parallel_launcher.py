"""`hydra/launcher=parallel`: the jobs of a sweep side by side on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra_plugins.xray_tl.run_launcher import RunLauncher

if TYPE_CHECKING:
    from xray_tl.sweeps.job import Job


class ParallelLauncher(RunLauncher):
    """Gives each job a GPU, or where there is none a group of cores.

    Args:
        jobs: How many run at once; `auto`: one a GPU, else as many as cores and memory allow.
    """

    def __init__(self, jobs: int | str = "auto") -> None:
        self._asked = jobs

    def do(self, jobs: Sequence[Job], *, first: bool) -> dict[str, str]:
        """Do the jobs in worker processes."""
        from xray_tl.errors import InputError
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.capacity import cuda_devices, jobs_at_once
        from xray_tl.sweeps.side_by_side import Workers

        on_cpu = all(job.cfg.trainer.accelerator == "cpu" for job in jobs)
        devices = [] if on_cpu else cuda_devices()
        try:
            at_once = jobs_at_once(self._asked, devices)
        except InputError as error:
            sweep.refuse(error)
        sweep.jobs_begin(at_once)
        return Workers(at_once, devices).do(jobs, sweep.job_ended)
