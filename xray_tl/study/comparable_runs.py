"""Selection of the complete runs that can be analysed together: no copies, and all folds of a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xray_tl.statistics.readings import NO_READER
from xray_tl.study.run_table import ARM

if TYPE_CHECKING:
    from xray_tl.study.study_folder import Run

    Keyed = tuple[tuple[Any, ...], Run]
    """A run with the key that all runs of its arm share."""


def one_of_each(complete: list[Keyed], problems: list[str]) -> list[Keyed]:
    """Leave out copies of runs and, if training sets vary, all but one seed of each; report what is left out.

    Seeds that share a training set are not an independent sample of training sets: one per training set is
    analysed.
    """
    sets: dict[tuple[Any, ...], set[object]] = {}
    for key, run in complete:
        sets.setdefault(key, set()).add(run.row["train_seed"])
    seen: dict[tuple[Any, ...], Run] = {}
    kept = []
    for key, run in sorted(complete, key=lambda found: int(found[1].row["seed"])):
        own = run.row["seed"] if len(sets[key]) == 1 and run.reader != NO_READER else None
        place = (key, run.row["train_seed"], run.fold, own)
        first = seen.setdefault(place, run)
        if first is run:
            kept.append((key, run))
        elif first.reader == run.reader:
            problems.append(f"left out: {run.row['run_dir']}: the same run as {first.row['run_dir']}")
        else:
            problems.append(
                f"left out: {run.row['run_dir']}: where training sets vary, one seed of each is analysed"
            )
    return kept


def with_all_folds(complete: list[Keyed], problems: list[str]) -> list[Keyed]:
    """Leave out the seeds of a cross-validation that were not tested on every fold; report them."""
    folds: dict[tuple[Any, ...], set[int]] = {}
    for key, run in complete:
        if run.fold is not None:
            folds.setdefault((key, run.reader), set()).add(run.fold)
    kept = []
    for key, run in complete:
        tested = folds.get((key, run.reader))
        absent = set(range(run.record["data"]["folds"])) - tested if tested else set()
        if absent:
            name = " ".join(str(part) for part in key[: len(ARM)])
            problems.append(f"left out: {name}, seed {run.reader}: no run of fold {min(absent)}")
        else:
            kept.append((key, run))
    return kept
