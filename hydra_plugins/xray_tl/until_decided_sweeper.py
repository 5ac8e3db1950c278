"""`until=decided`: a sweep that trains seeds in rungs, until its declared questions are decided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class UntilDecidedSweeper(Sweeper):
    """Launches the runs of one rung after another, each through the launcher that was chosen.

    Args:
        params: Option -> its values, as of Hydra's basic sweeper.
    """

    def __init__(self, params: Mapping[str, str] | None = None) -> None:
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:  # noqa: ANN401  (Hydra)
        """Train until the questions are decided, the last rung is reached or the budget is spent."""
        from xray_tl.errors import InputError
        from xray_tl.sweeps import sweep
        from xray_tl.sweeps.climb import Climb

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        folder = Path(self.config.hydra.sweep.dir)
        try:
            climb = Climb(self.hydra_context.config_loader, self.config, self._params, arguments)
        except InputError as error:
            sweep.refuse(error)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        launched = 0
        while jobs := climb.next_jobs():
            for ended in self.launcher.launch(jobs, initial_job_idx=launched):
                _ = ended.return_value  # raises what the job raised
            launched += len(jobs)
