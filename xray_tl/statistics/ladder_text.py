"""Sentences on contrasts whose readers come in rungs, as the terminal and the report print them."""

from __future__ import annotations

from collections.abc import Sequence

from xray_tl.statistics.ladder_verdict import Standing
from xray_tl.statistics.wording import Terms, difference_text, share


def standing_text(standing: Standing, terms: Terms) -> str:
    """Return sentences on the rung at which a contrast was decided, or on what it waits for.

    Args:
        standing: Where it stands.
        terms: Words of the study, with the contrast's own metric.
    """
    course = standing.course
    many, last = f"{terms.reader}s", course.rungs[-1]
    if not course.looks:
        return f"No rung is reached: the first has {course.rungs[0]} {many}."
    now = course.looks[-1].estimate
    if now.se == 0 and standing.decided_at is None:  # the verdict's reason says why nothing varies it
        return "" if now.readerless else f"Stopped at {now.readers} {many}."
    if now.readerless:
        return "" if standing.decided_at is not None else f"{_cases_text(standing, terms)}."
    looked = f"{len(course.looks)} of {len(course.rungs)} planned looks"
    if standing.decided_at is None:
        if standing.goes_on:
            return f"{now.readers} {many}, {looked}: {course.rungs[len(course.looks)]} come next."
        if course.at_top:
            asks = f" {_cases_text(standing, terms)}." if standing.cases is not None else ""
            return f"{now.readers} of {last} {many}, all planned looks taken.{asks}"
        held = f"{terms.case}s hold {share(now)} of the variance"
        why = f"{last} would hardly decide it ({held})"
        return f"Stopped at {now.readers} {many}: {why}. {_cases_text(standing, terms)}."
    place = course.rungs.index(standing.decided_at)
    said = f"Decided at {standing.decided_at} {many}, after {place + 1} of {len(course.rungs)} planned looks."
    if not standing.contradicted or standing.by is None:
        return said
    then = standing.by.estimate
    return (
        f"{said} The verdict stands, but the interval of {now.readers} {many} speaks against it: "
        f"{difference_text(now, terms)}, after {difference_text(then, terms)} of {then.readers} {many}."
    )


def _cases_text(standing: Standing, terms: Terms) -> str:
    if standing.cases is None:
        return f"Nor would 16 times the {terms.case}s"
    return f"In a new study {standing.cases} {terms.case}s probably would"


def short_text(standing: Standing) -> str:
    """Return where a contrast stands in a few words for a table; empty where no reader varies it."""
    course = standing.course
    if not course.looks or course.looks[-1].estimate.readerless:
        return ""
    if standing.decided_at is not None:
        against = ", a later interval speaks against it" if standing.contradicted else ""
        return f"at {standing.decided_at} of {course.rungs[-1]}{against}"
    if course.looks[-1].estimate.se == 0:
        return "stopped: nothing varies it"
    if standing.goes_on:
        return f"goes on to {course.rungs[len(course.looks)]}"
    return "all looks taken" if course.at_top else "stopped: hardly to be decided"


def rungs_text(rungs: Sequence[int], reached: int, shown: int, terms: Terms) -> str:
    """Return a sentence on the rungs of a study, the one that it has reached, and readers beyond it.

    Args:
        rungs: Numbers of readers.
        reached: The highest rung that is reached; 0: none.
        shown: Largest number of readers that a contrast has.
        terms: Words of the study.
    """
    *others, last = map(str, rungs)
    listed = f"{', '.join(others)} and {last}" if others else last
    many = f"{terms.reader}s"
    if not reached:
        return f"Looks are planned at {listed} {many}; none is reached."
    place = list(rungs).index(reached) + 1
    beyond = f"; {shown} are shown, and judged at {reached}" if shown > reached else ""
    return f"Looks are planned at {listed} {many}: this is look {place}, at {reached}{beyond}."
