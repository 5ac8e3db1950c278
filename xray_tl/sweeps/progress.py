"""Progress of a sweep: number of jobs, jobs in parallel, jobs done, and time left; no torch."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from omegaconf import DictConfig

from xray_tl.data.films.processes import own_cores
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

MEMORY_PER_JOB_GB = 4.0
"""Memory for fine-tuning VGG16 at 224 px, the largest need of the registered backbones, in GB."""

OWN_GROUPS = Path("/proc/self/cgroup")
"""File with the control groups of this process: number, controllers (none: version 2), path."""
GROUPS = Path("/sys/fs/cgroup")
"""Folder of all control groups."""

SKIPPED_S = 1.0
"""First jobs that end within this time were complete already; the estimate of time left ignores them."""


def jobs_at_once(asked: int | str) -> int:
    """Return how many jobs run in parallel: as asked, or `auto` by memory; at most one per core.

    On an accelerator `auto` is one: how much of its memory several jobs would need is not known.

    Raises:
        InputError: It is neither `auto` nor a number from 1.
    """
    here = len(own_cores())
    if asked == "auto":
        return 1 if _accelerated() else max(1, min(here, int(_memory_gb() // MEMORY_PER_JOB_GB)))
    if not isinstance(asked, int) or asked < 1:
        raise InputError(f"hydra.callbacks.summary.jobs={asked} is not valid: choose auto or a number from 1")
    if asked > here:
        log.warning("hydra.callbacks.summary.jobs=%d is more than there are cores: %d at once", asked, here)
    return min(asked, here)


def _accelerated() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _memory_gb() -> float:
    """Return the memory in GB that this machine has, or that this process's job or container may use."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return MEMORY_PER_JOB_GB
    return min([size, *_memory_limits()]) / 1e9


def _memory_limits() -> list[int]:
    """Return the memory limits, bytes, of this process's control group and of every group that it is in."""
    limits = []
    lines = OWN_GROUPS.read_text(encoding="utf-8").splitlines() if OWN_GROUPS.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        place = GROUPS / "memory.max"
        if "memory" in controllers.split(","):
            place = GROUPS / "memory" / "memory.limit_in_bytes"
        elif controllers:
            continue
        group = Path(path.lstrip("/"))
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # not mounted, or `max`
                limits.append(int((place.parent / folder / place.name).read_text()))
    return limits


def count_jobs(config: DictConfig) -> int | None:
    """Return the number of jobs of a sweep; `None` if it is not known in advance."""
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith("BasicSweeper"):
        return None
    lines = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    values = {}
    for override in OverridesParser.create().parse_overrides([*lines, *config.hydra.overrides.task]):
        if isinstance(override.value(), Glob):  # only Hydra knows how many values it has
            return None
        sweep = override.is_discrete_sweep()
        values[override.get_key_element()] = len(list(override.sweep_string_iterator())) if sweep else 1
    total = 1
    for count in values.values():
        total *= count
    return total


class Progress:
    """Reports after each job how many are done and how much time is left.

    Args:
        total: Number of jobs, if it is known.
        at_once: How many of them run in parallel.
    """

    def __init__(self, total: int | None, at_once: int = 1) -> None:
        self.total, self.at_once = total, at_once
        self.done, self.failed = 0, 0
        self._worked = 0
        self._start = self._last = time.monotonic()

    def job_ended(self, *, failed: bool) -> str:
        """Count a job; return the line to show."""
        now = time.monotonic()
        self.done += 1
        self.failed += failed
        self._worked += bool(self._worked) or now - self._last >= SKIPPED_S
        self._last = now
        parts = [f"{self.done} of {self.total or '?'} jobs done"]
        if self.failed:
            parts.append(f"{self.failed} of them failed")
        if self.total and self.total > self.done:
            left = self.total - self.done
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
