"""Composition of a sweep's jobs: each once, with a note of its folder and a warning of doubles; no torch."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.identity import UNNAMED, is_solved, run_name
from xray_tl.store import sweep_file
from xray_tl.sweeps.job import Job

log = logging.getLogger(__name__)


class ComposedOnce:
    """Makes Hydra compose each job of a sweep once, not once to check it and again to launch it.

    It warns if different jobs are the same run, because an arm would then be missing without notice. A
    launcher that sends jobs elsewhere pickles this object with each of them, without the other jobs'
    configurations.

    Args:
        loader: Config loader of this sweep; this object replaces its `load_sweep_config`.

    Attributes:
        shifts: Shifts on which each job's run is tested too, by the name of its folder.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._checked: dict[tuple[str, ...], DictConfig] = {}
        self._jobs: dict[str, list[str]] = {}
        self._composed = 0
        self.shifts: dict[str, list[str]] = {}
        self._overrides: dict[str, list[str]] = {}
        loader.load_sweep_config = self  # type: ignore[method-assign]  # only of this sweep's loader

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_checked": {}, "_jobs": {}, "shifts": {}, "_overrides": {}}

    def __call__(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Compose a job, or return what was composed when it was checked."""
        key = tuple(sweep_overrides)
        if key in self._checked:
            return self._checked.pop(key)
        cfg = type(self._loader).load_sweep_config(self._loader, master_config, sweep_overrides)
        self._checked[key] = cfg
        self._note_folder(cfg, sweep_overrides)
        serves_all = "seed=" if is_solved(cfg) else ()  # one run then, as it should
        self._warn_of_twin(
            run_name(cfg), [item for item in sweep_overrides if not item.startswith(serves_all)]
        )
        return cfg

    def jobs(self) -> dict[str, sweep_file.Job]:
        """Return what is to be noted of each job, by the name of its folder."""
        shared = set.intersection(*map(set, self._overrides.values())) if len(self._overrides) > 1 else set()
        return {
            name: sweep_file.Job(
                tuple(item for item in overrides if item not in shared), tuple(self.shifts[name])
            )
            for name, overrides in self._overrides.items()
        }

    def forget(self, name: str) -> None:
        """Forget the job of a run's folder: it is not launched after all."""
        self.shifts.pop(name, None)
        self._overrides.pop(name, None)

    def _note_folder(self, cfg: DictConfig, overrides: list[str]) -> None:
        """Note the folder of a job's run, unless its name is known only at launch."""
        with open_dict(cfg), suppress(OmegaConfBaseException):
            OmegaConf.update(cfg, "hydra.job.num", self._composed)  # as launchers count; they set it again
            self._composed += 1
            name = str(cfg.hydra.sweep.subdir)
            self.shifts[name] = list(cfg.get("shifts") or [])
            self._overrides.setdefault(name, overrides)

    def _warn_of_twin(self, name: str, overrides: list[str]) -> None:
        first = self._jobs.setdefault(name, overrides)
        if set(first) != set(overrides) and name != UNNAMED:
            mine = " ".join(option for option in overrides if option not in first)
            other = " ".join(option for option in first if option not in overrides)
            log.warning(
                "%s is the same run as %s: what tells them apart is overruled or changes no result",
                mine,
                other,
            )


def compose_jobs(
    loader: ConfigLoader, config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[Job]:
    """Compose the jobs that a launcher is given, as Hydra's own launchers do before they start them.

    Args:
        loader: Config loader of the sweep.
        config: Configuration of the sweep.
        job_overrides: Options of each job.
        first: Number of the first of them.
    """
    jobs = []
    for number, overrides in enumerate(job_overrides, first):
        cfg = loader.load_sweep_config(config, list(overrides))
        with open_dict(cfg), read_write(cfg.hydra.runtime):
            cfg.hydra.job.id = cfg.hydra.job.num = number
            folder = run_folder(cfg)
            cfg.hydra.runtime.output_dir = str(folder)
            cfg.arm_file = cfg.hydra.runtime.choices.get("arm")
        logging_config: Any = OmegaConf.to_container(cfg.hydra.job_logging, resolve=True)
        jobs.append(Job(without_hydra(cfg), folder, logging_config))
    return jobs


def run_folder(cfg: DictConfig) -> Path:
    """Return the absolute folder of a sweep's job."""
    return Path(cfg.hydra.sweep.dir, cfg.hydra.sweep.subdir).absolute()


def without_hydra(cfg: DictConfig) -> DictConfig:
    """Return a copy of a configuration without Hydra's own part, as a run is given it."""
    bare = copy.deepcopy(cfg)
    with read_write(bare), open_dict(bare):
        del bare["hydra"]
    return bare
