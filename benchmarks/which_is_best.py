"""What it saves to stop arms that are beaten, where the question is which of some arms is best.

    python benchmarks/which_is_best.py --studies 2000

Studies of several arms whose Gaussian seeds come in rungs are simulated; all pairs are one family, at the
first step of Holm's method. Twice: arms go on until each of their pairs has ended, or an arm that is beaten
stops. How many trainings that takes, how many arms may be the best in the end, how often the best one is
among them (at least 95 % are promised), and how often it alone is left.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xray_tl.config.rungs import RUNGS
from xray_tl.statistics.ladder_simulation import NEVER, Looks, Outcome, beaten, judged

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

OF_CASES = 0.046
"""k of a pair times the number of images, of a fine-tuned and a frozen arm."""


class Setting(NamedTuple):
    """Arms of a study: true AUROCs, and SDs over seeds."""

    name: str
    mean: tuple[float, ...]
    own: tuple[float, ...]


SETTINGS = (
    Setting("7 equal", (0.88,) * 7, (0.01,) * 7),
    Setting("7, one better by 0.02", (0.90, *(0.88,) * 6), (0.01,) * 7),
    Setting("7, 0.01 apart", tuple(0.90 - 0.01 * k for k in range(7)), (0.01,) * 7),
    Setting("7, as in study=quick", (0.91, 0.893, 0.889, 0.81, 0.78, 0.67, 0.5), (0.017, *(0.004,) * 6)),
    Setting("12, 0.01 apart", tuple(0.92 - 0.01 * k for k in range(12)), (0.01,) * 12),
)


def simulated(setting: Setting, cases: int, studies: int, generator: np.random.Generator) -> list[Outcome]:
    """Return the outcome of each pair of arms, in the order of `combinations`."""
    k, arms = OF_CASES / cases, len(setting.mean)
    shared = generator.normal(0, np.sqrt(k / 2), (studies, arms, 1))
    own = np.array(setting.own)[:, None] * generator.normal(size=(studies, arms, RUNGS[-1]))
    value = np.array(setting.mean)[:, None] + shared + own
    found, family = [], arms * (arms - 1) // 2
    for one, two in combinations(range(arms), 2):
        difference = value[:, one] - value[:, two]
        mean = np.stack([difference[:, :count].mean(1) for count in RUNGS], 1)
        between = np.stack([difference[:, :count].var(1, ddof=1) for count in RUNGS], 1)
        found.append(judged(Looks(RUNGS, mean, between, np.full_like(mean, k)), family=family))
    return found


def trainings(found: list[Outcome], setting: Setting, stopped: list[Counts]) -> float:
    """Return the mean number of trainings, if each pair ends at the latest where `stopped` says so."""
    pairs = list(combinations(range(len(setting.mean)), 2))
    ends = [np.minimum(pair.readers, at) for pair, at in zip(found, stopped, strict=True)]
    of_arm = [
        np.max([end for pair, end in zip(pairs, ends, strict=True) if arm in pair], axis=0)
        for arm in range(len(setting.mean))
    ]
    return float(np.sum(of_arm, axis=0).mean())


def show(setting: Setting, cases: int, studies: int) -> None:
    """Print one row."""
    found = simulated(setting, cases, studies, np.random.default_rng(len(setting.mean) + cases))
    pairs = [(str(one), str(two)) for one, two in combinations(range(len(setting.mean)), 2)]
    at = beaten(pairs, [pair.readers for pair in found], [pair.told for pair in found])
    stopped = [np.minimum(at[one], at[two]) for one, two in pairs]
    never = [np.full(studies, NEVER)] * len(pairs)
    left = np.stack([at[str(arm)] == NEVER for arm in range(len(setting.mean))], 1)
    every, fewer = trainings(found, setting, never), trainings(found, setting, stopped)
    best, many = left[:, 0], left.sum(1)
    print(
        f"{setting.name:<22}{cases:>7}{every:10.1f}{fewer:10.1f}{1 - fewer / every:8.0%}"
        f"{many.mean():8.1f}{best.mean():9.1%}{(best & (many == 1)).mean():8.1%}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=500)
    asked = parser.parse_args()
    print(f"{'trainings':>49}{'may be':>16}{'best':>9}{'it':>8}")
    print(f"{'images':>29}{'all':>10}{'best':>10}{'saved':>8}{'best':>8}{'kept':>9}{'alone':>8}")
    for setting in SETTINGS:
        for cases in (1000, 4000):
            show(setting, cases, asked.studies)


if __name__ == "__main__":
    main()
