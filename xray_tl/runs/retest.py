"""Retest of a finished run from its checkpoint, on its own test split or on other data."""

from __future__ import annotations

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from xray_tl.config import conf_dir
from xray_tl.config.validation import validate
from xray_tl.data.films.names import spelling_key
from xray_tl.data.films.radiographs import Collection
from xray_tl.errors import InputError, RunError
from xray_tl.runs import predictions
from xray_tl.runs.feature_cache import FeatureCache
from xray_tl.runs.finished import on_this_machine, open_finished
from xray_tl.runs.observer_efficiency import describe_ceiling, ideal_logits
from xray_tl.runs.parts import Parts, assemble
from xray_tl.store.csv_table import read_csv_table
from xray_tl.store.files import write_text
from xray_tl.store.records import EVALUATIONS, PREDICTIONS, RECORD, SCHEMA, SPLIT, finite, write_record
from xray_tl.store.run_folder import shifted
from xray_tl.study.run_table import with_ceiling
from xray_tl.training.device import describe_device, describe_environment
from xray_tl.training.trainer import build_trainer, expected_warnings

log = logging.getLogger(__name__)

READING = ("image_size", "fit", "intensity", "batch_size")
"""Options of `data` that the trained model fixes, or that change no result."""
DATA_GROUPS = ("difficulty", "shift")
"""Config groups whose files set options of `data`."""


def evaluate(cfg: DictConfig, run: Path, overrides: list[str]) -> str:
    """Test the model of a complete run; return a table for the terminal.

    Without data overrides the recorded test metrics must be reproduced exactly. With them the results go to
    a new folder below the run's `evaluations/`.

    Args:
        cfg: Composed configuration, whose overridden values replace the run's.
        run: The run's folder.
        overrides: Hydra's overrides, such as `data.acquisition.kerma=0.25`.

    Raises:
        InputError: The folder holds no complete run, or an override asks for something impossible.
        RunError: The recorded metrics were not reproduced.
    """
    finished = open_finished(run, "evaluate")
    stored, record = finished.config, finished.record
    if stored.data.get("target_auroc") is not None:  # keep d0: a new one would undo the shift's effect
        stored.data.d0, stored.data.target_auroc = record["data"]["d0"], None
    apply_overrides(stored, cfg, overrides)
    validate(stored)
    settings = on_this_machine(finished.settings(stored))
    if record["time"]["feature_cache"] == "off":  # to reproduce the record bit by bit
        settings = replace(settings, feature_cache="off")
    other_data = any(text.lstrip("+").startswith(("data", *DATA_GROUPS)) for text in overrides)
    with expected_warnings():
        parts = assemble(settings, "test", finished.source(settings))
        parts = replace(parts, precision=finished.precision)
        _check_targets(parts, record)
        if parts.data.collection is not None:
            _check_unseen(parts.data.collection, run)
        finished.restore(parts.task)
        # building the trainer also sets torch's deterministic mode
        trainer = build_trainer(settings.trainer, parts.device, parts.precision, run, None, [])
        features = FeatureCache(parts, ("test",), of_whole=not other_data)
        features.enter_tested()
        parts.data.setup("test")
        test = predictions.predict(trainer, parts.task, parts.data, "test")
    metrics = predictions.metrics({"test": test}, parts.data.targets, finished.thresholds)
    if not other_data:
        return _compare(record, metrics["test"], run, parts.device)
    ideal = ideal_logits(parts.data, {"test": test})
    ceiling = describe_ceiling(test, ideal)
    folder = _new_folder(run, cfg.name, overrides)
    table = predictions.table({"test": test}, parts.data, ideal)
    predictions.write_table(table, folder / PREDICTIONS)
    if parts.data.collection is not None:
        write_text(folder / SPLIT, parts.data.collection.split_table().to_csv(index=False))
    write_record(folder, _record(record, parts, overrides, metrics, ceiling))
    return f"{_side_by_side(record, metrics['test'], ceiling)}\n{folder}"


