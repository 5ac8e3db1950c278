"""How often a sweep was looked at, and with how many seeds: `looks.csv` in its folder; no torch.

A report is a look at differences. More seeds, added because of what it says, are judged by a second look,
and each has its own chance of an error. A report of the same records as the last one is no new look: its row,
with the time of the first, stands for both. A summary of runs that allow no report is none.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from xray_tl.errors import RunError
from xray_tl.report.tasks import TERMS
from xray_tl.statistics.wording import second_look_text
from xray_tl.store.files import write_text
from xray_tl.study.analysis import StudyAnalysis

log = logging.getLogger(__name__)

LOOKS = "looks.csv"
COLUMNS = ("time", "seeds", "images", "runs", "records")
"""When (UTC); the most seeds that a pair shares; test images; complete runs; a hash of what they are."""


def note_look(folder: Path, done: StudyAnalysis) -> list[str]:
    """Add a look at a sweep, unless it is at the same records as the last; return what is to be said.

    A file that cannot be read stays as it is; one that cannot be written costs a line in the log.

    Args:
        folder: The sweep's folder.
        done: What is looked at.

    Returns:
        That the sweep was looked at with different numbers of seeds or images; or that it is not known.
    """
    path = folder / LOOKS
    try:
        looks = _read(path)
    except (OSError, ValueError) as error:  # pandas' own errors, and what is no text, are ValueErrors
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        text = f"{LOOKS} cannot be read, so how often this sweep was looked at is not known: {why}"
        text += " (without that file, looks count from then on)"
        log.warning("%s", text)
        return [text]
    now = _look(done)
    if looks.empty or looks["records"].iloc[-1] != now["records"]:
        looks = pd.concat([looks, pd.DataFrame([now], dtype=str)], ignore_index=True)
        try:
            write_text(path, looks.to_csv(index=False))
        except (OSError, RunError) as error:
            log.warning("%s cannot be written: %s", path, error)
    return _said(looks)


def _read(path: Path) -> pd.DataFrame:
    """Read the looks so far, oldest first; none where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS), dtype=str)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    absent = [column for column in COLUMNS if column not in table]
    if absent:
        raise ValueError(f"it has no column {', '.join(absent)}")
    pd.to_numeric(table["seeds"]), pd.to_datetime(table["time"], format="ISO8601")
    return table


def _look(done: StudyAnalysis) -> dict[str, str]:
    """Return the row of a look now."""
    analysis, runs = done.comparison.analysis, done.study.runs
    complete = runs[runs["status"] == "complete"]
    found = complete[["run_dir", "config_hash", "test_auroc"]].sort_values("run_dir")
    estimates = (analysis.pairs or analysis.arms).values()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": str(max(estimate.readers for estimate in estimates)),
        "images": str(done.comparison.readings.cases),
        "runs": str(len(complete)),
        "records": hashlib.sha256(found.to_csv(index=False).encode()).hexdigest()[:16],
    }


def _said(looks: pd.DataFrame) -> list[str]:
    """Name the looks, where they were with different numbers of seeds or images."""
    sizes = looks[["seeds", "images"]]
    changed = looks[(sizes != sizes.shift()).any(axis=1)]
    if len(changed) < 2:
        return []
    each = "; ".join(
        f"{row.seeds} seeds, {row.images} images ({str(row.time)[:16].replace('T', ' ')} UTC)"
        for row in changed.itertuples()
    )
    return [f"looked at {len(changed)} times with different numbers: {each}. {second_look_text(TERMS)}"]
