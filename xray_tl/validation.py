"""Checks of a composed configuration that types cannot express; no torch, so that they come first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from xray_tl.errors import InputError

Check = tuple[Callable[[Any], bool], str]


def one_of(*names: str) -> Check:
    """Accept the named choices only."""
    return (lambda value: value in names, "one of " + ", ".join(names))


def at_least(low: float) -> Check:
    """Accept numbers from `low` upwards."""
    return (lambda value: value >= low, f"at least {low:g}")


def between(low: float, high: float, *, closed: str = "") -> Check:
    """Accept numbers between `low` and `high`; `closed` names the ends that count too ("low", "high")."""

    def accept(value: float) -> bool:
        return (value > low or ("low" in closed and value == low)) and (
            value < high or ("high" in closed and value == high)
        )

    ends = ("[" if "low" in closed else "(") + f"{low:g}, {high:g}" + ("]" if "high" in closed else ")")
    return (accept, f"in {ends}")


POSITIVE: Check = (lambda value: value > 0, "more than 0")

CHECKS: dict[str, Check] = {
    "model.stem": one_of("repeat", "convert"),
    "model.memory_format": one_of("channels_last", "contiguous"),
    "mode.name": one_of("finetune", "frozen", "partial", "lp_ft", "gradual", "discriminative"),
    "mode.head_lr": POSITIVE,
    "mode.trainable_stages": at_least(1),
    "mode.unfreeze_every": at_least(1),
    "mode.head_epochs": between(0, 1),
    "mode.head_tolerance": at_least(0),
    "mode.layer_decay": between(0, 1, closed="high"),
    "weights.source": one_of("auto", "imagenet", "random", "file"),
    "weights.timeout_s": POSITIVE,
    "data.batch_size": at_least(2),
    "data.num_workers": at_least(0),
    "data.memory_limit_gb": at_least(0),
    "optim.name": one_of("adamw"),
    "optim.lr": POSITIVE,
    "optim.weight_decay": at_least(0),
    "optim.warmup": between(0, 1, closed="low"),
    "optim.schedule": one_of("cosine", "constant"),
    "optim.clip_norm": POSITIVE,
    "optim.label_smoothing": between(0, 1, closed="low"),
    "optim.class_weights": one_of("none", "balanced"),
    "trainer.max_epochs": at_least(1),
    "trainer.accelerator": one_of("auto", "cuda", "mps", "cpu"),
    "trainer.precision": one_of("auto", "32", "bf16"),
    "trainer.early_stopping": at_least(1),
    "trainer.threads": at_least(1),
    "logger.name": one_of("tensorboard", "none"),
    "logger.example_images": at_least(0),
}

MODE_NEEDS = {
    "partial": ("trainable_stages",),
    "gradual": ("unfreeze_every",),
    "lp_ft": ("head_epochs", "head_tolerance"),
    "discriminative": ("layer_decay",),
}


def validate(cfg: DictConfig) -> None:
    """Check a run's configuration before anything is built.

    Raises:
        InputError: An option is missing or outside its valid values; the message names both.
    """
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise InputError(f"{missing[0]} must be given on the command line ({missing[0]}=...)")
    for key, (accept, valid) in CHECKS.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and not accept(value):
            raise InputError(f"{key}={value} is not valid: choose {valid}")
    for option in MODE_NEEDS.get(cfg.mode.name, ()):
        if cfg.mode[option] is None:
            raise InputError(
                f"mode={cfg.mode.name} needs mode.{option}: choose {CHECKS[f'mode.{option}'][1]}"
            )
    if cfg.seed < 0:
        raise InputError(f"seed={cfg.seed} is not valid: choose at least 0")
