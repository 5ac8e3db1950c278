"""Planned contrasts: each family is one question with an error rate of its own; all other pairs are explored.

A family's p values are adjusted by Holm's method over all contrasts that were declared for it, whether there
is a result of each or not: what is left out never makes the others look better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xray_tl.errors import InputError
from xray_tl.statistics.apart import ENOUGH
from xray_tl.statistics.estimates import LEVEL, Estimate
from xray_tl.statistics.mrmc import Cells, Sampling
from xray_tl.statistics.verdict import Pair, Verdict, holm, judge
from xray_tl.statistics.verdict import as_json as judged_json
from xray_tl.statistics.wording import Terms, scope_text

if TYPE_CHECKING:
    from xray_tl.statistics.ladder_verdict import Standing


@dataclass(frozen=True)
class Contrast:
    """A contrast of treatments that was declared beforehand.

    Attributes:
        name: How it is called, such as `a - b`.
        weights: Treatment -> factor; empty if a treatment has no result.
        metric: Name of its metric if that is not the study's own; else empty.
        data: Name of its images if they are not the study's own, or of two sets whose difference is meant.
        of_two_sets: Whether two sets of images are compared.
        higher_is_better: Whether a larger metric is the better one.
        of_best: The two treatments of a pair whose question is which treatment is best; one without a result
            has the name that was asked. Else empty.
        estimate: Its estimate; `None`: to be computed from the study's own scores.
        missing: Why there is no estimate; empty if there is one.
    """

    name: str
    weights: Mapping[str, float] = field(default_factory=dict)
    metric: str = ""
    data: str = ""
    of_two_sets: bool = False
    higher_is_better: bool = True
    of_best: tuple[str, ...] = ()
    estimate: Estimate | None = None
    missing: str = ""

    @property
    def pair(self) -> Pair | None:
        """Return the two treatments whose difference it is, first minus second; `None` if it is no pair."""
        if self.of_two_sets or sorted(self.weights.values()) != [-1, 1]:
            return None
        first, second = sorted(self.weights, key=lambda name: -self.weights[name])
        return first, second

    @property
    def is_main(self) -> bool:
        """Tell whether it is of the study's own metric and images."""
        return not (self.metric or self.data)


