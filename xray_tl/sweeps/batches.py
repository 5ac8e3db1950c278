"""Which runs of a sweep go into which job of a scheduler, and which jobs wait for which; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.identity import arm_hash, is_solved
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.shared_work import DATA_FROM, in_turn, weights_of

FEATURES_FROM = ("model", "weights", "data", "augment")
"""Groups of options that runs of a frozen backbone have in common if they share its features."""
FILMS_FROM = ("data.name", "data.root", "data.table", "data.image_size")
"""Options that runs have in common if they decode the same files."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Work of one job of a scheduler.

    Attributes:
        jobs: The runs that it does, one after another.
        after: Numbers of the batches that must have ended before it starts, well or not.
        weights: Whether it only trains the source weights of its run.
    """

    jobs: tuple[Job, ...]
    after: frozenset[int] = frozenset()
    weights: bool = False


def batches(
    todo: Sequence[Job], complete: Sequence[Job], weights: Sequence[Job], runs_per_job: int
) -> list[Batch]:
    """Divide runs into batches; what several runs need and do not find is made by one that they wait for.

    Source weights are made by a batch of their own. The first run on a set of image files decodes it, and the
    first run of an arm whose rates are tuned tunes them, before the others of their kind. Runs of a frozen
    backbone with the same features share a batch.

    Args:
        todo: The runs to do.
        complete: The runs that are complete: what they share with others is there.
        weights: One run for each set of source weights that has to be made.
        runs_per_job: Largest number of runs in a batch.

    Returns:
        The batches; each stands after those that it waits for.
    """
    made = [Batch((job,), weights=True) for job in weights]
    makes: dict[Key, int] = {(weights_of(job.cfg),): number for number, job in enumerate(weights)}
    there = {key for job in complete for key in _first_makes(job.cfg)}
    open_batches: dict[tuple[Key, frozenset[int]], int] = {}
    for job in in_turn(todo):
        needs = {(weights_of(job.cfg),), *_first_makes(job.cfg)} - there
        after = frozenset(makes[key] for key in needs if key in makes)
        leads = [key for key in _first_makes(job.cfg) if key not in makes and key not in there]
        features = None if leads else _features(job.cfg)
        number = open_batches.get((features, after)) if features is not None else None
        if number is not None and len(made[number].jobs) < runs_per_job:
            made[number] = Batch((*made[number].jobs, job), after)
            continue
        number = len(made)
        made.append(Batch((job,), after))
        makes |= dict.fromkeys(leads, number)
        if features is not None:
            open_batches[features, after] = number
    return made


def arrays(made: Sequence[Batch], longest: int) -> list[list[int]]:
    """Divide batches, by their numbers, into job arrays: equal dependencies, at most `longest` in each."""
    groups: dict[frozenset[int], list[int]] = {}
    for number, batch in enumerate(made):
        groups.setdefault(batch.after, []).append(number)
    return [
        group[start : start + longest] for group in groups.values() for start in range(0, len(group), longest)
    ]


def _first_makes(cfg: DictConfig) -> list[Key]:
    """Return keys of what the first of several runs makes for the others: decoded films, tuned rates."""
    keys: list[Key] = []
    with suppress(OmegaConfBaseException):  # refused when the run starts, and recorded there
        if cfg.data.name != "synthetic":
            keys.append(("films", *_texts(cfg, FILMS_FROM)))
        if OmegaConf.select(cfg, "tune.rates") and not is_solved(cfg):
            keys.append(("rates", arm_hash(cfg), *_texts(cfg, DATA_FROM)))
    return keys


def _features(cfg: DictConfig) -> Key | None:
    """Return a key that runs of a frozen backbone have in common if they share its features."""
    with suppress(OmegaConfBaseException):
        if cfg.mode.name == "frozen":
            nodes = [OmegaConf.to_container(cfg[group], resolve=True) for group in FEATURES_FROM]
            return ("features", *map(str, nodes))
    return None


def _texts(cfg: DictConfig, keys: Sequence[str]) -> list[str]:
    return [str(OmegaConf.select(cfg, key)) for key in keys]
