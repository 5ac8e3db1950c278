"""Tables made from run records: one row per run, or one row per arm."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from xray_tl.config.identity import PUBLISHED, arm_hash, register_resolvers
from xray_tl.errors import InputError
from xray_tl.store.files import write_text
from xray_tl.store.records import RECORD, read_record
from xray_tl.store.run_folder import load_config
from xray_tl.study.saved_predictions import images_id, read_predictions

log = logging.getLogger(__name__)

SUMMARY = "summary.csv"
PROBLEMS = "problems"
"""Key, in a table's `attrs`, of the list of records that could not be read."""
ARM = ["model", "mode", "weights"]
APART = ["published_sha256", "arm_hash", "test_set", "precision", "schema"]
"""Further columns that distinguish arms: runs that differ in one of them are never pooled. Weights that come
from a seed are no arm but a draw (`draws`): of them the arm's hash holds recipe and budget."""
SHOWN = ["test_auroc", "ceiling_auroc", "efficiency", "test_accuracy", "test_accuracy_at_threshold", "fit_s"]


def collect(folder: Path) -> pd.DataFrame:
    """Read every run record one level below `folder`: one row per run, ordered by arm and seed.

    A record that cannot be read is logged, listed in the table's `attrs`, and left out. If the record of any
    complete run lacks the identifier of its test images, because an earlier version wrote it, the identifier
    is ignored for all runs: otherwise one test set would count as two.

    Raises:
        InputError: There is no run record.
    """
    rows, problems = [], []
    records: dict[Path, dict[str, Any]] = {}
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            records[path.parent] = read_record(path.parent) or {}
        except InputError as error:
            problems.append(f"left out: {path}: {error}")
    all_state = all(map(_states_test_set, records.values()))
    for place, record in records.items():
        try:
            rows.append(_row(place, record, all_state))
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(f"left out: {place / RECORD}: {error}")
    for problem in problems:
        log.error("%s", problem)
    if not rows:
        raise InputError(f"{folder} has no run with a {RECORD}")
    for path in sorted(folder.glob("*/.hydra/config.yaml")):
        place = path.parent.parent
        if not (place / RECORD).exists():
            problems.append(f"{place.name} has no {RECORD}: it was killed, or is still running")
    runs = pd.DataFrame(rows).sort_values([*ARM, "seed", "run_dir"], ignore_index=True)
    runs["weights_seed"] = runs["weights_seed"].astype("Int64")  # with gaps, of published weights
    runs.attrs[PROBLEMS] = problems
    return runs


def write_summary(runs: pd.DataFrame, folder: Path) -> Path:
    """Write `summary.csv`, one row per run, and return its path."""
    path = folder / SUMMARY
    write_text(path, runs.to_csv(index=False))
    return path


def arms(runs: pd.DataFrame) -> pd.DataFrame:
    """Average complete runs over seeds: mean and standard deviation (n - 1) of each shown metric, by arm.

    The first rows are the floors of each data set: results without learned features. Runs with different
    weights, recipe, test images or precision are different arms, even under the same name; `variant` then
    numbers the arms of one name, and `summary.csv` shows how they differ. Training sets drawn with different
    `data.train_seed`, and weights of different `weights.seed`, belong to the same arm. Folds of a
    cross-validation are averaged first.
    """
    complete = by_seed(runs[runs["status"] == "complete"])
    grouped = complete.groupby([*ARM, *APART], dropna=False, sort=False)[SHOWN]
    table = grouped.agg(["mean", "std"])
    table.columns = pd.Index([name for metric in SHOWN for name in (metric, f"{metric}_sd")])
    table.insert(0, "n", grouped.size())
    floors = floor_rows(complete).drop(columns="ceiling_auroc_se", errors="ignore")
    table = pd.concat([floors, table.reset_index()], ignore_index=True)
    if table.duplicated(ARM).any():
        table.insert(len(ARM), "variant", table.groupby(ARM).cumcount() + 1)
    return table.drop(columns=[*APART, "data_hash"], errors="ignore")


def by_seed(complete: pd.DataFrame) -> pd.DataFrame:
    """Average the folds of a cross-validation: one row per seed of an arm; other runs are not changed.

    A seed that has not been tested on every fold is left out.
    """
    folded = complete["fold"].notna()
    if not folded.any():
        return complete
    keys = [*ARM, *APART, "seed", "train_seed", "weights_seed", "weights_sha256"]
    rows = complete[folded]
    tested = rows.groupby(keys, dropna=False)["fold"].transform("nunique")
    parts = rows[tested == rows["folds"]].groupby(keys, dropna=False, sort=False)
    measured = [
        name for name in complete if re.match("test_(?!set)|floor_|ceiling_|efficiency|fit_s", str(name))
    ]
    mean = parts.agg({name: "mean" if name in measured else "first" for name in complete if name not in keys})
    mean = mean.reset_index().assign(data_hash=lambda rows: rows["test_set"])  # that of all folds together
    return pd.concat([complete[~folded], mean[complete.columns]], ignore_index=True)


def floor_rows(complete: pd.DataFrame) -> pd.DataFrame:
    """Return the floors of every data set as rows for the table of arms."""
    rows = []
    for name in floor_names(complete):
        known = complete.dropna(subset=f"floor_{name}_auroc").drop_duplicates("data_hash")
        rows += [
            {
                **dict.fromkeys(ARM, "-"),
                "model": name,
                "data_hash": run["data_hash"],
                "n": 1,
                "test_auroc": run[f"floor_{name}_auroc"],
                "ceiling_auroc": run["ceiling_auroc"],
                "ceiling_auroc_se": run["ceiling_auroc_se"],
                "test_accuracy": run[f"floor_{name}_accuracy"],
            }
            for run in known.to_dict("records")
        ]
    return pd.DataFrame(rows)


