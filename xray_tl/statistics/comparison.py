"""Complete analysis of a long table of scores: estimates, verdicts, and their JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.statistics.apart import ENOUGH, stand_apart
from xray_tl.statistics.blind_rule import NextCases, next_cases
from xray_tl.statistics.bootstrap import NO_DRAW, TwoWayBootstrap
from xray_tl.statistics.covariance import AUROC, METRICS, Metric
from xray_tl.statistics.estimates import LEVEL
from xray_tl.statistics.families import (
    Families,
    Family,
    estimated,
    judge_family,
    planned_pairs,
    with_verdicts,
)
from xray_tl.statistics.mrmc import Analysis, Cells, Sampling, cells, two_treatment_table
from xray_tl.statistics.readings import GROUP, PATIENT, STRATA, Readings
from xray_tl.statistics.sameness import why_the_same
from xray_tl.statistics.verdict import MARGIN, Pair, Verdict, verdicts
from xray_tl.statistics.verdict import as_json as judged_json
from xray_tl.statistics.wording import Terms, scope_text
from xray_tl.store.csv_table import read_csv_table
from xray_tl.store.records import finite

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Result of the analysis of a study.

    Attributes:
        computed: Values of the metric for every reader and treatment, from which the rest was computed.
        metric: The metric that was compared.
        analysis: Estimates.
        verdicts: Verdict of each pair.
        components: Mean squares and error covariances of each pair, in the terms of Obuchowski & Rockette.
        margin: Largest difference that still counts as equivalent.
        level: Level of the intervals.
        resampled: Intervals of treatments and pairs by the two-way bootstrap, in addition to the jackknife's;
            empty for AUROC, and if readers or cases are fixed.
        notes: What could not be computed, and why.
        apart: Treatment -> its readers that stand apart from its others, where there are any.
        families: Planned contrasts, judged by question.
    """

    computed: Cells
    metric: Metric
    analysis: Analysis
    verdicts: dict[Pair, Verdict]
    components: dict[Pair, dict[str, float]]
    margin: float
    level: float
    resampled: dict[tuple[str, ...], tuple[float, float]]
    notes: tuple[str, ...] = ()
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    families: tuple[Family, ...] = ()

    @property
    def questions(self) -> dict[Pair, str]:
        """Return the question to which each planned pair belongs; the other pairs are explored."""
        planned = planned_pairs(self.families)
        found = {pair: planned.get(frozenset(pair)) for pair in self.analysis.pairs}
        return {pair: asked[0] for pair, asked in found.items() if asked}

    @property
    def readings(self) -> Readings:
        """Return the study's scores."""
        return self.computed.readings

    @property
    def few_readers(self) -> bool:
        """Tell whether any interval rests on two to four readers."""
        found = (*self.analysis.arms.values(), *self.analysis.pairs.values())
        return any(estimate.few_readers for estimate in found)

    @property
    def next_cases(self) -> NextCases | None:
        """Return the numbers of cases for the next study, from the variances alone (`blind_rule`).

        There are none for folds, whose test cases are trained on too.
        """
        return None if self.readings.folded else next_cases(self.analysis.pairs, self.margin)

    def _named(self, terms: Terms) -> Terms:
        """Return the terms with "patient" for a case, if there are fewer patients than cases."""
        return replace(terms, case="patient") if self.readings.patients < self.readings.cases else terms

    def scopes(self, terms: Terms) -> dict[Pair, str]:
        """Return, for each pair, a text on the readers and cases to which its difference generalises."""
        return {pair: scope_text(found, self._named(terms)) for pair, found in self.analysis.pairs.items()}

    def as_json(self) -> dict[str, Any]:
        """Return all numbers at full precision, as JSON values; numbers that are not finite are None."""
        terms = Terms(reader=self.readings.drawn)
        scopes, following, questions = self.scopes(terms), self.next_cases, self.questions
        pairs = [
            {
                "first": pair[0],
                "second": pair[1],
                **judged_json(estimate, self.verdicts[pair]),
                "question": questions.get(pair),
                "next_cases": following.of_pairs.get(pair) if following else None,
                "holds_for": scopes[pair],
                "bootstrap": self.resampled.get(pair),
                "obuchowski_rockette": self.components[pair],
            }
            for pair, estimate in self.analysis.pairs.items()
        ]
        treatments = [
            {
                "treatment": name,
                **asdict(estimate),
                "few_readers": estimate.few_readers,
                "cases_share": estimate.cases_share,
                "stand_apart": list(self.apart.get(name, ())),
                "bootstrap": self.resampled.get((name,)),
            }
            for name, estimate in self.analysis.arms.items()
        ]
        for row in treatments:
            del row["p"], row["hillis"]["p"]
        whole = {
            "metric": self.metric.name,
            "level": self.level,
            "margin": self.margin,
            "readers": list(self.readings.readers),
            "groups": None if self.readings.group is None else list(self.readings.group),
            "cases": self.readings.cases,
            "patients": self.readings.patients,
            "strata": len(self.readings.strata),
            "positive": int(self.readings.truth.sum()),
            "treatments": treatments,
            "pairs": pairs,
            "planned": [row for family in self.families for row in family.as_json(terms)],
            "which_is_best": {
                family.name: {"may_be_best": list(family.may_be_best), "beaten": list(family.beaten)}
                for family in self.families
                if family.asked_best
            },
            "notes": list(self.notes),
        }
        return dict(finite(whole))


