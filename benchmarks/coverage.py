"""How often intervals cover, and how often a verdict is given that is false.

    python benchmarks/coverage.py --studies 2000
    python benchmarks/coverage.py --only equivalence

Simulated studies with known truth (Roe & Metz 1997). Beside the project's analysis: the t distribution with
Hillis' degrees of freedom; and under the null a paired t test over readers alone, and a z test over cases
alone (DeLong, readers held fixed), each of which sees half of the variance. Standard error of a rate near 5 %
over 2000 studies: 0.5 %.

`equivalence`: the true difference is the margin itself, so that every "equivalent" is false. `looks`: of no
true difference, how often one is declared at five seeds, or else at ten, when the study was looked at twice.
`family`: of arms that are all equally good, some of them loud (their seeds differ much), how often Holm's
method declares any one better, from guarded p values and from Hillis'.
`images`: a fine-tuned and a frozen arm that are equally good: few seeds on many images against many seeds on
few; and how often equality is shown at the number of images that the blind rule names.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, t

from xray_tl.statistics.blind_rule import wanted
from xray_tl.statistics.estimates import LEAST_READERS, Components
from xray_tl.statistics.guarded import upper_tail
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.simulation import STRUCTURES, Structure, simulate
from xray_tl.statistics.verdict import ALPHA, MARGIN, equivalence, holm, verdicts

PAIR = {"arm 0": 1.0, "arm 1": -1.0}
QUIET = Structure(0.0002, 0.3, 0.3, 0.2, 0.2)
"""Readers hardly differ, as seeds of a frozen trunk do."""
ALIKE = Structure(0.001, 0.5, 0.02, 0.2, 0.28)
"""Treatments find the same cases hard, so that readers are most of what varies."""


@dataclass
class Count:
    """Of one setting: how often."""

    covered: int = 0
    by_hillis: int = 0
    declared: int = 0
    readers_alone: int = 0
    cases_alone: int = 0


def tally(aurocs: tuple[float, float], structure: str, readers: int, cases: int, studies: int) -> Count:
    """Analyse simulated studies."""
    generator = np.random.default_rng(1)
    count, truth = Count(), aurocs[0] - aurocs[1]
    for _ in range(studies):
        study = simulate(aurocs, STRUCTURES[structure], readers, cases // 2, cases // 2, generator)
        computed = cells(study)
        found = computed.contrast(PAIR)
        fixed = computed.contrast(PAIR, readers="fixed")
        with np.errstate(divide="ignore"):  # two readers may differ in nothing
            between = abs(found.value) / np.sqrt(found.components.readers / readers)
        count.covered += found.lower <= truth <= found.upper
        count.by_hillis += found.hillis.lower <= truth <= found.hillis.upper
        count.declared += found.p <= 0.05 and readers >= LEAST_READERS
        count.readers_alone += bool(2 * t.sf(between, readers - 1) <= 0.05)
        count.cases_alone += bool(2 * norm.sf(abs(fixed.value) / fixed.se) <= 0.05)
    return count


def intervals(studies: int) -> None:
    """Print how often intervals cover."""
    print("                             0.80 against 0.86 |                    0.85 against 0.85")
    print("seeds  images  structure  95 % CI  by Hillis  | 95 % CI  by Hillis  'better'  t  DeLong")
    for readers, cases in ((2, 400), (3, 400), (4, 400), (5, 100), (5, 400), (6, 400), (6, 2000)):
        for structure in STRUCTURES:
            apart = tally((0.80, 0.86), structure, readers, cases, studies)
            null = tally((0.85, 0.85), structure, readers, cases, studies)
            counts = (apart.covered, apart.by_hillis, null.covered, null.by_hillis)
            counts += (null.declared, null.readers_alone, null.cases_alone)
            rates = "  ".join(f"{count / studies:.3f}" for count in counts)
            print(f"{readers:5d}  {cases:6d}  {structure:>9}  {rates}", flush=True)


def false_equivalence(studies: int) -> None:
    """Print how often arms that differ by the margin are called equivalent, and by the two tests alone."""
    print("seeds  images  structure  two one-sided tests  'equivalent'")
    for readers in (2, 3, 4, 5):
        for name, structure in {"quiet": QUIET, "alike": ALIKE, "LL": STRUCTURES["LL"]}.items():
            generator = np.random.default_rng(2)
            tests = said = 0
            for _ in range(studies):
                study = simulate((0.85 + MARGIN, 0.85), structure, readers, 1000, 1000, generator)
                pair = {("arm 0", "arm 1"): cells(study).contrast(PAIR)}
                (found,) = pair.values()
                tests += equivalence(found, MARGIN) <= ALPHA
                said += verdicts(pair)["arm 0", "arm 1"].kind == "equivalent"
            print(
                f"{readers:5d}  {2000:6d}  {name:>9}  {tests / studies:19.3f}  {said / studies:12.3f}",
                flush=True,
            )


def second_looks(studies: int) -> None:
    """Print how often a difference is declared where there is none, at one look and at either of two."""
    print("images  structure  five seeds  ten seeds  five, then ten")
    for cases in (1000, 4000):
        for name, structure in STRUCTURES.items():
            generator = np.random.default_rng(3)
            first = last = either = 0
            for _ in range(studies):
                whole = simulate((0.85, 0.85), structure, 10, cases // 2, cases // 2, generator)
                told = [_declared(_of_first(whole, readers)) for readers in (5, 10)]
                first, last, either = first + told[0], last + told[1], either + any(told)
            rates = [f"{count / studies:.3f}" for count in (first, last, either)]
            print(f"{cases:6d}  {name:>9}  {rates[0]:>10}  {rates[1]:>9}  {rates[2]:>14}", flush=True)


def _of_first(study: Readings, readers: int) -> Readings:
    return replace(study, readers=study.readers[:readers], rating=study.rating[:, :readers])


def _declared(study: Readings) -> bool:
    return cells(study).contrast(PAIR).p <= ALPHA


@dataclass(frozen=True)
class Arm:
    """An arm of simulated scores.

    Attributes:
        own: SD over seeds of its AUROC.
        case: Variance of a score due to the case with this arm; its seeds have this in common.
    """

    own: float
    case: float = 0.3


SEVEN = tuple(map(Arm, (0.045, 0.030, 0.020, 0.045, 0.011, 0.019, 0.076)))
EIGHT = tuple(map(Arm, (0.076, 0.045, 0.045, 0.030, 0.020, 0.019, 0.011, 0.004)))
"""As sweeps of quiet (frozen) and loud (fine-tuned) arms have them."""
EQUAL = 0.88
EVERY = 0.3
"""Variance of a score due to the case with every arm; what is left of 1 is each seed's own."""


