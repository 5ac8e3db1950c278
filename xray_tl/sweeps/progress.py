"""Progress of a sweep: runs done, and time left; no torch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xray_tl.store.run_folder import unfinished

SKIPPED_S = 1.0
"""First jobs that end within this time were complete already; the estimate of time left ignores them."""


class Progress:
    """Reports after each job how many runs are done and how much time is left.

    Args:
        folder: The sweep's folder; runs that are complete there already are done.
        shifts: Name of a run -> shifts on which it is tested too; it grows while jobs are composed.
        at_once: How many runs go on in parallel.
    """

    def __init__(self, folder: Path, shifts: Mapping[str, Sequence[str]], at_once: int = 1) -> None:
        self.folder, self.shifts, self.at_once = folder, shifts, at_once
        self._failed: dict[str, bool] = {}
        self.restart()

    def restart(self, at_once: int = 1) -> None:
        """Begin to count time, and the jobs that took it: jobs start now."""
        self.at_once, self._worked = at_once, 0
        self._start = self._last = time.monotonic()

    def job_ended(self, name: str, *, failed: bool) -> str:
        """Count a job; return the line to show."""
        now = time.monotonic()
        self._failed[name] = failed
        self._worked += bool(self._worked) or now - self._last >= SKIPPED_S
        self._last = now
        others = {own: names for own, names in self.shifts.items() if own not in self._failed}
        before = sum(unfinished(self.folder / own, names) is None for own, names in others.items())
        done, failures = len(self._failed) + before, sum(self._failed.values())
        total = max(len(self.shifts), done)
        parts = [f"{done} of {total} runs done"]
        if failures:
            parts.append(f"{failures} of them failed")
        if left := total - done:
            if self.at_once > 1:
                parts.append(f"{min(left, self.at_once)} running")
            if self._worked:
                parts.append(f"about {_span((now - self._start) / self._worked * left)} left")
        return "sweep: " + ", ".join(parts)


def _span(seconds: float) -> str:
    """Return a time as rounded text: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
