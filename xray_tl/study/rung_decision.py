"""What a sweep's folder decides at the rungs that it has reached, and which arms go on to the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xray_tl.config.rungs import check_rungs
from xray_tl.errors import InputError
from xray_tl.statistics.families import Family, Judged
from xray_tl.statistics.family_text import answers, judged_text
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.verdict import MARGIN
from xray_tl.statistics.wording import Terms
from xray_tl.study.arm_readings import readings
from xray_tl.study.climbed import Ladder, judged_families
from xray_tl.study.questions import questions
from xray_tl.study.study_folder import Arm, Study


@dataclass(frozen=True)
class RungDecision:
    """What a sweep's folder decides, and what comes next.

    Attributes:
        ladder: Its rungs.
        families: Planned contrasts, judged by question; each says where it stands.
        needs: Hash of an arm (`arm_hash` of its records) -> number of seeds that it is to have, from the
            first on; of an arm that stops, that of the rung it has reached.
        reached: The highest rung that a planned contrast has been judged at; 0: none.
        lines: A few sentences on each planned contrast; before them, where that is asked, which is best.
    """

    ladder: Ladder
    families: tuple[Family, ...]
    needs: Mapping[str, int]
    reached: int
    lines: tuple[str, ...]

    @property
    def judged(self) -> list[tuple[str, Judged]]:
        """Return the planned contrasts with their questions."""
        return [(family.name, found) for family in self.families for found in family.judged]

    @property
    def open(self) -> list[tuple[str, Judged]]:
        """Return the contrasts that go on to a next rung."""
        return [(name, found) for name, found in self.judged if found.goes_on]

    def seeds_for(self, arm_hash: str) -> range:
        """Return the seeds that an arm is to have; of one without any run, those of the first rung."""
        count = self.needs.get(arm_hash, self.ladder.rungs[0])
        return range(self.ladder.first, self.ladder.first + count)


def decide(
    folder: Path, rungs: Sequence[int], margin: float = MARGIN, first: int | None = None
) -> RungDecision:
    """Judge the planned contrasts of a sweep at the rungs that they have reached, from its folder alone.

    Args:
        folder: The sweep's folder.
        rungs: Numbers of seeds.
        margin: Largest difference that counts as equivalent.
        first: The first seed; by default the lowest of the folder.

    Raises:
        InputError: The rungs cannot be climbed; there is no run that can be analysed, or no planned contrast.
    """
    valid = check_rungs(list(rungs))
    study = Study.load(folder)
    if not study.arms:
        raise InputError(f"{folder} has no run that can be analysed: {'; '.join(study.problems)}")
    arms = study.on(study.test_sets[0])
    asked = questions(folder, arms)
    if not asked.planned:
        raise InputError(f"{folder} has no planned contrast to decide: declare questions (planned)")
    ladder = Ladder(valid, int(study.runs["seed"].min()) if first is None else first)
    families = judged_families(folder, arms, cells(readings(arms)), asked.planned, ladder, margin)
    reached = ladder.reached(families)
    terms = Terms(study.varied.reader, "image")
    lines = tuple(
        line
        for family in families
        for line in (
            *(answers((family,), terms) if family.asked_best else ()),
            *(judged_text(found, terms, margin) for found in family.judged),
        )
    )
    return RungDecision(ladder, families, _needs(arms, families, ladder), reached, lines)


def _needs(arms: Sequence[Arm], families: Sequence[Family], ladder: Ladder) -> dict[str, int]:
    """Return how many seeds each arm is to have, by its hash."""
    needs = {arm.label: ladder.rungs[0] for arm in arms}
    for found in (found for family in families for found in family.judged if found.standing):
        assert found.standing is not None
        reached = len(found.standing.course.looks)
        wanted = ladder.rungs[min(reached, len(ladder.rungs) - 1)] if found.goes_on else 0
        if reached and not wanted:
            wanted = ladder.rungs[reached - 1]
        for label in found.contrast.weights:
            needs[label] = max(needs[label], wanted)
    return {str(arm.runs[0].row["arm_hash"]): needs[arm.label] for arm in arms}