def compare(
    readings: Readings,
    metric: Metric,
    readers: Sampling = "random",
    cases: Sampling = "random",
    margin: float = MARGIN,
    level: float = LEVEL,
    families: Families | None = None,
) -> Comparison:
    """Analyse a study and judge every pair of treatments.

    Pairs that no family holds are explored: they are one family together.

    Args:
        readings: The study's scores.
        metric: The metric.
        readers: Whether the readers are a sample.
        cases: Whether the cases are a sample.
        margin: Largest difference that still counts as equivalent.
        level: Level of the confidence intervals; 1 - level is the error rate of each family.
        families: Contrasts declared beforehand, by question.

    Raises:
        InputError: The metric has no covariance; neither readers nor cases are random; or the metric is a
            proportion, which decides at 0, and all ratings lie on one side of 0.
    """
    if metric.hits is not None:
        positive = readings.rating[readings.read] >= 0
        if positive.all() or not positive.any():
            side = "below" if positive.all() else "at or above"
            raise InputError(
                f"metric={metric.name} takes ratings from 0 as positive, and none lies {side} it: "
                "subtract the threshold from the ratings first"
            )
    computed = cells(readings, metric)
    analysis = computed.analyse(readers, cases, level)
    apart = _apart(computed, margin) if readers == "random" else {}
    higher = metric.higher_is_better
    answered = tuple(
        judge_family(
            name,
            [estimated(computed, contrast, readers, cases, level) for contrast in contrasts],
            margin,
            1 - level,
            apart,
        )
        for name, contrasts in (families or {}).items()
    )
    planned = planned_pairs(answered)
    others = {pair: found for pair, found in analysis.pairs.items() if frozenset(pair) not in planned}
    explored = verdicts(others, margin, 1 - level, higher_is_better=higher)
    judged = {
        pair: explored[pair] if pair in explored else planned[frozenset(pair)][1] for pair in analysis.pairs
    }
    for pair, verdict in judged.items():
        if verdict.reason == "no variance":
            judged[pair] = replace(verdict, reason=why_the_same(computed, *pair))
        of_pair = {name: apart[name] for name in pair if name in apart}
        if of_pair and analysis.pairs[pair].readers < ENOUGH:
            judged[pair] = replace(judged[pair], apart=of_pair)
    answered = tuple(with_verdicts(family, judged) for family in answered)
    components = {pair: two_treatment_table(computed, *pair) for pair in analysis.pairs}
    resampled: dict[tuple[str, ...], tuple[float, float]] = {}
    notes: tuple[str, ...] = ()
    if metric is not AUROC and (readers, cases) == ("random", "random"):
        drawn = TwoWayBootstrap(readings, metric, seed=0)
        contrasts = [{name: 1.0} for name in analysis.arms] + [{a: 1.0, b: -1.0} for a, b in analysis.pairs]
        if drawn.possible:
            resampled = {tuple(weights): drawn.contrast(weights, level)[1:] for weights in contrasts}
        else:
            notes = (NO_DRAW,)
    return Comparison(
        computed, metric, analysis, judged, components, margin, level, resampled, notes, apart, answered
    )


def _apart(computed: Cells, margin: float) -> dict[str, tuple[str, ...]]:
    """Return the readers that stand apart by more than the margin, of treatments that have such readers."""
    study, found = computed.readings, {}
    for name, value in zip(study.treatments, computed.value, strict=True):
        if name not in study.readerless:
            used = np.flatnonzero(~np.isnan(value))
            if places := stand_apart(value[used], margin):
                found[name] = tuple(computed.readers[used[place]] for place in places)
    return found


def read_scores(path: Path) -> Readings:
    """Read a long table of scores from a CSV file; spaces around names are removed.

    Raises:
        InputError: The file cannot be read, or is not such a table.
    """
    if not path.is_file():
        raise InputError(f"scores={path} is not a file")
    names = ("reader", "treatment", "case", *STRATA, PATIENT, GROUP)
    table = read_csv_table(path, f"scores={path}", names)
    given = [name for name in names if name in table]
    table[given] = table[given].apply(lambda column: column.str.strip())
    for name in (name for name in given if name not in ("case", PATIENT)):
        _warn_of_spelling(table[name], path)
    return Readings.of_table(table, f"scores={path}")


def _warn_of_spelling(names: pd.Series, path: Path) -> None:
    """Warn of names that differ only in capitals, and so probably mean the same."""
    spellings: dict[str, str] = {}
    for name in names.unique():
        first = spellings.setdefault(name.casefold(), name)
        if first != name:
            log.warning("scores=%s: %ss %s and %s differ in capitals alone", path, names.name, first, name)


def metric_named(name: str) -> Metric:
    """Return the metric of this name, which must have a covariance.

    Raises:
        InputError: There is no such metric.
    """
    known = [key for key, metric in METRICS.items() if metric.influence is not None]
    if name not in known:
        raise InputError(f"metric={name} is not known: choose from {', '.join(known)}")
    return METRICS[name]
