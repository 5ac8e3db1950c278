"""Tables of the declared questions, as the page shows them and as CSV; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from xray_tl.report.tables import judged_cells, judged_head, judged_row
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.families import Contrast, Family, Judged
from xray_tl.statistics.family_text import beaten_text, terms_of
from xray_tl.statistics.ladder_text import short_text
from xray_tl.statistics.ladder_verdict import Standing
from xray_tl.statistics.wording import Terms, difference_text
from xray_tl.study.analysis import StudyAnalysis

VERDICTS = {"differs": "not 0", "equivalent": "equivalent", "undecided": "undecided"}


def planned_table(done: StudyAnalysis) -> pd.DataFrame:
    """Return one row per planned contrast with unrounded numbers."""
    rows = []
    for family, found in _all(done):
        contrast, verdict, estimate = found.contrast, found.verdict, found.contrast.estimate
        row: dict[str, Any] = {
            "question": family.name,
            "contrast": contrast.name,
            "metric": terms_of(contrast, done.terms).metric,
            "missing": contrast.missing,
        }
        if estimate is not None and verdict is not None:
            row |= judged_row(estimate, verdict)
            row |= {key: _cell(value) for key, value in family.ranked(found).items()}
            row |= _climbed(found.standing) | {"goes_on": found.goes_on} if found.standing else {}
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(value: list[str] | bool) -> str | bool:
    return "; ".join(value) if isinstance(value, list) else value


def _climbed(standing: Standing) -> dict[str, Any]:
    """Return the unrounded numbers of a contrast's looks."""
    return {
        "rungs": " ".join(map(str, standing.course.rungs)),
        "looks": len(standing.course.looks),
        "p_sequential": standing.course.p,
        "decided_at": standing.decided_at,
        "contradicted": standing.contradicted,
        "images_that_decide": standing.cases,
    }


def shown_planned(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of planned contrasts as the page shows it."""
    head = ["contrast", "question", "metric", *judged_head(done.judged_terms), "verdict"]
    return head, [_row(done.terms, family, found) for family, found in _all(done)]


def _row(terms: Terms, family: Family, found: Judged) -> list[str]:
    contrast, verdict, estimate = found.contrast, found.verdict, found.contrast.estimate
    first = [contrast.name, family.name.replace("_", " "), terms_of(contrast, terms).metric]
    if estimate is None or verdict is None:
        return [*first, *[""] * len(judged_head(terms)), contrast.missing]
    said = f"{verdict.better} is better" if verdict.kind == "better" else VERDICTS[verdict.kind]
    if verdict.kind != "undecided" and verdict.apart:
        said += f", but {terms.reader}s stand apart"
    where = short_text(found.standing) if found.standing else ""
    if found.left_open_by:
        where = beaten_text(found.left_open_by)
    if where:
        said += f" ({where})"
    return [*first, *judged_cells(estimate, verdict), said]


def intervals(done: StudyAnalysis) -> dict[str, tuple[Estimate, bool]]:
    """Return estimates of planned contrasts by name, and whether each is decided, for a figure."""
    found = {}
    for _, judged in _all(done):
        contrast, verdict = judged.contrast, judged.verdict
        if contrast.estimate is not None and verdict is not None:
            of = "" if contrast.is_main else f", {terms_of(contrast, done.terms).metric}"
            found[f"{contrast.name}{of}"] = contrast.estimate, verdict.kind != "undecided"
    return found


def shown_late(done: StudyAnalysis) -> list[str]:
    """Return a sentence for each contrast that was declared after runs of its arms: without a verdict."""
    return [_late(contrast, done.terms) for late in done.late for contrast in late.contrasts]


def _late(contrast: Contrast, terms: Terms) -> str:
    if contrast.estimate is None:
        return f"{contrast.name}: {contrast.missing}"
    return f"{contrast.name}: {difference_text(contrast.estimate, terms_of(contrast, terms))}"


def _all(done: StudyAnalysis) -> Iterator[tuple[Family, Judged]]:
    for family in done.comparison.families:
        for found in family.judged:
            yield family, found
