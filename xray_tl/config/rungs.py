"""Rungs: the numbers of readers at which a sweep that stops when it is decided is judged (`rungs`)."""

from __future__ import annotations

from itertools import pairwise

from omegaconf import DictConfig, OmegaConf

from xray_tl.errors import InputError

RUNGS = (5, 8, 12, 20)
"""Rungs of a sweep that names none."""
FIRST = 5
"""Fewest readers of the first rung: fewer have no verdict."""
LEAST_RATIO = 1.25
"""Smallest ratio of a rung to the one before. Each look takes from the level of the others and waits for the
last of its runs, for readers that hardly change the answer (`benchmarks/sequential.py --only rungs`)."""


def rungs_of(cfg: DictConfig) -> tuple[int, ...] | None:
    """Return the rungs that a configuration declares; `None`: none, so that all seeds are judged once.

    Raises:
        InputError: They are no rungs.
    """
    given = OmegaConf.select(cfg, "rungs", default=None)
    return None if given is None else check_rungs(OmegaConf.to_container(given))


def check_rungs(given: object) -> tuple[int, ...]:
    """Return rungs that can be climbed.

    Raises:
        InputError: They are no list of whole numbers, start below 5, fall, or stand too close.
    """
    if not isinstance(given, list | tuple) or not given or any(type(rung) is not int for rung in given):
        raise InputError(f"rungs={given} is no list of numbers of readers, such as {list(RUNGS)}")
    rungs = tuple(given)
    if rungs[0] < FIRST:
        raise InputError(
            f"rungs={list(rungs)} starts with {rungs[0]}: a verdict takes {FIRST} readers at least"
        )
    for before, after in pairwise(rungs):
        if after <= before:
            raise InputError(f"rungs={list(rungs)} does not rise: {after} comes after {before}")
        if after < LEAST_RATIO * before:
            least = -(-before * 5 // 4)
            raise InputError(
                f"rungs={list(rungs)}: {before} and {after} stand too close for a look to be worth its share "
                f"of the error rate: take {least} or more after {before}"
            )
    return rungs
