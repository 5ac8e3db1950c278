"""What the jobs of a sweep share: a launcher has it done once, before the jobs that wait for it; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.identity import arm_hash, config_hash
from xray_tl.errors import FolderError, InputError
from xray_tl.store.locks import held_since
from xray_tl.store.run_folder import LOCK, check_same_run
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


def sets_of_weights(jobs: Sequence[Job], asks: Callable[[Job], bool] | None = None) -> list[Job]:
    """Return one job for every set of source weights that jobs may have to train.

    Args:
        jobs: The jobs.
        asks: Tells whether a job asks for its set; by default all do that have something to do.
    """
    sets: dict[str, Job] = {}
    for job in jobs:
        source = OmegaConf.select(job.cfg, "weights.source")
        own = weights_of(job.cfg)
        if own not in sets and source in ("auto", "source") and (asks or has_work)(job):
            sets[own] = job
    return list(sets.values())


def lacks_weights(job: Job, device: str) -> bool:
    """Tell whether the cache lacks the source weights of a job for a device; imports torch.

    Args:
        job: The job.
        device: Type of the device that it will compute on, `cpu` or `cuda`.
    """
    from xray_tl.config import typed
    from xray_tl.runs.source_weights import are_made

    try:
        return not are_made(typed(job.cfg), device)
    except InputError:  # the job will report it
        return False


def weights_of(cfg: DictConfig) -> str:
    """Return text that jobs have in common if they start from the same set of source weights."""
    try:
        return str([OmegaConf.select(cfg, key) for key in WEIGHTS_FROM])
    except OmegaConfBaseException:  # refused when the run starts, and recorded there
        return OmegaConf.to_yaml(cfg.weights)


def has_work(job: Job) -> bool:
    """Tell whether a job has something to do, by its folder alone: nothing is locked or waited for.

    It has not where its run is complete, or another process works on it, or the folder is another run's.
    """
    try:
        record = check_same_run(job.folder, job.cfg)
    except (FolderError, OSError, KeyError):  # the job will report it
        return False
    complete = record is not None and record["status"] == "complete"
    return not complete and held_since(job.folder / LOCK) is None


def _is_same(first: DictConfig, second: DictConfig) -> bool:
    """Tell whether two jobs make the same run, and test it on the same shifts."""
    shifts = [OmegaConf.select(cfg, "shifts") for cfg in (first, second)]
    return shifts[0] == shifts[1] and config_hash(first) == config_hash(second)
