"""Text of a comparison for the terminal: tables, verdicts, and to whom they generalise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from xray_tl.statistics.apart import ENOUGH
from xray_tl.statistics.comparison import Comparison
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.family_text import answers, judged_text
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.verdict import Pair, Verdict
from xray_tl.statistics.wording import (
    Terms,
    apart_text,
    few_text,
    interval_text,
    invites_look,
    marked,
    next_cases_text,
    p_text,
    second_look_text,
    share,
    verdict_text,
)

HILLIS = (
    "CI, p, Holm's p and verdict are guarded (Behrens-Fisher). What is marked Hillis is as in published "
    "tables, and judges nothing."
)


def format_comparison(done: Comparison, terms: Terms) -> str:
    """Format a comparison for a terminal."""
    study = done.readings
    lines = [
        f"{len(study.treatments)} treatments, {len(study.draws)} {terms.reader}s{_grouped(study)}, "
        f"{study.cases} {terms.case}s{_of_whom(study)}",
        "",
        _arms(done, terms),
        "",
    ]
    if done.families:
        lines += ["Planned, p adjusted within each question:", _planned(done, terms), ""]
        ranked = tuple(family for family in done.families if family.asked_best)
        lines += [*(answers((family,), terms)[0] for family in ranked), ""] if ranked else []
        for family in done.families:
            lines += [f"{family.name}: {judged_text(found, terms, done.margin)}" for found in family.judged]
        lines.append("")
    if done.analysis.pairs:
        explored = [pair for pair in done.analysis.pairs if pair not in done.questions]
        if explored:
            lines += ["Explored, p adjusted over all of these:"] if done.families else []
            lines += [_pairs(done, explored, terms), ""]
        if any(estimate.random_readers for estimate in done.analysis.pairs.values()):
            lines += [HILLIS, ""]
        lines += [
            verdict_text(pair, done.analysis.pairs[pair], done.verdicts[pair], terms, done.margin)
            for pair in explored
        ]
        planned = [found.verdict for family in done.families for found in family.judged if found.verdict]
        if any(invites_look(verdict, terms) for verdict in (*done.verdicts.values(), *planned)):
            lines.append(second_look_text(terms))
        if following := done.next_cases:
            lines.append(next_cases_text(following, terms))
        lines += _holds_for(done.scopes(terms))
    return "\n".join([*lines, *_notes(done, terms)])


def _arms(done: Comparison, terms: Terms) -> str:
    rows = [
        {"treatment": name, **_columns(done, (name,), estimate, terms, "")}
        for name, estimate in done.analysis.arms.items()
    ]
    return pd.DataFrame(rows).to_string(index=False)


def _pairs(done: Comparison, pairs: Sequence[Pair], terms: Terms) -> str:
    rows = []
    for pair in pairs:
        estimate = done.analysis.pairs[pair]
        row = {"difference": " - ".join(pair), **_columns(done, pair, estimate, terms, "+")}
        rows.append(row | _judged(estimate, done.verdicts[pair]))
    return pd.DataFrame(rows).to_string(index=False)


def _planned(done: Comparison, terms: Terms) -> str:
    rows = []
    for family in done.families:
        for found in family.judged:
            estimate, verdict = found.contrast.estimate, found.verdict
            if estimate is not None and verdict is not None:
                row = {"question": family.name, "contrast": found.contrast.name}
                rows.append(row | _columns(done, (), estimate, terms, "+") | _judged(estimate, verdict))
    return pd.DataFrame(rows).to_string(index=False) if rows else "none of them has a result"


def _judged(estimate: Estimate, verdict: Verdict) -> dict[str, str | int]:
    return {
        "p": _number(estimate.p),
        "Holm": _number(verdict.p),
        "p (Hillis)": _number(estimate.hillis.p),
        "verdict": verdict.kind,
    }


def _columns(
    done: Comparison, contrast: tuple[str, ...], estimate: Estimate, terms: Terms, sign: str
) -> dict[str, str | int]:
    """Return one row's columns, the same for arms and differences; with the bootstrap's interval, if any."""
    found = done.resampled.get(contrast)
    other = {} if found is None else {"bootstrap": marked(interval_text(*found, terms.digits), estimate)}
    return {
        "n": estimate.readers,
        terms.metric: f"{estimate.value:{sign}.{terms.digits}f}",
        "SE": f"{estimate.se:.4f}",
        terms.interval: marked(interval_text(estimate.lower, estimate.upper, terms.digits), estimate),
        **other,
        f"{terms.case}s' share": share(estimate),
        "df (Hillis)": "inf" if math.isinf(estimate.hillis.df) else f"{estimate.hillis.df:.1f}",
    }


def _number(p: float) -> str:
    """Format a p value for a column that is headed by p."""
    return p_text(p).removeprefix("p = ").removeprefix("p ")


def _notes(done: Comparison, terms: Terms) -> list[str]:
    """Return the notes that a reader needs to understand the intervals."""
    found = (*done.analysis.arms.values(), *done.analysis.pairs.values())
    lines = list(done.notes)
    lines += [
        f"{said[0].upper()}{said[1:]}: verdicts of fewer than {ENOUGH} {terms.reader}s can mislead."
        for said in (apart_text(name, readers, terms) for name, readers in done.apart.items())
    ]
    if any(estimate.se == 0 and estimate.judged_by == "guarded" for estimate in found):
        lines.append(
            f"Where SE is 0, neither {terms.reader}s nor {terms.case}s vary: such an interval is none."
        )
    if done.few_readers:
        lines.append(few_text(terms))
    if any(estimate.judged_by != "guarded" for estimate in found):
        lines.append(f"With one {terms.reader} an interval is Wilson's, and p McNemar's of a difference.")
    return lines


def _holds_for(scopes: dict[Pair, str]) -> list[str]:
    """Return text on what the differences generalise to: one line if it is the same for all."""
    if len(set(scopes.values())) == 1:
        return [f"Holds for {next(iter(scopes.values()))}."]
    return [f"{first} - {second} holds for {scope}." for (first, second), scope in scopes.items()]


def _grouped(study: Readings) -> str:
    return "" if study.group is None else f" of {len(study.readers)} readers in all"


def _of_whom(study: Readings) -> str:
    """Return text on the number of patients, of positive cases, and of targets or folds."""
    of = f" of {study.patients} patients" if study.patients < study.cases else ""
    if len(study.strata) == 1:
        return f"{of} ({int(study.truth.sum())} positive)"
    return f"{of}, in {len(study.strata)} targets or folds that are averaged"
