"""Verdicts on contrasts whose readers come in rungs: Holm's method on sequential p values, at every rung.

A sequential p value never rises, and of two verdicts the first stands: what was shown to be equivalent stays
so, though a later rung may tell a difference within the margin from 0. So a verdict is never taken back.
Contrasts that go on no more stay in their family's count with the p value that they have (group-sequential
Holm: Ye, Li, Liu & Yao 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xray_tl.statistics.apart import ENOUGH
from xray_tl.statistics.families import Contrast, Family, Judged, family_of
from xray_tl.statistics.ladder import LEAST_CHANCE, Course, Look, cases_that_decide, chance
from xray_tl.statistics.verdict import Reason, Verdict, holm


@dataclass(frozen=True)
class Standing:
    """Where a contrast stands on its rungs.

    Attributes:
        course: Its looks.
        decided_at: The rung at which it was decided first; `None`: it is undecided.
        by: The look on which the verdict rests; where others of its family were told first, an earlier one.
        contradicted: Whether the repeated interval of its last look excludes what was decided.
        chance: Chance that the last rung decides it, if it is undecided; NaN before the first look.
        cases: Number of cases with which the last rung probably would, where the present ones hardly can.
    """

    course: Course
    decided_at: int | None = None
    by: Look | None = None
    contradicted: bool = False
    chance: float = float("nan")
    cases: int | None = None

    @property
    def futile(self) -> bool:
        """Tell whether the rungs to come would hardly decide it."""
        return self.chance < LEAST_CHANCE

    @property
    def goes_on(self) -> bool:
        """Tell whether it is undecided, and may be decided at a rung to come."""
        return self.decided_at is None and not self.course.at_top and not self.futile

    def as_json(self) -> dict[str, Any]:
        """Return rungs and looks as JSON values."""
        looks = self.course.looks
        return {
            "rungs": list(self.course.rungs),
            "interval": "repeated" if looks else "plain",
            "decided_at": self.decided_at,
            "contradicted": self.contradicted,
            "chance_at_last_rung": None if self.chance != self.chance else self.chance,
            "cases_that_decide": self.cases,
            "looks": [
                {
                    "readers": look.estimate.readers,
                    "value": look.estimate.value,
                    "lower": look.estimate.lower,
                    "upper": look.estimate.upper,
                    "information": look.information,
                    "level": look.level,
                    "p": look.estimate.p,
                    "p_sequential": look.p,
                    "p_equivalent_sequential": look.p_equivalent,
                }
                for look in looks
            ],
        }


def judge_climbed(
    name: str,
    contrasts: Sequence[Contrast],
    courses: Sequence[Course],
    margin: float,
    alpha: float,
    apart: Mapping[str, tuple[str, ...]],
) -> Family:
    """Judge the contrasts of a family at the rungs that they have reached.

    Args:
        name: Name of the family.
        contrasts: Its contrasts; what has no estimate counts all the same.
        courses: Their looks.
        margin: Largest difference that counts as equivalent.
        alpha: Error rate of the family.
        apart: Treatment -> its readers that stand apart.
    """
    told: list[Look | None] = [None] * len(contrasts)
    first: list[int | None] = [None] * len(contrasts)
    steps = max((len(course.looks) for course in courses), default=0)
    for step in range(1, steps + 1):
        so_far = [course.up_to(step) for course in courses]
        for place, (course, p) in enumerate(zip(so_far, holm([own.p for own in so_far]), strict=True)):
            if first[place] is not None or min(p, course.p_equivalent) > alpha:
                continue
            first[place] = course.rungs[len(course.looks) - 1]
            if p <= alpha:
                told[place] = min(course.looks, key=lambda look: look.p)
    adjusted = holm([course.p for course in courses])
    open_ = sum(p > alpha for p in adjusted)
    judged = []
    for place, (contrast, course, p) in enumerate(zip(contrasts, courses, adjusted, strict=True)):
        if contrast.estimate is None:
            judged.append(Judged(contrast, None))
            continue
        shown = replace(contrast, estimate=course.looks[-1].estimate) if course.looks else contrast
        verdict, by = _verdict(shown, course, p, told[place], alpha)
        if shown.estimate is not None and shown.estimate.readers < ENOUGH:
            own = {treatment: apart[treatment] for treatment in contrast.weights if treatment in apart}
            verdict = replace(verdict, apart=own)
        standing = Standing(course, first[place], by, _contradicted(course, verdict, by, margin))
        if verdict.kind == "undecided" and course.looks:
            likely = chance(course, margin, alpha, open_)
            cases = None if likely >= LEAST_CHANCE else cases_that_decide(course, margin, alpha, open_)
            standing = replace(standing, chance=likely, cases=cases)
        judged.append(Judged(shown, verdict, standing))
    return family_of(name, judged)


def _verdict(
    contrast: Contrast, course: Course, p: float, told: Look | None, alpha: float
) -> tuple[Verdict, Look | None]:
    """Return the verdict, and the look on which it rests; `told`: that which told the contrast from 0."""
    same = course.p_equivalent
    if told is not None:
        above = told.estimate.value > 0
        if contrast.pair is None:
            return Verdict("differs", None, p, same), told
        return Verdict("better", contrast.pair[above != contrast.higher_is_better], p, same), told
    if same <= alpha:
        by = next(look for look in course.looks if look.p_equivalent <= alpha)
        return Verdict("equivalent", None, p, same), by
    reason: Reason = "few readers"
    if course.looks:
        reason = "no variance" if course.looks[-1].estimate.se == 0 else ""
        if course.p <= alpha:
            reason = "many pairs"
    return Verdict("undecided", None, p, same, None, reason), None


def _contradicted(course: Course, verdict: Verdict, by: Look | None, margin: float) -> bool:
    if by is None:
        return False
    last = course.looks[-1].estimate
    if verdict.kind == "equivalent":
        return last.lower > margin or last.upper < -margin
    return last.upper < 0 if by.estimate.value > 0 else last.lower > 0