def _check_targets(parts: Parts, record: dict[str, Any]) -> None:
    """Refuse images that lack the run's targets; warn if a binary target only has another name.

    Raises:
        InputError: The targets differ and are not both binary, or positive and negative are swapped.
    """
    own = record["data"].get("targets")
    other = [parts.data.targets.kind, *parts.data.targets.names]
    if own is None or list(map(spelling_key, own)) == list(map(spelling_key, other)):
        return
    has, wanted = (f"{', '.join(names)} ({kind})" for kind, *names in (other, own))
    message = f"the run predicts {wanted}, these images have {has}"
    turned = spelling_key(other[1]) == spelling_key(record["data"].get("negative") or "")
    if own[0] != "binary" or other[0] != "binary" or turned:
        raise InputError(f"{message}{': data.negative=... turns them around' if turned else ''}")
    log.warning("%s", message)


def _check_unseen(collection: Collection, run: Path) -> None:
    """Refuse test images that the run was trained or validated on.

    Raises:
        InputError: There are such images.
    """
    place = run / SPLIT
    if not place.is_file():
        return
    stored, now = read_csv_table(place, str(place)), collection.split_table()
    trained = stored["split"] != "test"
    of_test = now["split"] == "test"
    image = "pixels" if "pixels" in stored else "content"  # older tables identify copies only by file
    # copies on both sides of the run's own split were reported when it was trained
    seen = (set(stored[image][trained]) - set(stored[image][~trained])) & set(now[image][of_test])
    known, tested = (
        set(table["patient"][rows].map(spelling_key)) for table, rows in ((stored, trained), (now, of_test))
    )
    patients = (known & tested) - {""}
    if patients and not set(now[image][of_test]) <= set(stored[image]):
        log.warning("%d patients of these test images have the names of patients trained on", len(patients))
    if seen:
        raise InputError(
            f"{len(seen)} of these test images are training or validation images of {run}: "
            f"give data.split_file={place}, or other images"
        )


def check_shifts(shifts: list[str], data: DictConfig) -> None:
    """Check, before a run is trained, the shifts on which it will be tested.

    Raises:
        InputError: A name is unknown, the data are not simulated, or the run itself uses another shift, which
            would remain active.
    """
    own = data.get("shift", "none")
    if shifts and data.get("name", "synthetic") != "synthetic":
        raise InputError(f"shifts={shifts}: data={data.name} is not simulated and cannot be shifted")
    known = sorted(path.stem for path in (Path(conf_dir()) / "shift").glob("*.yaml"))
    for name in shifts:
        if name not in known:
            raise InputError(f"shifts={shifts}: {name} is unknown; choose from {', '.join(known)}")
        if own not in ("none", name):
            raise InputError(f"shifts={shifts} is for runs without a shift of their own: shift={own}")


def evaluate_shifts(run: Path, shifts: list[str]) -> None:
    """Test a finished run on those of the named shifts that have no record yet."""
    for name in shifts:
        folder = shifted(run, name)
        if not (folder / RECORD).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # left by a killed process
            evaluate(OmegaConf.create({"name": None}), run, [folder.name])


def apply_overrides(stored: DictConfig, composed: DictConfig, overrides: list[str]) -> None:
    """Apply command-line overrides to a run's stored configuration: groups first, then values.

    Raises:
        InputError: An override deletes an option, sets the precision, or adds a shift to a shifted run.
    """
    for text in overrides:
        if text.startswith("~"):
            raise InputError(f"{text}: evaluate can replace options of a run, not delete them")
        if text.lstrip("+").startswith("trainer.precision="):
            raise InputError(f"{text}: a run is tested in the precision that its record states")
    pairs = [text.lstrip("+").split("=", 1) for text in overrides]
    named = {key for key, _ in pairs}
    for key, value in sorted(pairs, key=lambda pair: pair[0].count(".")):
        own = stored.data.get("shift", "none")
        if key == "shift" and own not in ("none", value):
            raise InputError(
                f"shift={value}: the run was made with shift={own}, which would stay; "
                "spell out what is to change: data.acquisition.kerma=..."
            )
        if key in DATA_GROUPS:
            options = OmegaConf.load(Path(conf_dir()) / key / f"{value}.yaml")
            stored.data = OmegaConf.merge(stored.data, options)
        elif key == "data":
            stored.data = _other_data(stored.data, composed.data, named)
        else:
            OmegaConf.update(stored, key, OmegaConf.select(composed, key), merge=False, force_add=True)
    if "data.target_auroc" in named and "data.d0" not in named and stored.data.target_auroc is not None:
        stored.data.d0 = None  # d0 is found again from the target


