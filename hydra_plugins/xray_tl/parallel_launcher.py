"""`hydra/launcher=parallel`: the jobs of a sweep side by side on one machine."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ParallelLauncher(Launcher):
    """Gives each job a GPU, or where there is none a group of cores.

    Args:
        jobs: How many run at once; `auto`: one a GPU, else as many as cores and memory allow.
    """

    def __init__(self, jobs: int | str = "auto") -> None:
        self._asked = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Note the sweep. `task_function` is not called: workers do the jobs without Hydra."""
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the jobs; a job that fails returns why."""
        from xray_tl.errors import InputError
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.capacity import cuda_devices, jobs_at_once
        from xray_tl.sweeps.composition import compose_jobs
        from xray_tl.sweeps.side_by_side import Workers

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs = compose_jobs(self._context.config_loader, self._config, job_overrides, initial_job_idx)
        on_cpu = all(job.cfg.trainer.accelerator == "cpu" for job in jobs)
        devices = [] if on_cpu else cuda_devices()
        try:
            at_once = jobs_at_once(self._asked, devices)
        except InputError as error:
            sweep.refuse(error)
        sweep.jobs_begin(at_once)
        failures = Workers(at_once, devices).do(jobs, sweep.job_ended)
        return [sweep.returned(failures.get(job.folder.name)) for job in jobs]
