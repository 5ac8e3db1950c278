"""A sweep in numbers: how many jobs it has, runs at once, has done, and how much time is left; no torch."""

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
"""What a fine-tuned VGG16 takes, the largest of the registered backbones' needs at 224 px."""

MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's limit stands, in bytes: control groups of version 2 and 1."""

SKIPPED_S = 1.0
"""Jobs that end sooner after each other, before any other, were complete already: they say nothing."""


def jobs_at_once(asked: int | str) -> int:
    """Return how many jobs run side by side: as asked, `auto` as far as memory lasts; at most one a core.

    On an accelerator `auto` is one: what several would take of its memory is not known.

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
    """Return the memory that this machine has, or that its container may use."""
    try:
        sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # not on this system
        return MEMORY_PER_JOB_GB
    for path in MEMORY_LIMITS:
        with suppress(OSError, ValueError):  # not there, or `max`
            sizes.append(int(path.read_text()))
    return min(sizes) / 1e9


def count_jobs(config: DictConfig) -> int | None:
    """Return how many jobs a sweep has; `None` where that shows only as it goes."""
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith("BasicSweeper"):
        return None
    lines = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    values = {}
    for override in OverridesParser.create().parse_overrides([*lines, *config.hydra.overrides.task]):
        if isinstance(override.value(), Glob):  # Hydra alone knows what it stands for
            return None
        sweep = override.is_discrete_sweep()
        values[override.get_key_element()] = len(list(override.sweep_string_iterator())) if sweep else 1
    total = 1
    for count in values.values():
        total *= count
    return total


class Progress:
    """Says after each job how far a sweep is, and how much time is left.

    Args:
        total: How many jobs there are, if it is known.
        at_once: How many of them run side by side.
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
    """Round a time to what a reader needs: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
