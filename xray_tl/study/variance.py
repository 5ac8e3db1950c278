"""Where the variance of a study's results lies: images, seeds, and what else its readers drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xray_tl.statistics.components import Nested, nested
from xray_tl.statistics.mrmc import Cells, cells
from xray_tl.statistics.readings import NO_READER
from xray_tl.study.arm_readings import readings
from xray_tl.study.draws import Draw
from xray_tl.study.study_folder import Arm

Array = NDArray[np.float64]


def components_of(arms: Sequence[Arm], contrasts: Sequence[Mapping[str, float]]) -> list[Nested | None]:
    """Return the variance components of contrasts of arms; `None` where the arms have no reader in common.

    Within a reader, runs of the arms are paired by their seed; a solved arm's one result meets each of them.
    Where no seed is common, the arms' means are compared, and nothing is told of seeds.

    Args:
        arms: Arms with the same test set.
        contrasts: Label of an arm -> its factor.
    """
    computed = cells(replace(readings(arms), group=None))
    by_label = {arm.label: arm for arm in arms}
    return [_of_contrast(computed, [by_label[label] for label in given], given) for given in contrasts]


def _of_contrast(computed: Cells, arms: Sequence[Arm], factors: Mapping[str, float]) -> Nested | None:
    found = [
        (row.ravel(), reader)
        for reader in _common(arms)
        for row in _within(computed, [_runs(arm, reader) for arm in arms], arms, factors)
    ]
    if not found:
        return None
    known = ~np.isnan(computed.value.ravel())
    weights = np.array([row for row, _ in found])[:, known]
    covariance = computed.covariance.reshape(known.size, known.size)[np.ix_(known, known)]
    readers = np.array([reader for _, reader in found])
    return nested(weights @ computed.value.ravel()[known], weights @ covariance @ weights.T, readers)


def _common(arms: Sequence[Arm]) -> list[str]:
    """Return the readers that all of these arms have; of arms without, the one that stands for none."""
    drawn = [arm.readers for arm in arms if arm.readers != [NO_READER]] or [[NO_READER]]
    return [reader for reader in drawn[0] if all(reader in own for own in drawn)]


def _runs(arm: Arm, reader: str) -> dict[Draw, str]:
    """Return the names of an arm's runs of a reader, by what they drew."""
    return {run.draw: run.name for run in arm.runs if run.reader in (reader, NO_READER)}


def _within(
    computed: Cells, runs: Sequence[dict[Draw, str]], arms: Sequence[Arm], factors: Mapping[str, float]
) -> list[Array]:
    """Return the weights, over treatments and runs, of each value of the contrast within a reader."""
    trained = [set(own) for own, arm in zip(runs, arms, strict=True) if not arm.is_solved]
    paired = set.intersection(*trained) if trained else set()
    each: list[Draw | None] = [*sorted(paired, key=str)]
    rows = []
    for draw in each or [None]:
        row = np.zeros(computed.value.shape)
        for arm, own in zip(arms, runs, strict=True):
            names = [own[draw]] if draw in own else list(own.values())
            for name in names:
                column = 0 if name == NO_READER else computed.readings.readers.index(name)
                row[computed.readings.treatments.index(arm.label), column] += factors[arm.label] / len(names)
        rows.append(row)
    return rows
