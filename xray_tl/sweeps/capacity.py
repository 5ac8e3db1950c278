"""How many jobs this machine does at once: its devices, cores and memory; no torch at import."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from xray_tl.data.films.processes import own_cores
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

MEMORY_PER_JOB_GB = 4.0
"""Memory for fine-tuning VGG16 at 224 px, the largest need of the registered backbones, in GB."""

OWN_GROUPS = Path("/proc/self/cgroup")
"""File with the control groups of this process: number, controllers (none: version 2), path."""
GROUPS = Path("/sys/fs/cgroup")
"""Folder of all control groups."""


def jobs_at_once(asked: int | str, devices: Sequence[str] = ()) -> int:
    """Return how many jobs run in parallel: as asked, or `auto`; at most one per core.

    `auto` is one a CUDA device; on the CPU as many as cores and memory allow.

    Raises:
        InputError: It is neither `auto` nor a number from 1.
    """
    here = len(own_cores())
    if asked == "auto":
        wanted = len(devices) or (1 if _has_mps() else int(_memory_gb() // MEMORY_PER_JOB_GB))
        return max(1, min(here, wanted))
    if not isinstance(asked, int) or asked < 1:
        raise InputError(f"hydra.launcher.jobs={asked} is not valid: choose auto or a number from 1")
    if asked > here:
        log.warning("hydra.launcher.jobs=%d is more than there are cores: %d at once", asked, here)
    elif devices and asked > len(devices):
        log.warning("hydra.launcher.jobs=%d is more than there are GPUs: some jobs share one", asked)
    return min(asked, here)


def cuda_devices() -> list[str]:
    """Return the names of the CUDA devices that this process may use, as in `CUDA_VISIBLE_DEVICES`."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()


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