def equal_arms(
    arms: tuple[Arm, ...], seeds: int, cases: int, generator: np.random.Generator, every: float = EVERY
) -> Readings:
    """Draw a study of arms whose true AUROC is the same."""
    height = norm.pdf(norm.ppf(EQUAL)) / np.sqrt(2)  # d AUROC / d shift of the positives
    shift = np.array([arm.own for arm in arms]) / height
    case = np.array([arm.case for arm in arms])[:, None, None]
    centre = norm.ppf(EQUAL) * np.sqrt(2 + shift**2)
    moved = centre[:, None] + shift[:, None] * generator.normal(size=(len(arms), seeds))
    truth = np.arange(cases) < cases // 2
    rating = moved[..., None] * truth
    for variance, shape in (
        (np.array(every), (1, 1, cases)),
        (case, (len(arms), 1, cases)),
        (1 - every - case, (len(arms), seeds, cases)),
    ):
        rating = rating + generator.normal(scale=np.sqrt(variance), size=shape)
    return Readings(tuple(map(str, range(len(arms)))), tuple(map(str, range(seeds))), truth, rating)


def families(studies: int) -> None:
    """Print how often any of several arms that are all equal is called better than another."""
    print("arms  seeds  images  any 'better': guarded  Hillis")
    for arms, seeds, cases in ((SEVEN, 5, 1000), (EIGHT, 5, 400), (SEVEN, 12, 1000)):
        generator = np.random.default_rng(4)
        guarded = hillis = 0
        for _ in range(studies):
            pairs = cells(equal_arms(arms, seeds, cases, generator)).analyse().pairs.values()
            guarded += min(holm([pair.p for pair in pairs])) <= ALPHA
            hillis += min(holm([pair.hillis.p for pair in pairs])) <= ALPHA
        rates = f"{guarded / studies:21.3f}  {hillis / studies:6.3f}"
        print(f"{len(arms):4d}  {seeds:5d}  {cases:6d}  {rates}", flush=True)


TUNED_AND_FROZEN = (Arm(0.015, 0.03), Arm(0.0035, 0.33))
EVERY_OF_TWO = 0.63
"""As measured on a sweep: scores of two seeds correlate by 0.66 where all trains, by 0.96 where frozen."""


def images_or_seeds(studies: int) -> None:
    """Print what seeds and images make of a pair, and how often equality is shown by the blind rule."""
    print("seeds  images  SE  half width  images' share  'equivalent'")
    for seeds, cases in ((5, 1000), (20, 1000), (5, 4000), (8, 4000), (12, 4000), (20, 4000)):
        generator = np.random.default_rng(5)
        found = []
        for _ in range(studies):
            study = equal_arms(TUNED_AND_FROZEN, seeds, cases, generator, EVERY_OF_TWO)
            pair = cells(study).contrast({"0": 1.0, "1": -1.0})
            half, same = (pair.upper - pair.lower) / 2, equivalence(pair, MARGIN) <= ALPHA
            found.append((pair.se**2, half, pair.cases_share, same))
        squared, *means = np.mean(found, axis=0)
        rates = "  ".join(f"{value:.4f}" for value in (np.sqrt(squared), *means))
        print(f"{seeds:5d}  {cases:6d}  {rates}", flush=True)
    _blind_rule(studies)


def _blind_rule(studies: int) -> None:
    """Print how often equality is shown at the blind rule's images, where seeds take their half and less."""
    print("seeds  their variance, of the images'  'equivalent'")
    cases, before = 1_000_000, Components(np.nan, np.nan, 1e-4)
    shared = before.shared * cases / wanted(before, cases)
    for part in (1.0, 0.5):
        for seeds in (5, 8, 12, 20):
            generator = np.random.default_rng(6)
            scale = part * shared * generator.chisquare(seeds - 1, 20 * studies) / (seeds - 1)
            missed = np.abs(generator.normal(scale=np.sqrt((1 + part) * shared), size=20 * studies))
            shown = upper_tail(MARGIN - missed, shared, scale, seeds - 1) <= ALPHA
            print(f"{seeds:5d}  {part:29.1f}  {shown.mean():12.3f}", flush=True)


PARTS = {
    "intervals": intervals,
    "equivalence": false_equivalence,
    "looks": second_looks,
    "family": families,
    "images": images_or_seeds,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--only", choices=PARTS)
    asked = parser.parse_args()
    for name, measure in PARTS.items():
        if asked.only in (None, name):
            measure(asked.studies)


if __name__ == "__main__":
    main()
