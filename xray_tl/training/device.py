"""Device of a run: accelerator, precision, CPU threads, and their description for the record."""

from __future__ import annotations

import logging
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import lightning
import torch

import xray_tl
from xray_tl.config import TrainerConfig
from xray_tl.errors import InputError
from xray_tl.store.records import git_revision

log = logging.getLogger(__name__)

_own: int | None = None
"""The process's own number of CPU threads while a run uses another number, else `None`."""

_share: int | None = None
"""Largest number of CPU threads of a run where jobs run in parallel, else `None`."""


def choose_device(accelerator: str) -> torch.device:
    """Return the device of an accelerator; `auto` takes the first available of CUDA, MPS and CPU.

    Raises:
        InputError: The accelerator is not available.
    """
    if accelerator == "auto":
        accelerator = next(name for name, here in _present().items() if here)
    if not available(accelerator):
        here = ", ".join(name for name, there in _present().items() if there)
        raise InputError(
            f"trainer.accelerator={accelerator} is not available on this machine: choose auto or {here}"
        )
    if accelerator != "cuda":
        return torch.device(accelerator)
    # TF32 keeps only 10 bits of the fraction; fp32 means all 23 bits in this project and its records.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch.device(accelerator, 0)


def available(accelerator: str) -> bool:
    """Tell whether this machine has an accelerator; `auto` always finds one."""
    return accelerator == "auto" or _present()[accelerator]


def _present() -> dict[str, bool]:
    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}


def choose_precision(precision: str, device: torch.device, *, trunk_trains: bool = True) -> str:
    """Return Lightning's precision: for `auto`, bf16 autocast where CUDA hardware has it, else fp32.

    Args:
        precision: `auto`, `32` or `bf16`.
        device: The device that computes.
        trunk_trains: Whether any stage of the backbone trains; a frozen backbone always computes in fp32.
    """
    if not trunk_trains:
        if precision == "bf16":
            log.info("trainer.precision=bf16: a frozen backbone is computed in fp32")
        return "32-true"
    bf16 = precision == "bf16" or (
        precision == "auto"
        and device.type == "cuda"
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16-mixed" if bf16 else "32-true"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return a context manager that computes in Lightning's precision, for use outside the trainer."""
    if precision == "bf16-mixed":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def limit_threads(share: int) -> None:
    """Limit the CPU threads of every run in this process to `share`."""
    global _share
    _share = share


def set_threads(config: TrainerConfig) -> None:
    """Set the configured number of CPU threads, at most the share; without one, restore the process's own."""
    global _own
    if config.threads is None:
        if _own is not None:
            torch.set_num_threads(_own)
        _own = None
        return
    if _own is None:
        _own = torch.get_num_threads()
    threads = min(config.threads, _share or config.threads)
    if threads < config.threads:
        _warn_of_share(config.threads, threads)
    torch.set_num_threads(threads)


@cache
def _warn_of_share(asked: int, share: int) -> None:
    """Warn, once per process, that a run gets fewer threads than it asks for."""
    log.warning("trainer.threads=%d, but jobs run side by side: this one gets its share, %d", asked, share)


def describe_environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Return the record's `environment`: versions, device, precision and threads."""
    return {
        "xray_tl": xray_tl.__version__,
        "git": git_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "device": describe_device(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
    }


def describe_device(device: torch.device) -> str:
    """Return a device's type and the name of its hardware."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return f"{device.type} ({name})"