def floor_names(runs: pd.DataFrame) -> list[str]:
    """Return the names of the floors in a table of runs."""
    found = (re.fullmatch(r"floor_(\w+)_auroc", str(column)) for column in runs)
    return [match[1] for match in found if match]


def format_arms(table: pd.DataFrame) -> str:
    """Format the table of arms for a terminal, as mean ± SD over seeds."""
    labels = [column for column in (*ARM, "variant", "n") if column in table]
    text = pd.DataFrame({column: table[column].astype(str) for column in labels})
    for metric in SHOWN:
        digits = 0 if metric.endswith("_s") else 3
        pairs = zip(table[metric], table[f"{metric}_sd"], strict=True)
        text[metric.removeprefix("test_")] = [_mean_sd(mean, sd, digits) for mean, sd in pairs]
    return text.to_string(index=False)


def format_run(record: dict[str, Any], folder: Path) -> str:
    """Format a complete run's metrics for a terminal, one column per split."""
    splits = dict(record["metrics"])
    splits["test"] = with_ceiling(splits["test"], record["ceiling"])
    metrics = pd.DataFrame(splits).map(lambda value: "" if pd.isna(value) else f"{value:.4f}")
    arm = " ".join(f"{key}={value}" for key, value in record["arm"].items())
    return f"{arm} seed={record['seed']}\n{metrics.to_string()}\n{folder}"


def with_ceiling(metrics: dict[str, Any], ceiling: dict[str, Any] | None) -> dict[str, Any]:
    """Add the metrics of the best possible classifier to the test metrics, if they are known."""
    if ceiling is None:
        return metrics
    best = {f"ceiling_{name}": ceiling[name] for name in ("auroc", "accuracy", "nll", "brier")}
    return {**metrics, **best, "efficiency": ceiling["efficiency"]}


def _states_test_set(record: dict[str, Any]) -> bool:
    data = record.get("data")
    return record.get("status") != "complete" or (isinstance(data, dict) and "test_set" in data)


def _test_set(folder: Path, stated: str | None) -> str | None:
    try:
        return images_id(read_predictions(folder), stated)
    except InputError:
        return None


def _mean_sd(mean: float, sd: float, digits: int) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if pd.isna(sd) else f" ± {sd:.{digits}f}")


def _weights_seed(record: dict[str, Any]) -> int | None:
    """Return the seed of a run's initial weights; `None` for published ones."""
    if "weights_seed" in record:
        return None if record["weights_seed"] is None else int(record["weights_seed"])
    weights = record.get("weights") or {}
    stated = re.search(r"seed (\d+)$", str(weights.get("name")))  # as records of before have it
    return None if stated is None or weights.get("source") in PUBLISHED else int(stated[1])


def _arm_hash(folder: Path, record: dict[str, Any]) -> str:
    """Return the hash of a run's arm; that of records of before, which held `weights.seed`, is made anew."""
    stated = str(record["arm_hash"])
    if "weights_seed" in record or record["status"] != "complete":
        return stated
    try:
        register_resolvers()
        return arm_hash(load_config(folder))
    except (InputError, OSError, YAMLError, OmegaConfBaseException):
        return stated


def _row(folder: Path, record: dict[str, Any], all_state: bool) -> dict[str, Any]:
    """Return a run's row; `all_state`: whether every record has the identifier of its test images."""
    weights = record.get("weights") or {}
    ceiling, floors = record.get("ceiling") or {}, record.get("floors") or {}
    data, best = record.get("data") or {}, record.get("best") or {}
    test = (record.get("metrics") or {}).get("test") or {}
    stated = data.get("test_set") if all_state else None
    names = ("auroc", "accuracy", "accuracy_at_threshold", "average_precision", "sensitivity", "specificity")
    return {
        "model": record["arm"]["model"],
        "mode": record["arm"]["mode"],
        "weights": weights.get("source", record["arm"]["weights"]),
        "seed": record["seed"],
        "data_seed": record["data_seed"],
        "train_seed": record["train_seed"],
        "status": record["status"],
        **{f"test_{name}": test.get(name) for name in (*names, "loss", "brier", "ece")},
        **{
            f"floor_{floor}_{metric}": scores[metric]
            for floor, scores in floors.items()
            for metric in ("auroc", "accuracy")
        },
        "ceiling_auroc": ceiling.get("auroc"),
        "ceiling_auroc_se": ceiling.get("auroc_se"),
        "efficiency": ceiling.get("efficiency"),
        "above_ceiling": ceiling.get("above_ceiling"),
        "fit_s": (record.get("time") or {}).get("fit_s"),
        "threshold": record.get("threshold"),
        "trainable_parameters": (record.get("parameters") or {}).get("trainable"),
        "head": (record.get("head") or {}).get("kind"),
        "best_epoch": best.get("epoch"),
        "open_stages": best.get("open_stages"),
        "precision": (record.get("environment") or {}).get("precision"),
        "schema": record["schema"],
        "weights_seed": _weights_seed(record),
        "weights_sha256": weights.get("sha256"),
        "published_sha256": weights.get("sha256") if weights.get("source") in PUBLISHED else None,
        "arm_hash": _arm_hash(folder, record),
        "config_hash": record["config_hash"],
        "data_hash": record.get("data_hash"),
        "test_set": data.get("folds_id") or _test_set(folder, stated) or record.get("data_hash"),
        "fold": data.get("fold"),
        "folds": data.get("folds"),
        "error": record.get("error"),
        "run_dir": folder.name,
    }
