"""What a sweep in rungs claims: how often it is wrong, what it decides, and how many trainings it takes.

    python benchmarks/sequential.py --studies 2000
    python benchmarks/sequential.py --only errors

Scores of two arms are simulated, one seed after the other up to twenty, and analysed by DeLong's influences,
which the first study of each setting checks against the project's own analysis.

`errors`: of ten structures, how often any of the looks at 5, 8, 12 and 20 seeds says "better" where nothing
differs, or "equivalent" where the difference is the margin; beside it, the plain p value at the same looks.
How often all repeated intervals of a study hold the truth, and how often the one does at which it ended.
Standard error of a rate near 5 %, 2000 studies: 0.5 %.
`power`: what is decided and with how many seeds, futility and all, beside fixed numbers of seeds; and how
many fixed seeds decide as often, over differences of 0, 0.01, 0.02, 0.03 and 0.05 with chances of 25, 15, 20,
20 and 20 %.
`rungs`: the same of Gaussian seeds for other rungs: what each further look costs.
`promise`: studies whose number of seeds `plan` took from a pilot, to tell 0.02 with 80 %: what they have.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from xray_tl.config.rungs import RUNGS
from xray_tl.statistics.estimates import Estimate, estimate
from xray_tl.statistics.ladder_simulation import Looks, distance, draw, judged, nominal, p_values
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.planning import COUNTS, fewest, fixed
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.verdict import ALPHA, MARGIN

Array = NDArray[np.float64]

EQUAL = 0.88
SEEDS = tuple(range(5, RUNGS[-1] + 1))
DIFFERENCES = {0.0: 0.25, 0.01: 0.15, 0.02: 0.20, 0.03: 0.20, 0.05: 0.20}
"""True difference -> how likely it is beforehand."""


@dataclass(frozen=True)
class Setting:
    """Scores of a pair of arms; variances of a score add up to 1.

    Attributes:
        name: Its name.
        own: SD over seeds of each arm's AUROC.
        cases: Number of images.
        every: Variance due to the image, the same for both arms.
        case: Variance due to the image with each arm.
        collapse: Chance that a seed of the first arm loses 0.15.
    """

    name: str
    own: tuple[float, float]
    cases: int
    every: float = 0.63
    case: tuple[float, float] = (0.03, 0.33)
    collapse: float = 0.0


LOUD = (0.03, 0.03)
"""Both arms train everything; 0.33 is what a frozen arm has."""
SETTINGS = (
    Setting("real1000", (0.015, 0.0035), 1000),
    Setting("real4000", (0.015, 0.0035), 4000),
    Setting("typ1000", (0.009, 0.004), 1000),
    Setting("typ400", (0.009, 0.004), 400),
    Setting("quiet1000", (0.004, 0.004), 1000, case=(0.33, 0.33)),
    Setting("ftft1000", (0.010, 0.010), 1000, case=LOUD),
    Setting("LL400", (0.0105, 0.0105), 400, every=0.1, case=(0.1, 0.1)),
    Setting("mid2000", (0.020, 0.020), 2000, case=LOUD),
    Setting("loud1000", (0.045, 0.011), 1000),
    Setting("loud2000", (0.045, 0.045), 2000, case=LOUD),
    Setting("skew1000", (0.045, 0.011), 1000, collapse=0.1),
)
"""Ten structures, and one of which nothing is promised: seeds that collapse."""


def _centre(shift: float, area: float, collapse: float, depth: float) -> float:
    """Return the distance of the classes with which the AUROC is `area` on average over seeds."""

    def over(mean: float) -> float:
        scale = np.sqrt(2 + shift**2)
        whole = norm.cdf(mean / scale)
        return float((1 - collapse) * whole + collapse * norm.cdf((mean - depth) / scale))

    return float(brentq(lambda mean: over(mean) - area, 0, 10))


def scores(setting: Setting, true: float, generator: np.random.Generator) -> Readings:
    """Draw the scores of a study of two arms, the first one better by `true`."""
    height = norm.pdf(norm.ppf(EQUAL)) / np.sqrt(2)  # d AUROC / d distance of the classes
    shift, depth = np.array(setting.own) / height, 0.15 / height
    collapse = (setting.collapse, 0.0)
    centre = [
        _centre(float(own), EQUAL + of * true, chance, depth)
        for own, of, chance in zip(shift, (1, 0), collapse, strict=True)
    ]
    seeds, cases = RUNGS[-1], setting.cases
    moved = np.array(centre)[:, None] + shift[:, None] * generator.normal(size=(2, seeds))
    moved -= depth * (generator.random((2, seeds)) < np.array(collapse)[:, None])
    truth = np.arange(cases) < cases // 2
    case = np.array(setting.case)[:, None, None]
    rating = moved[..., None] * truth + generator.normal(scale=np.sqrt(setting.every), size=(1, 1, cases))
    rating += np.sqrt(case) * generator.normal(size=(2, 1, cases))
    rating += np.sqrt(1 - setting.every - case) * generator.normal(size=(2, seeds, cases))
    return Readings(("a", "b"), tuple(map(str, range(seeds))), truth, rating)


def differences(study: Readings) -> tuple[Array, Array]:
    """Return the difference of each seed, and their covariance over new images (DeLong), without ties."""
    rating = study.rating.reshape(-1, len(study.truth))
    parts = []
    for truth in (study.truth, ~study.truth):
        own = _ranks(rating[:, truth])
        above = _ranks(rating)[:, truth] - own  # of the other class below each
        parts.append(above / (~truth).sum())
    area = parts[0].mean(1)
    influence = np.concatenate(
        [
            (part - part.mean(1, keepdims=True)) / np.sqrt(part.shape[1] * (part.shape[1] - 1))
            for part in (parts[0], 1 - parts[1])
        ],
        1,
    )
    seeds = len(study.readers)
    moved = influence[:seeds] - influence[seeds:]
    return area[:seeds] - area[seeds:], moved @ moved.T


def _ranks(rating: Array) -> Array:
    order, ranks = rating.argsort(1), np.empty(rating.shape)
    np.put_along_axis(ranks, order, np.arange(rating.shape[1], dtype=np.float64)[None], 1)
    return ranks


def simulated(setting: Setting, true: float, studies: int, seed: int) -> Looks:
    """Simulate studies, and return what is seen of them at every number of seeds from 5 to 20."""
    generator = np.random.default_rng(seed)
    value, between, shared = (np.empty((studies, len(SEEDS))) for _ in range(3))
    for study in range(studies):
        drawn = scores(setting, true, generator)
        difference, covariance = differences(drawn)
        if not study:
            found = cells(drawn).contrast({"a": 1.0, "b": -1.0})
            seen = (found.value, found.components.readers, found.components.shared)
        for place, count in enumerate(SEEDS):
            block = covariance[:count, :count]
            value[study, place] = difference[:count].mean()
            between[study, place] = difference[:count].var(ddof=1)
            shared[study, place] = (block.sum() - np.trace(block)) / (count * (count - 1))
        if not study:
            assert np.allclose(seen, (value[0, -1], between[0, -1], shared[0, -1]))
    return Looks(SEEDS, value, between, np.maximum(shared, 0))


def at(every: Looks, rungs: tuple[int, ...]) -> Looks:
    """Return studies at some of their numbers of seeds."""
    places = [SEEDS.index(count) for count in rungs]
    return Looks(rungs, every.value[:, places], every.between[:, places], every.cases[:, places])


def _held(looks: Looks, true: float) -> NDArray[np.bool_]:
    """Tell which repeated intervals hold the truth [studies, L]."""
    level = nominal(looks, ALPHA)
    return np.stack(
        [
            np.abs(looks.value[:, place] - true)
            <= distance(
                level[:, place] / 2, looks.cases[:, place], looks.between[:, place] / count, count - 1
            )
            for place, count in enumerate(looks.rungs)
        ],
        1,
    )


def errors(studies: int) -> None:
    """Print how often any look is wrong, and how often repeated intervals hold the truth."""
    print("                        plain looks          rungs                 repeated intervals hold")
    print("structure     lambda    better  equivalent   better  equivalent    all looks   the last one")
    for place, setting in enumerate(SETTINGS):
        null = at(simulated(setting, 0.0, studies, 100 + place), RUNGS)
        edge = at(simulated(setting, MARGIN, studies, 200 + place), RUNGS)
        top = looks_share(null)
        plain = [(p_values(null) <= ALPHA).any(1), (p_values(edge, MARGIN) <= ALPHA).any(1)]
        by_rungs = [
            (p_values(null) <= nominal(null, ALPHA)).any(1),
            (p_values(edge, MARGIN) <= nominal(edge, ALPHA, 1)).any(1),
        ]
        held = np.concatenate([_held(null, 0.0), _held(edge, MARGIN)])
        ends = np.concatenate([judged(null).ends, judged(edge).ends])
        last = held[np.arange(len(ends)), ends]
        rates = [part.mean() for part in (*plain, *by_rungs, held.all(1), last)]
        print(
            f"{setting.name:<12}  {top:6.3f}    {rates[0]:.3f}   {rates[1]:.3f}        {rates[2]:.3f}   "
            f"{rates[3]:.3f}         {rates[4]:.3f}       {rates[5]:.3f}",
            flush=True,
        )


def looks_share(looks: Looks) -> float:
    """Return lambda, k / S^2, from the means over studies at twenty seeds."""
    return float(looks.cases[:, -1].mean() / looks.between[:, -1].mean())


def _fixed(looks: Looks, family: int) -> tuple[float, float]:
    """Return how often the last rung alone says "better", and else "equivalent"."""
    told = p_values(looks)[:, -1] <= ALPHA / family
    same = (p_values(looks, MARGIN)[:, -1] <= ALPHA) & ~told
    return float(told.mean()), float(same.mean())


def power(studies: int) -> None:
    """Print what is decided with how many seeds, in rungs and with a fixed number."""
    for name in ("real1000", "real4000"):
        setting = next(found for found in SETTINGS if found.name == name)
        drawn = {true: simulated(setting, true, studies, 300 + k) for k, true in enumerate(DIFFERENCES)}
        for family in (1, 21):
            print(f"\n{name}, one of {family}: better / equivalent (mean seeds)", *DIFFERENCES, sep="  ")
            for count in (5, 12, 20):
                rates = [_fixed(at(looks, (count,)), family) for looks in drawn.values()]
                print(f"{count:>2} seeds", *(f"{one:.3f} / {two:.3f}" for one, two in rates), sep="  ")
            found = [judged(at(looks, RUNGS), family=family) for looks in drawn.values()]
            cells_ = (f"{x.rates[0]:.3f} / {x.rates[1]:.3f} ({x.readers.mean():.1f})" for x in found)
            print("rungs   ", *cells_, sep="  ")
            _saved(drawn, family)


def _saved(drawn: dict[float, Looks], family: int) -> None:
    """Print how many fixed seeds decide as often as rungs do, on average over differences."""
    weight = np.array(list(DIFFERENCES.values()))
    found = [judged(at(looks, RUNGS), family=family) for looks in drawn.values()]
    decided = weight @ [sum(x.rates) for x in found]
    seeds = weight @ [x.readers.mean() for x in found]
    by_count = [weight @ [sum(_fixed(at(looks, (n,)), family)) for looks in drawn.values()] for n in SEEDS]
    wanted = float(np.interp(decided, np.maximum.accumulate(by_count), SEEDS))
    print(
        f"decided {decided:.3f} with {seeds:.1f} seeds; fixed, as often: {wanted:.1f} seeds; "
        f"saved {100 * (1 - seeds / wanted):.0f} %",
        flush=True,
    )


LADDERS = ((20,), (5, 20), (5, 10, 20), RUNGS, (5, 7, 9, 12, 15, 20), SEEDS)


def ladders(studies: int) -> None:
    """Print what other rungs decide, and with how many seeds, of Gaussian seeds."""
    print("\nrungs: better / equivalent (mean seeds) on average over the differences; k, tau^2")
    for cases, between in _grounds():
        for rungs in LADDERS:
            rates = np.zeros(3)
            for place, (true, weight) in enumerate(DIFFERENCES.items()):
                looks = draw(true, cases, between, rungs, 10 * studies, np.random.default_rng(400 + place))
                found = judged(looks)
                rates += weight * np.array([*found.rates, found.readers.mean()])
            name = "every one" if rungs == SEEDS else " ".join(map(str, rungs))
            print(
                f"{name:<20}  {rates[0]:.3f} / {rates[1]:.3f} ({rates[2]:.1f})   {cases:.1e}, {between:.1e}",
                flush=True,
            )


def _grounds() -> Iterator[tuple[float, float]]:
    yield from ((4.6e-5, 2.9e-4), (1.15e-5, 2.5e-4))  # as real1000 and real4000


PILOTS = (5, 8, 12, 20)


def promise(studies: int) -> None:
    """Print what power studies have whose number of seeds a plan took from a pilot, and promised 80 %.

    Of a pair as real1000 on 2000 images, effect 0.02: the plan knows k, and tau^2 as far as a pilot tells it.
    """
    cases, between = 2.3e-5, 2.9e-4
    truth = fixed(_of(between, 20, cases), 2000, 0.02).better
    print("\npilot of  seeds planned: median (10 % to 90 %)   power: median (10 % to 90 %)   mean")
    for pilot in PILOTS:
        generator = np.random.default_rng(pilot)
        found = between * generator.chisquare(pilot - 1, studies // 4) / (pilot - 1)
        places = [_planned(_of(float(squared), pilot, cases)) for squared in found]
        seeds, power_ = np.array(COUNTS)[places], truth[places]
        low, middle, high = np.quantile(seeds, (0.1, 0.5, 0.9))
        worst, usual, best = np.quantile(power_, (0.1, 0.5, 0.9))
        print(
            f"{pilot:>8}  {middle:14.0f} ({low:.0f} to {high:.0f})"
            f"  {usual:24.2f} ({worst:.2f} to {best:.2f})  {power_.mean():9.2f}",
            flush=True,
        )


def _of(between: float, seeds: int, cases: float) -> Estimate:
    """Return an estimate with this mean square between seeds, on 2000 images."""
    value = np.linspace(-1, 1, seeds)
    value = value / value.std(ddof=1) * np.sqrt(between)
    return estimate(value, np.full((seeds, seeds), cases), 2000)


def _planned(known: Estimate) -> int:
    """Return the place in `COUNTS` of the number of seeds that a plan names; the last if none is enough."""
    wanted = fewest(fixed(known, 2000, 0.02).better)
    return len(COUNTS) - 1 if wanted is None else COUNTS.index(wanted)


PARTS = {"errors": errors, "power": power, "rungs": ladders, "promise": promise}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--only", choices=PARTS)
    asked = parser.parse_args()
    for name, measure in PARTS.items():
        if asked.only in (None, name):
            measure(asked.studies)


if __name__ == "__main__":
    main()
