"""What the jobs of a sweep share: a launcher has it done once, before the jobs that wait for it; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.identity import arm_hash, config_hash
from xray_tl.errors import FolderError
from xray_tl.store.run_folder import claim
from xray_tl.sweeps.job import Job

WEIGHTS_FROM = (
    "model.registry",
    "model.name",
    "model.memory_format",
    "weights.source",
    "weights.budget",
    "weights.seed",
    "data.image_size",
    "trainer.accelerator",
    "trainer.precision",
)
"""Options that a set of source weights depends on; not on dropout or depth, in which arms differ."""
DATA_FROM = ("data.seed", "data.train_seed", "data.fold", "weights.seed")
"""Options that tell the runs of an arm apart beside the seed of training."""


def distinct(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs without those that repeat another, as the seeds of a solved head do."""
    kept: list[Job] = []
    for job in jobs:
        if not any(job.folder == other.folder and _is_same(job.cfg, other.cfg) for other in kept):
            kept.append(job)
    return kept


def in_turn(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs in a new order: first one job of every arm, data set and set of weights, then the others.

    The first job chooses learning rates and computes features; the others of its arm, data and weights would
    wait.
    """
    firsts: dict[tuple[Any, ...], Job] = {}
    rest = []
    for job in jobs:
        data = [OmegaConf.select(job.cfg, key) for key in DATA_FROM]
        if firsts.setdefault((arm_hash(job.cfg), *data), job) is not job:
            rest.append(job)
    return [*firsts.values(), *rest]


def sets_of_weights(jobs: Sequence[Job]) -> list[Job]:
    """Return one job for every set of source weights that jobs with something to do may have to train."""
    sets: dict[str, Job] = {}
    for job in jobs:
        source = OmegaConf.select(job.cfg, "weights.source")
        own = weights_of(job.cfg)
        if own not in sets and source in ("auto", "source") and has_work(job):
            sets[own] = job
    return list(sets.values())


def weights_of(cfg: DictConfig) -> str:
    """Return text that jobs have in common if they start from the same set of source weights."""
    try:
        return str([OmegaConf.select(cfg, key) for key in WEIGHTS_FROM])
    except OmegaConfBaseException:  # refused when the run starts, and recorded there
        return OmegaConf.to_yaml(cfg.weights)


def has_work(job: Job) -> bool:
    """Tell whether a job has something to do: its run is not complete, and its folder can be claimed."""
    try:
        with claim(job.folder, job.cfg) as complete:
            return complete is None
    except (FolderError, OSError, KeyError):  # the job will report it
        return False


def _is_same(first: DictConfig, second: DictConfig) -> bool:
    """Tell whether two jobs make the same run, and test it on the same shifts."""
    shifts = [OmegaConf.select(cfg, "shifts") for cfg in (first, second)]
    return shifts[0] == shifts[1] and config_hash(first) == config_hash(second)