def _other_data(own: DictConfig, other: DictConfig, named: set[str]) -> DictConfig:
    """Return another data set with the run's own reading options, except those on the command line."""
    kept = {key: own[key] for key in READING if key in own and key in other and f"data.{key}" not in named}
    changed = OmegaConf.merge(other, kept)
    assert isinstance(changed, DictConfig)
    return changed


def _compare(record: dict[str, Any], metrics: dict[str, float], run: Path, device: torch.device) -> str:
    """Return a table of recorded and new metrics, which must be equal on the same kind of device.

    Raises:
        RunError: They differ, and neither another kind of device nor an older schema explains it.
    """
    stated, found = record["metrics"]["test"], finite(metrics)
    different = [name for name, value in found.items() if value != stated[name]]
    text = _side_by_side(record, metrics, record["ceiling"])
    trained_on, here = str(record["environment"]["device"]), describe_device(device)
    sizes = [abs(found[name] - stated[name]) for name in different if None not in (found[name], stated[name])]
    if different and len(sizes) == len(different) and (trained_on != here or record["schema"] < SCHEMA):
        by = f"schema {record['schema']}" if trained_on == here else trained_on
        now = f"schema {SCHEMA}" if trained_on == here else here
        return (
            f"{text}\n{run} was recorded by {by}, and {now} rounds in its own way: metrics differ by at most "
            f"{max(sizes):.1e}"
        )
    if different:
        made, now = record["environment"], f"{torch.get_num_threads()} threads, torch {torch.__version__}"
        raise RunError(
            f"{run}: {', '.join(different)} differ from the record\n{text}\n"
            f"(recorded on {made['device']}, {made['threads']} threads, torch {made['torch']}; now {now})"
        )
    return f"{text}\nthe recorded test metrics of {run} came out exactly"


def _side_by_side(record: dict[str, Any], metrics: dict[str, float], ceiling: dict[str, Any] | None) -> str:
    before = with_ceiling(record["metrics"]["test"], record["ceiling"])
    frame = pd.DataFrame({"recorded": before, "now": with_ceiling(metrics, ceiling)})
    return str(frame.map(lambda value: "-" if pd.isna(value) else f"{value:.4f}").to_string())


def _record(
    record: dict[str, Any],
    parts: Parts,
    overrides: list[str],
    metrics: dict[str, Any],
    ceiling: dict[str, Any] | None,
) -> dict[str, Any]:
    same = ("arm", "seed", "config_hash", "weights", "threshold")
    return {
        "status": "complete",
        **{name: record[name] for name in same},
        "overrides": overrides,
        "data": parts.data.describe(),
        "data_hash": parts.data.data_hash(),
        "metrics": metrics,
        "ceiling": ceiling,
        "environment": describe_environment(parts.device, parts.precision),
    }


def _new_folder(run: Path, name: str | None, overrides: list[str]) -> Path:
    """Create and return a new folder below `evaluations/`."""
    base = re.sub(r"[^\w.=,-]", "-", name or ",".join(overrides))[:120]
    for number in range(1, 10_000):
        folder = run / EVALUATIONS / (base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise InputError(f"{run / EVALUATIONS / base} exists 10 000 times: choose another name=...")
