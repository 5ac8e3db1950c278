"""What the results of a study hold for: new draws of what varies, or these alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from xray_tl.config.identity import PUBLISHED
from xray_tl.study.draws import SHA_DIGITS, Varied
from xray_tl.study.study_folder import Arm, Run

MOST_SETS = 2
"""Largest number of sets of weights that a sentence names."""


def generalises_to(arms: Sequence[Arm], vary: Varied) -> list[str]:
    """Return the factors, in the singular, of which no two readers of these arms share what they drew.

    A verdict holds for new ones of these, if it has enough readers. Arms with one reader, or none, do not
    limit which readers are looked at.
    """
    several = [set(arm.readers) for arm in arms if len(arm.readers) > 1]
    common = set.intersection(*several) or set.union(*several) if several else set()
    found = []
    for factor, name in (
        ("weights", vary.of_weights),
        ("training_set", "training set"),
        ("seed", "seed"),
    ):
        drawn: dict[str, set[object]] = {reader: set() for reader in common}
        for arm in arms:
            for run in (run for run in arm.runs if run.reader in common):
                level = getattr(run.draw, factor)
                if factor == "seed":
                    drawn[run.reader].add(None if level is None else (arm.label, level))  # of its arm alone
                elif factor == "training_set" or run.anew:
                    drawn[run.reader].add(level)
        levels = [own - {None} for own in drawn.values()]
        if any(levels) and not any(one & other for one, other in combinations(levels, 2)) and len(levels) > 1:
            found.append(name)
    return found


def fixed_for(arms: Sequence[Arm], vary: Varied) -> list[str]:
    """Return phrases on what is the same for all readers, or shared by some of them."""
    new = generalises_to(arms, vary)
    return [*_training_sets(arms, new), *_weights(arms, new, vary), *_seeds(arms, new, vary)]


def _training_sets(arms: Sequence[Arm], new: Sequence[str]) -> Iterator[str]:
    if "training set" in new:
        return
    folds = max(arm.folds for arm in arms)
    sets = {run.draw.training_set for arm in arms for run in arm.runs}
    if folds > 1 or len(sets) > 1:
        yield "on these training sets" + (", which overlap" if folds > 2 else "")
    else:
        yield "on this training set"


def _weights(arms: Sequence[Arm], new: Sequence[str], vary: Varied) -> Iterator[str]:
    runs = [run for arm in arms for run in arm.runs]
    of_seeds = [run for run in runs if run.draw.weights is not None]
    constant = [run for run in of_seeds if vary.of_weights not in new or not run.anew]
    sets = list(dict.fromkeys(_set_of(run) for run in constant))
    sources = {str(run.row["weights"]) for run in constant}
    what = f"{sources.pop()} weights" if len(sources) == 1 else "weights"
    if len(sets) == 1:
        ((model, drawn),) = sets
        whose = f"{model}: " if vary.of_weights in new else ""
        yield f"for this set of {what} ({whose}{drawn}) alone"
    elif sets:
        few = len(sets) <= MOST_SETS
        each = "; ".join(f"{model}: {drawn}" for model, drawn in sets) if few else "see provenance"
        yield f"for these {len(sets)} sets of {what} alone ({each})"
    if any(str(run.row["weights"]) in PUBLISHED for run in runs):
        yield "for published weights as they are" if of_seeds else "for these weights as published"


def _set_of(run: Run) -> tuple[str, str]:
    sha256 = str(run.row["weights_sha256"])[:SHA_DIGITS]
    return str(run.row["model"]), f"seed {int(run.row['weights_seed'])}, sha {sha256}"


def _seeds(arms: Sequence[Arm], new: Sequence[str], vary: Varied) -> Iterator[str]:
    if vary.reader == "seed" or "seed" in new:
        return
    seeds = sorted({run.draw.seed for arm in arms for run in arm.runs if run.draw.seed is not None})
    if len(seeds) == 1:
        yield f"with seed {seeds[0]} alone"
    elif seeds:
        yield f"with these seeds alone ({', '.join(map(str, seeds))})"
