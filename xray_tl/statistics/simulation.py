"""Simulated multi-reader multi-case studies whose truth is known (Roe & Metz 1997). No torch.

The score of case k by reader j with treatment i is, for positive and negative cases apart,

    mu_i [positive] + R_j + C_k + (TR)_ij + (TC)_ik + (RC)_jk + E_ijk

with independent normal terms; the variances of the terms that hold a case add up to 1.
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
"""After Roe & Metz 1997: correlation through cases high or low, variance between readers high or low."""


def separation(auroc: float, structure: Structure) -> float:
    """Return mu at which the AUROC, averaged over readers, is `auroc`."""
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
        structure: Variances.
        readers: How many.
        positive: Positive cases.
        negative: Negative cases.
        generator: Draws the terms.
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
