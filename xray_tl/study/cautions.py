"""Warnings that belong next to a study's estimates."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

from xray_tl.statistics.apart import ENOUGH
from xray_tl.statistics.comparison import Comparison
from xray_tl.statistics.estimates import LEAST_READERS
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.sameness import NOTHING_VARIES
from xray_tl.statistics.verdict import MARGIN
from xray_tl.statistics.wording import Terms, apart_text, reason_text
from xray_tl.study.draws import Varied
from xray_tl.study.study_folder import Arm


def cautions(arms: list[Arm], comparison: Comparison, vary: Varied, *, in_rungs: bool = False) -> list[str]:
    """Return warnings: missing readers, or some that stand apart, pairs without a common one, and others.

    Where seeds come in rungs, arms that are decided have fewer than others, which is no lack.
    """
    terms = Terms(vary.reader, "image")
    one, many = terms.reader, f"{terms.reader}s"
    said = _crossed(arms, vary)
    every = list(dict.fromkeys(r for arm in arms for r in arm.readers if r != NO_READER))
    alone = [arm.label for arm in arms if len(arm.readers) == 1 and arm.readers != [NO_READER]]
    again = {"seed": "training again", "training set": "other training sets"}.get(one, f"other {many}")
    if len(alone) == 1 and not said:
        said.append(f"{alone[0]} has one {one}: it says nothing about {again}")
    elif alone and not said:
        said.append(f"one {one} each, which says nothing about {again}: {'; '.join(alone)}")
    few = [f"{arm.label} ({len(arm.readers)})" for arm in arms if 1 < len(arm.readers) < LEAST_READERS]
    if few:
        said.append(f"too few {many} for a verdict, which takes {LEAST_READERS}: {', '.join(few)}")
    said += _versions(arms)
    for arm in arms:
        absent = [reader for reader in every if reader not in arm.readers]
        if absent and len(arm.readers) > 1 and not in_rungs:
            said.append(f"{arm.label} has {len(arm.readers)} of {len(every)} {many}: no {', '.join(absent)}")
        if comparison.analysis.arms[arm.label].se == 0:
            said.append(f"{arm.label}: neither {many} nor images vary its AUROC, so its interval is none")
        said += _apart(arm, comparison, terms)
        said += [*_tested_states(arm), *_heads(arm)]
        above = [run.name for run in arm.runs if run.row.get("above_ceiling") in (True, "True")]
        if above:
            said.append(f"{arm.label}, {one} {', '.join(above)}: above the ceiling, so something is wrong")
    said += _weak_weights(arms)
    for pair, verdict in comparison.verdicts.items():
        if verdict.reason in NOTHING_VARIES:
            why = reason_text(comparison.analysis.pairs[pair], verdict, terms)
            said.append(f"nothing to tell {pair[0]} and {pair[1]} apart by: {why}")
    for pair in combinations([arm.label for arm in arms], 2):
        if pair not in comparison.verdicts and pair[::-1] not in comparison.verdicts:
            said.append(f"not compared, having no {one} in common: {pair[0]} and {pair[1]}")
    return said


def _crossed(arms: list[Arm], vary: Varied) -> list[str]:
    """Return a warning if every run shares a set of weights or a training set with all others."""
    found = {reader for arm in arms for reader in arm.readers if reader != NO_READER}
    if not (vary.weights and vary.training_sets and len(found) == 1):
        return []
    return [
        "sets of weights and training sets are crossed, so that all runs hang together as one draw: nothing "
        "can be said of new ones. Vary them together (weights.seed=${seed} data.train_seed=${seed})"
    ]


def _apart(arm: Arm, comparison: Comparison, terms: Terms) -> list[str]:
    """Return a warning if seeds of the arm stand apart from its others."""
    readers = comparison.apart.get(arm.label)
    if not readers:
        return []
    computed = comparison.computed
    value = computed.value[comparison.readings.treatments.index(arm.label)]
    by_reader = dict(zip(computed.readers, value, strict=True))
    reached = ", ".join(f"{by_reader[reader]:.3f}" for reader in readers)
    others = fmean(by_reader[reader] for reader in arm.readers if reader not in readers)
    return [
        f"{apart_text(arm.label, readers, terms)} ({reached} against {others:.3f}): where training fails now "
        f"and then, verdicts of fewer than {ENOUGH} {terms.reader}s are wrong more often than they claim"
    ]


def _weak_weights(arms: list[Arm]) -> list[str]:
    """Return a warning for each set of initial weights that is not shown to be better than pooled pixels."""
    found: dict[tuple[str, int], tuple[dict[str, float], list[str]]] = {}
    for arm in arms:
        weights = arm.runs[0].record.get("weights") or {}
        quality = weights.get("quality")
        if quality and not quality["difference"] > 2 * quality["difference_se"]:
            place = (str(weights.get("sha256")), quality["image_size"])
            found.setdefault(place, (quality, []))[1].append(arm.label)
    return [
        f"the initial weights of {', '.join(labels)} do not beat pooled pixels at {size} px (frozen, solved, "
        f"on the reference task: {quality['auroc']:.3f} against {quality['pooled_pixels']:.3f}), so what is "
        "reached from them may say little of the backbone"
        for (_, size), (quality, labels) in found.items()
    ]


def _heads(arm: Arm) -> list[str]:
    """Return a warning if trained heads are far behind the solved ones on the same final features."""
    found = [(run.record.get("head") or {}).get("behind_solved") for run in arm.runs]
    behind = [value for value in found if value is not None]
    if not behind or fmean(behind) <= MARGIN:
        return []
    return [
        f"{arm.label}: its heads have not converged: solved ones on the same features reach a validation "
        f"AUROC {fmean(behind):.3f} higher"
    ]


def _versions(arms: list[Arm]) -> list[str]:
    """Return a warning if records of several schemas are compared."""
    schemas = sorted({int(run.row["schema"]) for arm in arms for run in arm.runs})
    if len(schemas) < 2:
        return []
    sides = " and ".join(map(str, schemas))
    return [
        f"records of schema {sides} are compared: other rules (CHANGELOG.md) made them, beside other arms"
    ]


def _tested_states(arm: Arm) -> list[str]:
    """Return a warning if seeds of an arm were tested with different stages trained, or with none."""
    states: dict[str, dict[str, None]] = {}
    before = []
    for run in arm.runs:
        best = run.record.get("best")
        if best is not None:
            states.setdefault(f"{best['open_stages']} of {best['stages']}", {})[run.name] = None
            before.append(best["open_stages"] == 0 < best["most_open"])
    if before and all(before):
        return [f"{arm.label}: all best epochs lie before any stage opened: what is tested is a frozen trunk"]
    if len(states) < 2:
        return []
    each = "; ".join(f"{count} stages trained in seed {', '.join(found)}" for count, found in states.items())
    why = "the tested networks differ, since best epochs lie on both sides of one in which stages opened"
    return [f"{arm.label}: {why}: {each}"]
