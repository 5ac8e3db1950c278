"""A sweep whose seeds come in rungs: which rungs its arms have reached, and the verdicts there.

A rung of S holds the first S seeds: whole numbers one after the other, from the lowest of the folder on. It
is reached where every arm of a contrast has a usable run of each of them; solved arms, which no seed changes,
are on every rung. So the verdict at a rung is the same whether or not later seeds exist, and a number of
seeds between two rungs is judged at the lower one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xray_tl.config.planned import TEST, Declared
from xray_tl.config.rungs import check_rungs
from xray_tl.statistics.comparison import Comparison
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.families import (
    Contrast,
    Families,
    Family,
    Judged,
    estimated,
    planned_pairs,
)
from xray_tl.statistics.ladder import climb
from xray_tl.statistics.ladder_verdict import judge_climbed
from xray_tl.statistics.mrmc import Cells
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.sameness import why_the_same
from xray_tl.statistics.verdict import ALPHA, Pair, Verdict
from xray_tl.study.contrasts import estimated_contrast
from xray_tl.study.study_folder import Arm, Study

EXPLORED = "explored"


@dataclass(frozen=True)
class Ladder:
    """Rungs of a sweep.

    Attributes:
        rungs: Numbers of seeds.
        first: The first seed.
    """

    rungs: tuple[int, ...]
    first: int

    def seeds(self, place: int) -> range:
        """Return the seeds of a rung, by its place from 0."""
        return range(self.first, self.first + self.rungs[place])

    def reached(self, families: Sequence[Family]) -> int:
        """Return the highest rung at which a contrast has been judged; 0: none."""
        standings = [found.standing for family in families for found in family.judged if found.standing]
        looks = [look.estimate for standing in standings for look in standing.course.looks]
        return max((look.readers for look in looks if not look.readerless), default=0)

    def climbed(self, arms: Sequence[Arm]) -> int:
        """Count the rungs that all of these arms have reached; where seeds share a reader, none."""
        trained = [arm for arm in arms if arm.readers != [NO_READER]]
        for place in range(len(self.rungs)):
            for arm in trained:
                found = [run for run in arm.runs if run.row["seed"] in self.seeds(place)]
                whole = {run.row["seed"] for run in found} == set(self.seeds(place))
                if not whole or len({run.reader for run in found}) < self.rungs[place]:
                    return place
        return len(self.rungs)

    def at(self, place: int, arms: Sequence[Arm]) -> list[Arm]:
        """Return arms with the runs of a rung alone."""
        seeds = self.seeds(place)
        return [
            replace(
                arm,
                runs=tuple(run for run in arm.runs if run.reader == NO_READER or run.row["seed"] in seeds),
            )
            for arm in arms
        ]


def ladder_of(study: Study, arms: Sequence[Arm]) -> tuple[Ladder | None, list[str]]:
    """Return the rungs that the runs of some arms were trained for, and remarks; `None` if there are none.

    Of several ladders that of the oldest run counts: rungs that are changed after a look are not planned.
    """
    runs = sorted(
        (run for arm in arms for run in arm.runs), key=lambda run: str(run.record.get("began") or "")
    )
    given = [tuple(run.record.get("rungs") or ()) for run in runs]
    counts = Counter(given)
    declared = [rungs for rungs in counts if rungs]
    if not declared:
        return None, []
    remarks = []
    if len(declared) > 1:
        each = ", ".join(f"{counts[rungs]} runs of {list(rungs)}" for rungs in declared)
        remarks.append(f"the rungs were changed: {each}; the first ones count")
    if counts[()]:
        remarks.append(
            f"{counts[()]} of {len(runs)} runs were trained before rungs were declared: if they were looked "
            "at, that look is not counted"
        )
    return Ladder(check_rungs(list(declared[0])), int(study.runs["seed"].min())), remarks


def judged_families(
    folder: Path,
    arms: Sequence[Arm],
    computed: Cells,
    asked: Families,
    ladder: Ladder,
    margin: float,
    apart: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Family, ...]:
    """Judge families of contrasts at the rungs that they have reached.

    Args:
        folder: The sweep's folder.
        arms: Its arms.
        computed: Values of the AUROC of all their runs.
        asked: Families of contrasts.
        ladder: The rungs.
        margin: Largest difference that counts as equivalent.
        apart: Label of an arm -> its readers that stand apart.
    """
    by_label = {arm.label: arm for arm in arms}
    found = []
    for name, contrasts in asked.items():
        known = [estimated(computed, contrast) for contrast in contrasts]
        courses = []
        for contrast in known:
            own = [by_label[label] for label in contrast.weights]
            reached = ladder.climbed(own) if contrast.estimate is not None else 0
            estimates = [
                _estimate(folder, contrast, own, computed, ladder, place) for place in range(reached)
            ]
            courses.append(climb(estimates, ladder.rungs, margin))
        family = judge_climbed(name, known, courses, margin, ALPHA, apart or {})
        found.append(replace(family, judged=tuple(_with_reason(one, computed) for one in family.judged)))
    return tuple(found)


def _with_reason(found: Judged, computed: Cells) -> Judged:
    """Return a pair of the AUROC on test images with the reason for which nothing varies it, if so."""
    pair, verdict = found.contrast.pair, found.verdict
    if pair is None or verdict is None or verdict.reason != "no variance" or not found.contrast.is_main:
        return found
    return replace(found, verdict=replace(verdict, reason=why_the_same(computed, *pair)))


def _estimate(
    folder: Path, contrast: Contrast, arms: Sequence[Arm], computed: Cells, ladder: Ladder, place: int
) -> Estimate:
    """Return the estimate of a contrast from the runs of a rung alone."""
    there = ladder.at(place, arms)
    if contrast.is_main:
        return computed.of({reader for arm in there for reader in arm.readers}).contrast(contrast.weights)
    on = tuple(contrast.data.split(" - ")) if contrast.data else (TEST,)
    asked = Declared((), contrast.metric.replace(" ", "_") or "auroc", on)
    return estimated_contrast(folder, asked, contrast.weights, there)


def with_rungs(
    folder: Path, arms: Sequence[Arm], comparison: Comparison, asked: Families, ladder: Ladder
) -> Comparison:
    """Return a comparison whose pairs and planned contrasts are judged at the rungs that they have reached.

    All pairs that are not planned are one explored family. A pair that has reached no rung keeps its
    estimate, and is undecided.
    """
    margin, computed = comparison.margin, comparison.computed
    families = judged_families(folder, arms, computed, asked, ladder, margin, comparison.apart)
    planned, pairs = planned_pairs(families), comparison.analysis.pairs
    others = [
        Contrast(" - ".join(pair), {pair[0]: 1.0, pair[1]: -1.0})
        for pair in pairs
        if frozenset(pair) not in planned
    ]
    explored = judged_families(folder, arms, computed, {EXPLORED: others}, ladder, margin, comparison.apart)
    judged: dict[Pair, Verdict] = {}
    estimates: dict[Pair, Estimate] = {}
    for found in (found for family in (*families, *explored) for found in family.judged):
        own, verdict, estimate = found.contrast.pair, found.verdict, found.contrast.estimate
        if own is None or verdict is None or estimate is None or not found.contrast.is_main:
            continue
        pair, estimate = (own, estimate) if own in pairs else ((own[1], own[0]), estimate.reversed())
        judged[pair], estimates[pair] = verdict, estimate
    return replace(
        comparison,
        analysis=replace(comparison.analysis, pairs={pair: estimates[pair] for pair in pairs}),
        verdicts={pair: judged[pair] for pair in pairs},
        families=families,
    )
