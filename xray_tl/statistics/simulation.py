"""Simulated multi-reader multi-case studies whose true AUROCs are known (Roe & Metz 1997).

The score of case k by reader j with treatment i is, drawn separately for positive and negative cases,

    mu_i [positive] + R_j + C_k + (TR)_ij + (TC)_ik + (RC)_jk + E_ijk

with independent normal terms; the variances of the terms that hold a case add up to 1.

Where seeds are nested in draws, such as sets of source weights, the score of seed s from draw w is

    (mu_i + W_iw + S_iws) [positive] + C_k + (TC)_ik + E_iwsk

with W and S scaled so that an arm's AUROC has the wanted SD over draws and over the seeds of a draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from xray_tl.statistics.readings import Readings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Structure:
    """Variances of the terms of a score.

    Attributes:
        reader: R and (TR), each.
        case: C.
        treatment_case: (TC).
        reader_case: (RC).
        error: E.
    """

    reader: float
    case: float
    treatment_case: float
    reader_case: float
    error: float


STRUCTURES = {
    "HL": Structure(0.0055, 0.3, 0.3, 0.2, 0.2),
    "LL": Structure(0.0055, 0.1, 0.1, 0.2, 0.6),
    "HH": Structure(0.03, 0.3, 0.3, 0.2, 0.2),
    "LH": Structure(0.03, 0.1, 0.1, 0.2, 0.6),
}
"""From Roe & Metz 1997; first letter: high or low correlation by cases; second: variance between readers."""


def separation(auroc: float, structure: Structure) -> float:
    """Return the mu that gives the AUROC `auroc`, averaged over readers."""
    return float(norm.ppf(auroc) * np.sqrt(2 + 4 * structure.reader))


def simulate(
    aurocs: tuple[float, ...],
    structure: Structure,
    readers: int,
    positive: int,
    negative: int,
    generator: np.random.Generator,
) -> Readings:
    """Draw a study: every reader scores every case with every treatment.

    Args:
        aurocs: The true AUROC of each treatment, averaged over readers [T].
        structure: Variances of the terms.
        readers: Number of readers.
        positive: Number of positive cases.
        negative: Number of negative cases.
        generator: Source of the random numbers.
    """
    treatments = len(aurocs)
    parts = []
    for count, is_positive in ((positive, True), (negative, False)):
        shift = np.array([separation(value, structure) * is_positive for value in aurocs])

        def term(variance: float, *shape: int) -> Array:
            return generator.normal(scale=np.sqrt(variance), size=shape)

        parts.append(
            shift[:, None, None]
            + term(structure.reader, 1, readers, 1)
            + term(structure.case, 1, 1, count)
            + term(structure.reader, treatments, readers, 1)
            + term(structure.treatment_case, treatments, 1, count)
            + term(structure.reader_case, 1, readers, count)
            + term(structure.error, treatments, readers, count)
        )
    return Readings(
        tuple(f"arm {row}" for row in range(treatments)),
        tuple(str(row) for row in range(readers)),
        np.arange(positive + negative) < positive,
        np.concatenate(parts, axis=2),
    )


@dataclass(frozen=True)
class NestedArm:
    """An arm of a study whose seeds are nested in draws.

    Attributes:
        auroc: Its true AUROC, averaged over draws and seeds.
        of_draws: SD of its AUROC over draws.
        of_seeds: SD of its AUROC over the seeds of a draw.
        own: Variance of a score that is each run's own, E; the rest of 1 is the case's.
    """

    auroc: float
    of_draws: float
    of_seeds: float
    own: float = 0.34


COMMON = 0.6
"""Variance of a score that is the case's for all arms, C, in studies of nested arms."""


def simulate_nested(
    arms: tuple[NestedArm, ...], draws: int, seeds: int, cases: int, generator: np.random.Generator
) -> Readings:
    """Draw a study: several seeds of each draw, in one group, each scoring every case with every arm.

    Args:
        arms: The arms [T]; draws and seeds of each are its own.
        draws: Number of draws.
        seeds: Number of seeds of each draw.
        cases: Number of cases, half of them positive.
        generator: Source of the random numbers.
    """
    truth = np.arange(cases) < cases // 2
    common = generator.normal(scale=np.sqrt(COMMON), size=cases)
    rating = []
    for arm in arms:
        height = norm.pdf(norm.ppf(arm.auroc)) / np.sqrt(2)  # d AUROC / d shift of the positives
        of_draws, of_seeds = arm.of_draws / height, arm.of_seeds / height
        centre = norm.ppf(arm.auroc) * np.sqrt(2 + of_draws**2 + of_seeds**2)
        moved = centre + of_draws * generator.normal(size=(draws, 1))
        moved = (moved + of_seeds * generator.normal(size=(draws, seeds))).reshape(-1, 1)
        of_case = generator.normal(scale=np.sqrt(1 - COMMON - arm.own), size=cases)
        noise = generator.normal(scale=np.sqrt(arm.own), size=(draws * seeds, cases))
        rating.append(moved * truth + common + of_case + noise)
    places = [(draw, seed) for draw in range(draws) for seed in range(seeds)]
    return Readings(
        tuple(f"arm {row}" for row in range(len(arms))),
        tuple(f"{draw}/{seed}" for draw, seed in places),
        truth,
        np.stack(rating),
        group=tuple(str(draw) for draw, _ in places),
    )
