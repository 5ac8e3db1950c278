"""Sentences on planned contrasts, as the terminal and the report print them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xray_tl.statistics.best_text import best_clauses, worth_saying
from xray_tl.statistics.families import Contrast, Family, Judged
from xray_tl.statistics.ladder_text import standing_text
from xray_tl.statistics.verdict import MARGIN
from xray_tl.statistics.wording import (
    Terms,
    asks_text,
    but_apart_text,
    difference_text,
    lead_texts,
    p_text,
    reason_text,
    small_text,
    verdict_text,
)

MOST_SAID = 3
"""Largest number of undecided contrasts, or questions, that a sentence names; more are counted."""


MOST_SPANS = 2
"""Largest number of questions that are answered with intervals; the table has those of more."""


def terms_of(contrast: Contrast, terms: Terms) -> Terms:
    """Return the terms with the metric and the images of a contrast: `sensitivity on low_dose`."""
    metric = contrast.metric or terms.metric
    if contrast.of_two_sets:
        metric = f"{metric} ({contrast.data.replace(' - ', ' minus ')})"
    elif contrast.data:
        metric = f"{metric} on {contrast.data}"
    return replace(terms, metric=metric, higher_is_better=contrast.higher_is_better)


def called(contrast: Contrast, terms: Terms) -> str:
    """Return what a sentence calls a contrast: `a against b`, with metric and images if they are other."""
    own = terms_of(contrast, terms)
    of = "" if own.metric == terms.metric else f", {own.metric}"
    name = " against ".join(contrast.pair) if contrast.pair is not None else contrast.name
    return f"{name}{of}"


def judged_text(found: Judged, terms: Terms, margin: float = MARGIN) -> str:
    """Return a few sentences on a planned contrast."""
    contrast, verdict = found.contrast, found.verdict
    if contrast.estimate is None or verdict is None:
        return f"{contrast.name}: planned, without a result: {contrast.missing}."
    own, estimate = _named(found, terms), contrast.estimate
    if contrast.pair is not None:
        first, second = contrast.pair
        text = verdict_text((first, second), estimate, verdict, own, margin)
    else:
        text = f"{contrast.name}: {difference_text(estimate, own)}, {verdict_words(found, terms, margin)}."
        text = f"{text} {asks_text(estimate, verdict, terms)}".strip()
    if found.left_open_by:
        return f"{text} It may stay so: {beaten_text(found.left_open_by)}, and the question is which is best."
    if found.standing is None:
        return text
    text = f"{text} {standing_text(found.standing, own)}".strip()
    if verdict.kind == "equivalent" and verdict.p <= 1 - terms.level:
        text += f" A later rung tells the difference from 0 too ({p_text(verdict.p)}), within the margin."
    return text


def beaten_text(names: Sequence[str]) -> str:
    """Return that some treatments are beaten."""
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} beaten"


def _named(found: Judged, terms: Terms) -> Terms:
    """Return the terms of a judged contrast: its interval may be a repeated one."""
    own = terms_of(found.contrast, terms)
    looks = found.standing.course.looks if found.standing else ()
    return replace(own, repeated=any(not look.estimate.readerless for look in looks))


def _against(found: Judged, terms: Terms) -> str:
    """Return the end of a clause if a later rung speaks against what was told; else empty."""
    if found.standing is None or not found.standing.contradicted:
        return ""
    last = found.standing.course.looks[-1].estimate
    return f", decided at {found.standing.decided_at} {terms.reader}s, but {last.readers} speak against it"


def _side(found: Judged) -> str:
    """Return the side of 0 on which a contrast was told, by the look on which its verdict rests."""
    by = found.standing.by if found.standing else None
    estimate = by.estimate if by is not None else found.contrast.estimate
    assert estimate is not None
    return "above 0" if estimate.value > 0 else "below 0"


def verdict_words(found: Judged, terms: Terms, margin: float = MARGIN) -> str:
    """Return the verdict on a planned contrast that is no pair, in a few words; empty if it has none."""
    verdict, estimate = found.verdict, found.contrast.estimate
    if verdict is None or estimate is None:
        return ""
    apart = but_apart_text(verdict.apart, terms)
    if verdict.kind == "differs":
        return f"{_side(found)} ({p_text(verdict.p)}){apart}"
    if verdict.kind == "equivalent":
        return f"0 within {margin:g} ({p_text(verdict.p_equivalent)} for a larger one){apart}"
    reason = reason_text(estimate, verdict, terms)
    return f"undecided ({reason})" if reason else "undecided"


def answers(families: tuple[Family, ...], terms: Terms) -> list[str]:
    """Return a sentence for each question with an answer, and one each for the open and the empty ones."""
    if len(families) == 1:
        return [_answer(families[0], terms)]
    brief = len(families) > MOST_SPANS
    said = [_answer(family, terms, brief=brief) for family in families if family.decided]
    empty = [family.name for family in families if not any(found.verdict for found in family.judged)]
    open_ = [family.name for family in families if not family.decided and family.name not in empty]
    for names, what in ((open_, "undecided"), (empty, "without a result")):
        if names:
            count = "All" if len(names) == len(families) else str(len(names))
            more = len(names) - MOST_SAID
            listed = ", ".join(map(_title, names[:MOST_SAID])) + (f" and {more} more" if more > 0 else "")
            said.append(f"{count} of {len(families)} questions {what}: {listed}.")
    return said


def _title(name: str) -> str:
    return name.replace("_", " ")


def _answer(family: Family, terms: Terms, *, brief: bool = False) -> str:
    many, (said, more) = len(family.judged), worth_saying(family)
    of = terms_of(family.judged[0].contrast, terms).metric
    clauses = best_clauses(family, "" if of == terms.metric else of)
    clauses += [f"{_clause(found, terms, brief)}{_against(found, terms)}" for found in said]
    if more:
        clauses.append(f"{more} more verdict{'s' * (more > 1)}")
    open_ = [found.contrast for found in family.judged if found.is_open]
    if 0 < len(open_) <= MOST_SAID and not clauses:
        clauses.append("undecided: " + "; ".join(called(contrast, terms) for contrast in open_))
    elif open_:
        clauses.append(f"undecided for {len(open_)} of {many} contrasts")
    if left := sum(bool(found.left_open_by) for found in family.judged):
        clauses.append(f"{left} of {many} need not be decided")
    missing = sum(found.verdict is None for found in family.judged)
    if missing:
        clauses.append(f"no result for {missing} of {many}")
    title = _title(family.name)
    return f"{title[:1].upper()}{title[1:]}: {'; '.join(clauses)}."


def _clause(found: Judged, terms: Terms, brief: bool) -> str:
    contrast, verdict = found.contrast, found.verdict
    estimate, own = contrast.estimate, _named(found, terms)
    assert estimate is not None
    assert verdict is not None
    apart = but_apart_text(verdict.apart, terms).replace(";", ",")
    of = f"{own.metric} " if own.metric != terms.metric else ""
    if contrast.pair is None:
        value = f"{contrast.name}, {own.metric} {estimate.value:+.{terms.digits}f}"
        if not brief:
            value = f"{contrast.name}, {difference_text(estimate, own)}"
        return f"{value}, is {_side(found) if verdict.kind == 'differs' else 'as good as 0'}{apart}"
    if verdict.kind == "equivalent":
        return f"{' and '.join(contrast.pair)} are equivalent{f' in {of.strip()}' if of else ''}{apart}"
    first, second = contrast.pair
    size, span = lead_texts(contrast.pair, estimate, verdict, own)
    span = "" if brief else f" ({own.interval} {span})"
    other = second if verdict.better == first else first
    return f"{verdict.better} is better than {other}, {of}by {size}{span}{small_text(verdict, terms)}{apart}"
