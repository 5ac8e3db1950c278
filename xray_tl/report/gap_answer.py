"""Answer to the course report's fifth question: why is a test result what it is? No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from xray_tl.report.answer import pair_text, planned_text
from xray_tl.report.tables import efficiency
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.wording import Terms, difference_text, interval_text, with_few
from xray_tl.study.analysis import N_TRAIN, StudyAnalysis
from xray_tl.study.arm_names import short_name
from xray_tl.study.gap import interval_width
from xray_tl.study.study_folder import Arm

REMEDIES = ("augment.", "model.head_dropout", "optim.weight_decay", N_TRAIN)
"""Options, or prefixes of options, that the original report proposed against the training-test gap."""


def gap_sentences(done: StudyAnalysis) -> Iterator[str]:
    """Yield sentences on the causes of an arm's training-test gap and on the effect of each remedy."""
    arm = _without_remedy(done)
    estimate = done.comparison.analysis.arms[arm.label]
    gap = done.overfitting.get(arm.label)
    if gap is not None:
        yield (
            f"Overfitting of {arm.label}: training minus fresh images, {_difference(gap, arm, done.terms)}"
            f"{planned_text(done, {arm.label: 1}, 'train - test')}."
        )
    iso = arm.settings.get("data.contrast") == "iso"
    for shift in done.shifts.get(arm.label, ()):
        best = "" if shift.ceiling != shift.ceiling else f"; the best possible there is {shift.ceiling:.3f}"
        kept = ", the finding's detectability kept" if iso else ""
        name = shift.name.removeprefix("shift=")
        drop = _difference(shift.drop, arm, done.terms)
        planned = planned_text(done, {arm.label: 1}, f"{name} - test")
        yield f"Shift {name}{kept}: shifted minus test images, {drop}{best}{planned}."
    halves = [f"± {interval_width(estimate, cases).half:.3f} with {cases}" for cases in (200, 2000)]
    yield f"Size of the test set: the interval is {with_few(' images, '.join(halves), estimate, done.terms)}."
    if done.ceiling == done.ceiling:
        found = efficiency(done, arm)
        ends = with_few(interval_text(found["_lower"], found["_upper"], 2), estimate, done.terms)
        reached = f", an observer efficiency of {found['']:.2f} ({done.terms.interval} {ends})"
        yield (
            f"Architecture and training: the best possible is {done.ceiling:.3f}, {arm.label} reaches "
            f"{estimate.value:.3f}{'' if math.isnan(found['']) else reached}."
        )
    for base, points in done.learning.items():
        (low, first), (high, last) = points[0], points[-1]
        text = f"Training images, {base}: {low} give {first.value:.3f}, {high} give {last.value:.3f}"
        gain = done.gains.get(base)
        few = min(first.readers, last.readers)
        yield (
            f"{text}."
            if gain is None
            else f"{text}: {difference_text(gain, done.terms)}{_of(gain, few, done.terms)}."
        )
    yield from _remedies(done, arm)


def _difference(estimate: Estimate, arm: Arm, terms: Terms) -> str:
    return difference_text(estimate, terms) + _of(estimate, len(arm.readers), terms)


def _of(estimate: Estimate, readers: int, terms: Terms) -> str:
    """Return how many readers an estimate uses, if it needs any and these are only one or not all."""
    if estimate.readerless or estimate.readers == readers > 1:
        return ""
    return f", {estimate.readers} of {readers} {terms.reader}s" if readers > 1 else f", one {terms.reader}"


def _without_remedy(done: StudyAnalysis) -> Arm:
    """Return the arm without options that most arms extend by one remedy; among equals the best."""
    plain = [arm for arm in done.arms if not arm.options]
    return max(plain, key=lambda arm: len(_remedied(done, arm)), default=done.arms[0])


def _remedied(done: StudyAnalysis, plain: Arm) -> list[Arm]:
    """Return the arms that add one remedy to a plain arm and have the same weights and precision."""
    found = []
    for arm in done.arms:
        same = arm.name == plain.name and all(
            str(arm.runs[0].row.get(key)) == str(plain.runs[0].row.get(key))
            for key in ("published_sha256", "precision")
        )
        remedies = [key for key in arm.options if key.startswith(REMEDIES)]
        if not same or plain.options or len(arm.options) != 1 or not remedies:
            continue
        (option,) = remedies
        if option != N_TRAIN or (arm.settings[option] or math.inf) > (plain.settings[option] or math.inf):
            found.append(arm)
    return found


def _remedies(done: StudyAnalysis, plain: Arm) -> Iterator[str]:
    """Yield a sentence per arm that adds one remedy (or training images) to a plain arm: the comparison."""
    for arm in _remedied(done, plain):
        (option,) = arm.options
        for pair in done.comparison.verdicts:
            if set(pair) == {arm.label, plain.label}:
                yield f"Remedy {short_name(option)}={arm.options[option]}: {pair_text(done, pair)}"
