"""Run record `record.json` (schema 3): the arm, the data, the environment and the results of a run."""

from __future__ import annotations

import json
import math
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import xray_tl
from xray_tl.errors import InputError
from xray_tl.store.files import write_text

SCHEMA = 3
"""Increased whenever the meaning of a field, or the way a result is computed, changes. Schema 1 standardised
each feature without a limit, estimated BatchNorm in the order of files, and computed frozen stages in the
run's precision. Schema 2 trained the heads of frozen backbones, and source weights knew one image size."""
RECORD = "record.json"
PREDICTIONS = "predictions.csv"
SPLIT = "split.csv"
EVALUATIONS = "evaluations"
"""Subfolder of a run's folder that holds its later tests."""


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write a run's record atomically; numbers that are not finite become null."""
    text = json.dumps({"schema": SCHEMA, **finite(record)}, indent=2, allow_nan=False)
    write_text(folder / RECORD, text + "\n")


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read a run's record; `None` if there is none.

    Raises:
        InputError: The record is damaged, or has a newer schema.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = int(record["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a run record: {error}") from error
    check_schema(schema, path)
    return dict(record)


def check_schema(schema: int, path: Path) -> None:
    """Raise an error if a record was written by a newer version.

    Raises:
        InputError: `schema` is newer than this version knows.
    """
    if schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, newer than {SCHEMA}, which this version reads: update xray_tl"
        )


def check_exact(record: dict[str, Any], run: Path) -> None:
    """Raise an error if this version cannot reproduce a run: its frozen stages were computed in bf16.

    Raises:
        InputError: The run is of this kind.
    """
    in_bf16 = (record.get("environment") or {}).get("precision") == "bf16-mixed"
    if record["schema"] < 2 and in_bf16 and record["arm"]["mode"] not in ("finetune", "discriminative"):
        raise InputError(
            f"run={run} was made by an earlier version, which computed frozen stages in bf16, while this one "
            "computes them in fp32: train it again"
        )


def finite(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    """Return a JSON value with None in place of each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def git_revision() -> str | None:
    """Return the checkout's git revision, read once: the running code is what was imported then."""
    checkout = Path(xray_tl.__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
