"""The result of a report in three sentences, the scope in which it holds, and verdicts in words; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from xray_tl.report import tables
from xray_tl.statistics.families import Judged, sought
from xray_tl.statistics.family_text import answers, called, verdict_words
from xray_tl.statistics.ladder_text import rungs_text, standing_text
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.verdict import Pair
from xray_tl.statistics.wording import (
    Terms,
    asks_text,
    but_apart_text,
    interval_text,
    invites_look,
    reason_text,
    scope_text,
    second_look_text,
    verdict_text,
    with_few,
)
from xray_tl.study.analysis import StudyAnalysis
from xray_tl.study.scope import fixed_for, generalises_to

MOST_NAMED = 3
"""Largest number of arms that a sentence names; more are only counted."""


def sentences(done: StudyAnalysis) -> list[str]:
    """Return three sentences: the answer, the ceiling, and what is open with the scope of the result.

    The first answers the planned questions, one by one, or tells how the best arm stands if there are none.
    """
    families = done.comparison.families
    first = " ".join(answers(families, done.terms)) if families else _best(done)
    if done.ladder is not None:
        first = f"{first} {looks(done)}"
    second = _against_ceiling(done)
    return [first, second, " ".join([*_open_question(done), f"This holds for {scope(done)}."])]


def _best(done: StudyAnalysis) -> str:
    best = done.arms[0]
    estimate = done.comparison.analysis.arms[best.label]
    span = with_few(interval_text(estimate.lower, estimate.upper), estimate, done.terms)
    if len(done.arms) == 1:
        return f"{best.label} has a {metric(done)} of {estimate.value:.3f} (95 % CI {span})."
    beaten: list[str] = []
    open_: list[str] = []
    lost: list[str] = []
    same: list[str] = []
    apart: dict[str, tuple[str, ...]] = {}
    for pair, verdict in done.comparison.verdicts.items():
        if best.label in pair:
            other = pair[0] if pair[1] == best.label else pair[1]
            kinds = {"better": beaten, "equivalent": same, "undecided": open_}
            worse = verdict.kind == "better" and verdict.better != best.label
            (lost if worse else kinds[verdict.kind]).append(other)
            apart |= verdict.apart if verdict.kind != "undecided" else {}
    standing = f"{_standing(beaten, same, open_, lost, done.terms)}{but_apart_text(apart, done.terms)}."
    return f"{best.label} has the highest {metric(done)}, {estimate.value:.3f} (95 % CI {span}): {standing}"


def _open_question(done: StudyAnalysis) -> list[str]:
    """Return what would decide the first undecided question, or pair of the best arm, if there is one."""
    families = done.comparison.families
    asked = [found for family in families for found in family.judged if found.is_open]
    if done.ladder is not None:
        return [_standing_of(found, done.terms) for found in asked][:1]
    if families:
        named = [
            (called(found.contrast, done.terms), found.contrast.estimate, found.verdict) for found in asked
        ]
    else:
        pairs = done.comparison.verdicts.items()
        estimates = done.comparison.analysis.pairs
        best = [(pair, verdict) for pair, verdict in pairs if pair[0] == done.arms[0].label]
        named = [(" and ".join(pair), estimates[pair], verdict) for pair, verdict in best]
    for name, estimate, verdict in named:
        if estimate is not None and verdict is not None and verdict.kind == "undecided":
            asks = asks_text(estimate, verdict, done.terms)
            lead = f"{name}: " if families else f"Between {name}: "
            said = [f"{lead}{asks[0].lower()}{asks[1:]}"] if asks else []
            return [*said, second_look_text(done.terms)] if invites_look(verdict, done.terms) else said
    return []


def _standing_of(found: Judged, terms: Terms) -> str:
    """Return why a contrast of a sweep with rungs is undecided, and what it waits for."""
    assert found.standing is not None
    assert found.verdict is not None
    assert found.contrast.estimate is not None
    reason = reason_text(found.contrast.estimate, found.verdict, terms)
    said = [f"{reason}." if reason else "", standing_text(found.standing, terms)]
    return f"{called(found.contrast, terms)}: {' '.join(filter(None, said))}"


def looks(done: StudyAnalysis) -> str:
    """Return a sentence on the planned looks and the present one; without a plan, on a second look."""
    if done.ladder is None:
        return second_look_text(done.terms)
    found = [arm for arm in done.arms if arm.readers != [NO_READER]]
    shown = max((len(arm.readers) for arm in found), default=0)
    return rungs_text(done.ladder.rungs, done.ladder.reached(done.comparison.families), shown, done.terms)


def _standing(beaten: list[str], same: list[str], open_: list[str], lost: list[str], terms: Terms) -> str:
    said = {"better than": beaten, "equivalent to": same, "undecided against": open_}
    parts = [f"{verb} {_named(labels)}" for verb, labels in said.items() if labels]
    if lost:
        parts.append(f"worse than {_named(lost)} on the {terms.reader}s that they share")
    if not parts:
        parts.append(f"no other arm has a {terms.reader} in common with it")
    return "; ".join(parts)


def _named(labels: list[str]) -> str:
    return ", ".join(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} other arms"


def _against_ceiling(done: StudyAnalysis) -> str:
    best = done.arms[0]
    floors = tables.mean_floors(best).items()
    floor = max(((auroc, name) for name, (auroc, _) in floors), default=None)
    below = ""
    if floor is not None:
        below = f"; {floor[1].replace('_', ' ')}, which learn no features, reach {floor[0]:.3f}"
    if done.ceiling != done.ceiling:
        return f"The best possible AUROC is not known for these images{below}."
    reached = best.mean("efficiency")
    if reached != reached:  # a ceiling at chance has no efficiency
        return f"The best possible is {done.ceiling:.3f}; no efficiency is known{below}."
    whose = ", so its observer efficiency is"
    if done.comparison.families:  # no sentence has named the best arm
        auroc = done.comparison.analysis.arms[best.label].value
        whose = f"; the highest {metric(done)}, {auroc:.3f} of {best.label}, is an observer efficiency of"
    return f"The best possible is {done.ceiling:.3f}{whose} {reached:.2f}{below}."


def metric(done: StudyAnalysis) -> str:
    """Return the name of the metric that is compared."""
    best = done.arms[0]
    over = [f"{len(best.targets)} targets"] if len(best.targets) > 1 else []
    over += [f"{best.folds} folds"] if best.folds > 1 else []
    return f"test AUROC (mean over {' and '.join(over)})" if over else "test AUROC"


def sampled(done: StudyAnalysis) -> str:
    """Return sentences on folds and on patients with several images, where a study has them."""
    study, folds = done.comparison.readings, done.arms[0].folds
    said = []
    if folds > 1:
        said.append(f"Scores are compared within each of {folds} folds alone, and the folds averaged.")
    if study.patients < study.cases:
        said.append(f"The {study.cases} images are of {study.patients} patients, whose images vary together.")
    return "".join(f"{sentence} " for sentence in said)


def scope(done: StudyAnalysis) -> str:
    """Return what the differences hold for: what was drawn anew for every reader, cases, and what was not.

    Where questions were planned, it is said of their arms.
    """
    judged = [found for family in done.comparison.families for found in family.judged if found.verdict]
    named = {label for found in judged for label in found.contrast.weights}
    arms = [arm for arm in done.arms if not named or arm.label in named]
    analysis = done.comparison.analysis
    every = [pair for pair in analysis.pairs if not named or named.issuperset(pair)]
    pairs = [analysis.pairs[pair] for pair in every] or [analysis.arms[arm.label] for arm in arms]
    study, vary = done.comparison.readings, done.study.varied
    terms = replace(done.terms, case="patient") if study.patients < study.cases else done.terms
    widest = max(pairs, key=lambda estimate: (estimate.random_readers, not estimate.readerless))
    known = all(estimate.random_readers or estimate.readerless for estimate in pairs)
    text = scope_text(widest, terms, generalises_to(arms, vary), fixed_for(arms, vary))
    if not widest.random_readers or known:
        return text
    return f"{text} (of an arm with one {terms.reader}, for that {terms.reader} alone)"


def pair_text(done: StudyAnalysis, pair: Pair) -> str:
    """Return a few sentences on a pair of arms, and whether it is explored beside planned questions."""
    comparison = done.comparison
    estimate, verdict = comparison.analysis.pairs[pair], comparison.verdicts[pair]
    once = estimate.readerless or verdict.reason == "few readers"  # of no rung: its interval is a plain one
    terms = done.terms if once else done.judged_terms
    text = verdict_text(pair, estimate, verdict, terms, comparison.margin)
    explored = comparison.families and pair not in comparison.questions
    return f"{text} Explored, not planned." if explored else text


def planned_text(done: StudyAnalysis, contrast: Mapping[str, float], data: str = "") -> str:
    """Return the verdict on a contrast if it was planned; without a plan an interval is all that is said."""
    found = sought(done.comparison.families, contrast, data)
    return f"; planned: {verdict_words(found, done.terms, done.comparison.margin)}" if found else ""
