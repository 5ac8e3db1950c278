"""`hydra/launcher=slurm`: the jobs of a sweep as jobs of Slurm, through submitit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from hydra_plugins.xray_tl.run_launcher import RunLauncher

if TYPE_CHECKING:
    from xray_tl.sweeps.job import Job


class SlurmLauncher(RunLauncher):
    """Gives the runs of a sweep that are not complete to Slurm, and waits for them.

    Args:
        options: Those of `SlurmConfig`.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (any option of a typed group)
        self._options = options

    def do(self, jobs: Sequence[Job], *, first: bool) -> dict[str, str]:
        """Submit the jobs and wait for them."""
        from xray_tl.config import SlurmConfig
        from xray_tl.config.settings import typed_node
        from xray_tl.errors import InputError
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.slurm_sweep import SlurmSweep

        try:
            if find_spec("submitit") is None:
                raise InputError("hydra/launcher=slurm needs submitit: pip install 'xray-tl[slurm]'")
            options = typed_node(OmegaConf.create(self._options), SlurmConfig)
            folder = Path(self._config.hydra.sweep.dir).absolute()
            logging_config: Any = OmegaConf.to_container(self._config.hydra.hydra_logging, resolve=True)
            slurm = SlurmSweep(options, folder, jobs, logging_config)
            sweep.jobs_begin(len(jobs))
            failures = slurm.do()
        except InputError as error:
            if first:
                sweep.refuse(error)
            failures = {job.folder.name: str(error) for job in jobs}  # earlier rungs have their summary
        for name, failure in failures.items():
            sweep.failed(name, failure)
        return failures
