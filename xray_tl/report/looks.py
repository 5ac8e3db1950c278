"""Log of the looks at a sweep's results: when, and with how many seeds (`looks.csv`); no torch.

A report is a look at the differences. If seeds are added because of its result, a second look judges them,
and each look has its own chance of an error. A report of the same records as the last one is no new look: the
row with the time of the first one stands for both. A summary of runs that allow no report is no look.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from xray_tl.errors import RunError
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.wording import Terms, second_look_text
from xray_tl.store.files import write_text
from xray_tl.study.analysis import StudyAnalysis

log = logging.getLogger(__name__)

LOOKS = "looks.csv"
COLUMNS = ("time", "seeds", "images", "runs", "records")
"""Time (UTC); largest number of seeds that a pair shares, those of one pretraining counted too; test images;
complete runs; hash of these runs."""


def note_look(folder: Path, done: StudyAnalysis) -> list[str]:
    """Add a look at a sweep, unless its records are those of the last look; return remarks on the looks.

    A file that cannot be read is not changed; if it cannot be written, that is logged.

    Args:
        folder: The sweep's folder.
        done: The analysed sweep.

    Returns:
        One remark if the sweep was looked at with different numbers of seeds or images, or if the earlier
        looks are not known; else none.
    """
    path = folder / LOOKS
    try:
        looks = _read(path)
    except (OSError, ValueError) as error:  # errors of pandas and of decoding text are ValueErrors
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
    return [] if done.ladder is not None else _said(looks, done.terms)


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
    """Return the row of the present look."""
    analysis, runs = done.comparison.analysis, done.study.runs
    complete = runs[runs["status"] == "complete"]
    found = complete[["run_dir", "config_hash", "test_auroc"]].sort_values("run_dir")
    compared = analysis.pairs or [(label,) for label in analysis.arms]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": str(max(_trained(done, labels) for labels in compared)),
        "images": str(done.comparison.readings.cases),
        "runs": str(len(complete)),
        "records": hashlib.sha256(found.to_csv(index=False).encode()).hexdigest()[:16],
    }


def _trained(done: StudyAnalysis, labels: tuple[str, ...]) -> int:
    """Count the trainings on which a comparison of arms rests: those of the arm with the fewest."""
    arms = [arm for arm in done.arms if arm.label in labels and arm.readers != [NO_READER]]
    common = set.intersection(*(set(arm.readers) for arm in arms)) if arms else set()
    drawn = [{run.draw for run in arm.runs if run.reader in common} for arm in arms]
    return min(map(len, drawn), default=1)


def _said(looks: pd.DataFrame, terms: Terms) -> list[str]:
    """Return a remark that lists the looks, if their numbers of seeds or images differ."""
    sizes = looks[["seeds", "images"]]
    changed = looks[(sizes != sizes.shift()).any(axis=1)]
    if len(changed) < 2:
        return []
    word = "seed" if terms.reader == "seed" else "training"
    each = "; ".join(
        f"{row.seeds} {word}s, {row.images} images ({str(row.time)[:16].replace('T', ' ')} UTC)"
        for row in changed.itertuples()
    )
    return [f"looked at {len(changed)} times with different numbers: {each}. {second_look_text(terms)}"]
