"""The size of a study before it starts: what its questions take, by the variances of an earlier sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from xray_tl.statistics.ladder_simulation import beaten
from xray_tl.statistics.planning import COUNTS, Staged, fewest, fixed, staged
from xray_tl.statistics.verdict import MARGIN
from xray_tl.study.pilot import Known, Pilot

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Chances = Sequence[tuple[Known, tuple[Staged, ...]]]

TRUE = (0.0, 0.01, 0.02, 0.05)
"""True differences at which the chance of each verdict is simulated."""
ROUNDED = 0.005
"""Difference of two chances that counts as none: more seeds than are worth it hardly change one near 1."""
TIMES = (1, 2, 4)
"""Multiples of the study's images that are looked at."""


@dataclass(frozen=True)
class Size:
    """What a question takes in one look, with so many images.

    Attributes:
        question: Its name.
        images: Number of test images.
        told: Fewest readers that tell the effect for each of its contrasts; `None`: none do; 0: no reader
            varies them, and images are enough.
        same: Fewest readers that show equal arms to be equivalent.
        trainings: Number of runs with the larger of both; `None`: it is not known.
        minutes: Minutes that these take.
    """

    question: str
    images: int
    told: int | None
    same: int | None
    trainings: int | None
    minutes: float | None


@dataclass(frozen=True)
class Course:
    """What `until=decided` is expected to take, over all contrasts.

    Attributes:
        chances: Question, contrast and, for each of `TRUE`, its chances.
        trainings: Mean number of runs for each of `TRUE`.
        saved: Share of the runs that it saves against one look with so many readers that as much is decided,
            on average over `TRUE`; NaN if no number of readers decides as much.
        minutes: Mean minutes, likewise.
    """

    chances: tuple[tuple[Known, tuple[Staged, ...]], ...]
    trainings: tuple[float, ...]
    saved: float
    minutes: float


def sizes(earlier: Pilot, images: int, effect: float, margin: float = MARGIN) -> list[Size]:
    """Return what each question takes in one look, with the study's images and multiples of them.

    Args:
        earlier: The earlier sweep.
        images: Number of test images of the study.
        effect: True difference that is to be told.
        margin: Largest difference that counts as equivalent.
    """
    rows = []
    for question, contrasts in earlier.questions.items():
        for times in TIMES:
            count = images * times
            told = [_fewest(c, fixed(c.estimate, count, effect, margin, c.family).better) for c in contrasts]
            same = [_fewest(c, fixed(c.estimate, count, 0.0, margin, c.family).same) for c in contrasts]
            arms = sorted({label for contrast in contrasts for label in contrast.arms})
            readers = _most([_most(told), _most(same)])
            runs = minutes = None
            if readers is not None:
                runs = sum(1 if earlier.costs[arm].once else readers for arm in arms)
                minutes = sum(earlier.costs[arm].minutes(readers, count) for arm in arms)
            rows.append(Size(question, count, _most(told), _most(same), runs, minutes))
    return rows


def _fewest(contrast: Known, rates: Array) -> int | None:
    """Return the fewest readers that are enough; 0 where none varies the contrast, and images are enough."""
    found = fewest(rates)
    return 0 if found is not None and contrast.estimate.readerless else found


def _most(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def course(earlier: Pilot, images: int, rungs: Sequence[int], margin: float = MARGIN) -> Course:
    """Return what `until=decided` is expected to take; contrasts are simulated independently of each other.

    Where the question is which arm is best, each is better than those that are named after it, every pair by
    the same difference; what a beaten arm leaves open counts as decided if it would have been.

    Args:
        earlier: The earlier sweep.
        images: Number of test images of the study.
        rungs: Numbers of readers.
        margin: Largest difference that counts as equivalent.
    """
    chances, once = [], np.zeros((len(TRUE), len(COUNTS)))
    for place, contrast in enumerate(earlier.known):
        known, family = contrast.estimate, contrast.family
        chances.append(
            (
                contrast,
                tuple(staged(known, images, true, rungs, margin, family, seed=place) for true in TRUE),
            )
        )
        looked = [fixed(known, images, true, margin, family) for true in TRUE]
        once += np.array([found.better + found.equivalent for found in looked]) / len(earlier.known)
    decided = fmean(found.better + found.equivalent for _, each in chances for found in each)
    ends = [_ends(chances, k) for k in range(len(TRUE))]
    needed = {label: np.stack([_most_of(label, chances, each) for each in ends]) for label in earlier.costs}
    trained = [label for label, cost in earlier.costs.items() if not cost.once]
    single = len(needed) - len(trained)
    runs = tuple(single + sum(float(needed[label][k].mean()) for label in trained) for k in range(len(TRUE)))
    minutes = sum(cost.minutes(float(needed[label].mean()), images) for label, cost in earlier.costs.items())
    rates = np.maximum.accumulate(once.mean(0))
    saved = float("nan")
    if rates[-1] >= decided - ROUNDED:
        as_often = single + len(trained) * float(np.interp(decided - ROUNDED, rates, COUNTS))
        saved = 1 - fmean(runs) / as_often
    return Course(tuple(chances), runs, saved, minutes)


def _most_of(label: str, chances: Chances, ends: Sequence[Counts]) -> Counts:
    """Return how many readers an arm has at the end of each study: as its longest contrast."""
    own = [end for (known, _), end in zip(chances, ends, strict=True) if label in known.arms]
    return np.max(own, axis=0)


def _ends(chances: Chances, place: int) -> list[Counts]:
    """Return how many readers each contrast has at the end of each study.

    Where the question is which arm is best, it ends at the latest when one of its arms is beaten.
    """
    asked: dict[str, list[tuple[Known, Staged]]] = {}
    for known, each in chances:
        if known.of_best:
            asked.setdefault(known.question, []).append((known, each[place]))
    lost = {
        question: beaten(
            [(known.arms[0], known.arms[1]) for known, _ in pairs],
            [found.readers for _, found in pairs],
            [found.told for _, found in pairs],
        )
        for question, pairs in asked.items()
    }
    return [
        np.min([each[place].readers, *(lost[known.question][arm] for arm in known.arms)], axis=0)
        if known.of_best
        else each[place].readers
        for known, each in chances
    ]
