"""Runs that can be analysed together: no copies, all folds of a seed, their readers, enough cases."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xray_tl.errors import InputError
from xray_tl.statistics.covariance import auroc
from xray_tl.statistics.readings import NO_READER
from xray_tl.study.draws import Varied, of_several_sets, readers, varied
from xray_tl.study.run_table import ARM
from xray_tl.study.saved_predictions import split_of

if TYPE_CHECKING:
    from xray_tl.study.study_folder import Arm, Run

    Keyed = tuple[tuple[Any, ...], Run]
    """A run with the key that all runs of its arm share."""

LEAST_CASES = 2
"""Smallest number of test images (or patients) of each class per target, for an AUROC and its error."""


def without_copies(complete: list[Keyed], problems: list[str]) -> list[Keyed]:
    """Leave out copies: runs of an arm that drew the same, in the same fold; report them."""
    seen: dict[tuple[Any, ...], Run] = {}
    kept = []
    for key, run in sorted(complete, key=lambda found: int(found[1].row["seed"])):
        first = seen.setdefault((key, run.draw, run.fold), run)
        if first is run:
            kept.append((key, run))
        else:
            problems.append(f"left out: {run.row['run_dir']}: the same run as {first.row['run_dir']}")
    return kept


def with_all_folds(complete: list[Keyed], problems: list[str]) -> list[Keyed]:
    """Leave out the seeds of a cross-validation that were not tested on every fold; report them."""
    folds: dict[tuple[Any, ...], set[int]] = {}
    for key, run in complete:
        if run.fold is not None:
            folds.setdefault((key, run.draw), set()).add(run.fold)
    kept = []
    for key, run in complete:
        tested = folds.get((key, run.draw))
        absent = set(range(run.record["data"]["folds"])) - tested if tested else set()
        if absent:
            name = " ".join(str(part) for part in key[: len(ARM)])
            problems.append(f"left out: {name}, seed {run.row['seed']}: no run of fold {min(absent)}")
        else:
            kept.append((key, run))
    return kept


def with_readers(
    complete: list[Keyed], kinds: Mapping[tuple[Any, ...], Hashable]
) -> tuple[list[Keyed], dict[str, Varied]]:
    """Return the runs with their readers, and what varies between those on each test set.

    Args:
        complete: Runs.
        kinds: Key of an arm -> what its weights depend on beside their seed (`sets_of_weights`).
    """
    named: list[Keyed] = []
    vary: dict[str, Varied] = {}
    for test_set in dict.fromkeys(str(run.row["test_set"]) for _, run in complete):
        own = [(key, run) for key, run in complete if str(run.row["test_set"]) == test_set]
        found, vary[test_set] = _read(own, [kinds[key] for key, _ in own])
        named += found
    return named, vary


def _read(complete: list[Keyed], kinds: list[Hashable]) -> tuple[list[Keyed], Varied]:
    """Return runs on the same images with their readers, and what varies.

    Where a reader has several runs, each gets a name.
    """
    keys, runs = [key for key, _ in complete], [run for _, run in complete]
    draws = [run.draw for run in runs]
    several = of_several_sets(draws, kinds)
    vary = varied(draws, several, [str(run.row["weights"]) for run in runs])
    whose = readers(
        keys,
        [draw if anew else replace(draw, weights=None) for draw, anew in zip(draws, several, strict=True)],
        vary,
    )
    single = len(set(zip(keys, whose, strict=True))) == len(set(zip(keys, draws, strict=True)))
    named = [
        replace(
            run,
            reader=reader,
            name=reader
            if single or reader == NO_READER
            else f"{reader}: {draw.seed}/{draw.training_set}/{draw.weights}",
            anew=anew,
        )
        for run, draw, reader, anew in zip(runs, draws, whose, several, strict=True)
    ]
    return list(zip(keys, named, strict=True)), vary


def check_classes(scores: pd.DataFrame, name: str) -> None:
    """Raise an error if a run has no test predictions, or of one class alone.

    Raises:
        InputError: It is so.
    """
    truth = split_of(scores, "test")["truth"]
    if truth.empty:
        raise InputError(f"{name} has no test predictions")
    if truth.nunique() < 2:
        raise InputError(f"{name} has test images of one class only")


def with_enough_cases(arms: list[Arm], problems: list[str]) -> list[Arm]:
    """Leave out targets with too few positive or negative patients, in total or in a fold; report them."""
    parts = []
    for run in arms[0].runs:
        rows = split_of(run.scores, "test")
        whose = [run.patients.get(case, f"case {case}") for case in rows["case"]]
        parts.append(rows.assign(fold=run.fold or 0, patient=whose))
    cells = pd.concat(parts).groupby(["target", "fold", "truth"])["patient"].nunique().unstack()
    scarce = (cells.reindex(columns=[0, 1]).fillna(0) < LEAST_CASES).any(axis=1)
    found = {str(target): bool(few) for target, few in scarce.groupby(level=0).any().items()}
    rare = [target for target in arms[0].targets if found.get(target, True)]
    if not rare:
        return arms
    of = "images or patients of a class" + (" in a fold" if arms[0].folds > 1 else "")
    problems.append(f"not analysed, having fewer than {LEAST_CASES} test {of}: {', '.join(rare)}")
    if len(rare) == len(arms[0].targets):
        return []
    return [replace(arm, runs=tuple(_without(run, rare) for run in arm.runs)) for arm in arms]


def _without(run: Run, targets: list[str]) -> Run:
    """Remove targets from a run, and compute its AUROC without them."""
    scores = run.scores[~run.scores["target"].isin(targets)]
    areas = [
        auroc((rows["truth"] > 0.5).to_numpy(), rows["logit"].to_numpy(float)[None])[0]
        for _, rows in split_of(scores, "test").groupby("target")
    ]
    row = run.row.to_dict() | {"test_auroc": float(np.mean(areas))}
    return replace(run, scores=scores, row=pd.Series(row))
