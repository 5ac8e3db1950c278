"""`hydra/launcher=slurm`: the jobs of a sweep as jobs of Slurm, through submitit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SlurmLauncher(Launcher):
    """Gives the runs of a sweep that are not complete to Slurm, and waits for them.

    Args:
        options: Those of `SlurmConfig`.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (any option of a typed group)
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Note the sweep. `task_function` is not called: Slurm's jobs do the runs without Hydra."""
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the jobs; a job that fails returns why."""
        from xray_tl.config import SlurmConfig
        from xray_tl.config.settings import typed_node
        from xray_tl.errors import InputError
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.composition import compose_jobs
        from xray_tl.sweeps.slurm_sweep import SlurmSweep

        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs = compose_jobs(self._context.config_loader, self._config, job_overrides, initial_job_idx)
        try:
            if find_spec("submitit") is None:
                raise InputError("hydra/launcher=slurm needs submitit: pip install 'xray-tl[slurm]'")
            options = typed_node(OmegaConf.create(self._options), SlurmConfig)
            sweep.jobs_begin(len(jobs))
            folder = Path(self._config.hydra.sweep.dir).absolute()
            logging_config: Any = OmegaConf.to_container(self._config.hydra.hydra_logging, resolve=True)
            failures = SlurmSweep(options, folder, jobs, logging_config).do()
        except InputError as error:
            if initial_job_idx == 0:
                sweep.refuse(error)
            failures = {job.folder.name: str(error) for job in jobs}  # earlier rungs have their summary
        for name, failure in failures.items():
            sweep.failed(name, failure)
        return [sweep.returned(failures.get(job.folder.name)) for job in jobs]
