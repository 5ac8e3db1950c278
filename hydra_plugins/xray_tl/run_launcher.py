"""What launchers of this project have in common: they compose the jobs, and do them without Hydra."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from xray_tl.sweeps.job import Job


class RunLauncher(Launcher):
    """Has the runs of a sweep done in other processes; one that fails returns why."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Note the sweep. `task_function` is not called: other processes do the jobs without Hydra."""
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose the jobs and have them done."""
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.composition import compose_jobs

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs = compose_jobs(self._context.config_loader, self._config, job_overrides, initial_job_idx)
        failures = self.do(jobs, first=initial_job_idx == 0)
        return [sweep.returned(failures.get(job.folder.name)) for job in jobs]

    @abstractmethod
    def do(self, jobs: Sequence[Job], *, first: bool) -> dict[str, str]:
        """Have jobs done; return the failures, by the name of the job's folder.

        Args:
            jobs: The jobs.
            first: Whether the sweep has launched none before.
        """