@dataclass(frozen=True)
class Judged:
    """A planned contrast and its verdict; `None` if it has no estimate.

    Attributes:
        contrast: The contrast.
        verdict: The verdict on it.
        standing: Where it stands on the rungs of a sweep that has some (`ladder_verdict`).
        left_open_by: Its beaten treatments, where the question is which is best and it is undecided: it need
            not be decided.
    """

    contrast: Contrast
    verdict: Verdict | None
    standing: Standing | None = None
    left_open_by: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Tell whether it has a result, is undecided, and is to be decided."""
        return self.verdict is not None and self.verdict.kind == "undecided" and not self.left_open_by

    @property
    def goes_on(self) -> bool:
        """Tell whether it is open, and may be decided at a rung to come."""
        return not self.left_open_by and self.standing is not None and self.standing.goes_on


@dataclass(frozen=True)
class Family:
    """A question: its name and its contrasts, judged together."""

    name: str
    judged: tuple[Judged, ...]

    @property
    def decided(self) -> tuple[Judged, ...]:
        """Return the contrasts with another verdict than `undecided`."""
        return tuple(found for found in self.judged if found.verdict and found.verdict.kind != "undecided")

    @property
    def asked_best(self) -> tuple[str, ...]:
        """Return the treatments of which the best is asked for; none if that is not the question."""
        return tuple(dict.fromkeys(name for found in self.judged for name in found.contrast.of_best))

    @property
    def beaten(self) -> tuple[str, ...]:
        """Return those of them that another one is better than.

        In at least 95 % of studies the best is not among them: only a wrong verdict can beat it.
        """
        lost = {
            name
            for found in self.decided
            for name in found.contrast.of_best
            if found.verdict and found.verdict.better not in (None, name)
        }
        return tuple(name for name in self.asked_best if name in lost)

    @property
    def may_be_best(self) -> tuple[str, ...]:
        """Return those that none is better than: with a result or without."""
        return tuple(name for name in self.asked_best if name not in self.beaten)

    def as_json(self, terms: Terms) -> list[dict[str, Any]]:
        """Return each contrast as JSON values; what has no estimate says why."""
        return [
            {"question": self.name, **_as_json(found, terms), **self.ranked(found)} for found in self.judged
        ]

    def ranked(self, found: Judged) -> dict[str, Any]:
        """Return, of a pair whose question is which is best, its beaten treatments and whether it matters."""
        if not found.contrast.of_best:
            return {}
        beaten = [name for name in found.contrast.of_best if name in self.beaten]
        return {"beaten": beaten, "need_not_be_decided": bool(found.left_open_by)}


Families = Mapping[str, Sequence[Contrast]]
"""Question -> its contrasts."""


def family_of(name: str, judged: Sequence[Judged]) -> Family:
    """Return a question whose undecided pairs say which of their treatments are beaten."""
    lost = Family(name, tuple(judged)).beaten
    return Family(name, tuple(_with_beaten(found, lost) if found.is_open else found for found in judged))


def _with_beaten(found: Judged, lost: Sequence[str]) -> Judged:
    beaten = tuple(name for name in found.contrast.of_best if name in lost)
    if not beaten or found.verdict is None:
        return found
    return replace(found, verdict=replace(found.verdict, need=None), left_open_by=beaten)


def estimated(
    computed: Cells,
    contrast: Contrast,
    readers: Sampling = "random",
    cases: Sampling = "random",
    level: float = LEVEL,
) -> Contrast:
    """Return a contrast with its estimate from the study's own scores, or why it has none.

    One that has an estimate already, of other scores, is returned as it is.
    """
    if contrast.missing or contrast.estimate is not None:
        return contrast
    try:
        found = computed.contrast(contrast.weights, readers, cases, level)
    except InputError as error:
        return replace(contrast, missing=str(error))
    return replace(contrast, estimate=found, higher_is_better=computed.metric.higher_is_better)


def judge_family(
    name: str,
    contrasts: Sequence[Contrast],
    margin: float,
    alpha: float,
    apart: Mapping[str, tuple[str, ...]],
) -> Family:
    """Judge the contrasts of a question together.

    Args:
        name: The question.
        contrasts: All contrasts that were declared for it.
        margin: Largest difference that still counts as equivalent.
        alpha: Error rate of the family.
        apart: Treatment -> its readers that stand apart, if any.
    """
    adjusted = holm([1.0 if found.estimate is None else found.estimate.p for found in contrasts])
    judged = []
    for contrast, p in zip(contrasts, adjusted, strict=True):
        verdict = None
        if contrast.estimate is not None:
            verdict = judge(
                contrast.pair,
                contrast.estimate,
                p,
                margin,
                alpha,
                higher_is_better=contrast.higher_is_better,
                family=len(contrasts),
            )
            if contrast.of_two_sets:  # no number of images of one set decides it
                verdict = replace(verdict, need=None)
            if contrast.estimate.readers < ENOUGH:
                own = {treatment: apart[treatment] for treatment in contrast.weights if treatment in apart}
                verdict = replace(verdict, apart=own)
        judged.append(Judged(contrast, verdict))
    return family_of(name, judged)


def with_verdicts(family: Family, verdicts: Mapping[Pair, Verdict]) -> Family:
    """Return a family with these verdicts on its pairs of the study's own scores, in whichever order."""
    known = {frozenset(pair): verdict for pair, verdict in verdicts.items()}
    return replace(
        family,
        judged=tuple(
            replace(found, verdict=known[frozenset(found.contrast.pair)])
            if found.verdict and found.contrast.is_main and found.contrast.pair
            else found
            for found in family.judged
        ),
    )


def sought(families: Sequence[Family], weights: Mapping[str, float], data: str = "") -> Judged | None:
    """Return the planned contrast of the study's own metric with these weights, or `None`.

    Args:
        families: Planned contrasts, judged.
        weights: Treatment -> factor.
        data: Name of the images; empty: the study's own.
    """
    wanted = dict(weights)
    for found in (found for family in families for found in family.judged):
        own = found.contrast
        if not own.metric and own.data == data and dict(own.weights) == wanted and found.verdict:
            return found
    return None


def planned_pairs(families: Sequence[Family]) -> dict[frozenset[str], tuple[str, Verdict]]:
    """Return question and verdict of each pair of the study's own scores that a family judges."""
    return {
        frozenset(found.contrast.pair): (family.name, found.verdict)
        for family in families
        for found in family.judged
        if found.contrast.is_main and found.contrast.pair and found.verdict
    }


def _as_json(found: Judged, terms: Terms) -> dict[str, Any]:
    contrast, estimate, verdict = found.contrast, found.contrast.estimate, found.verdict
    row: dict[str, Any] = {
        "contrast": contrast.name,
        "weights": dict(contrast.weights),
        "missing": contrast.missing or None,
    }
    if estimate is None or verdict is None:
        return row
    row |= judged_json(estimate, verdict) | {"holds_for": scope_text(estimate, terms)}
    return row | ({"ladder": found.standing.as_json() | {"goes_on": found.goes_on}} if found.standing else {})
