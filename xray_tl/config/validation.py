"""Checks of a composed configuration that types cannot express, done before torch is imported.

The names in a registry (backbones, modes, findings, weights) are checked by the registry.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.planned import declared
from xray_tl.config.rungs import rungs_of
from xray_tl.errors import InputError, refusal


class Range(NamedTuple):
    """An interval; both ends are included unless `open_ends` names them."""

    low: float
    high: float = inf
    open_ends: str = ""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        above = value > self.low if "low" in self.open_ends else value >= self.low
        below = value < self.high if "high" in self.open_ends else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == inf:
            return f"{'more than' if 'low' in self.open_ends else 'at least'} {self.low:g}"
        left = "(" if "low" in self.open_ends else "["
        right = ")" if "high" in self.open_ends else "]"
        return f"in {left}{self.low:g}, {self.high:g}{right}"


class Choice(tuple[str, ...]):
    """The allowed values of an option."""

    def __str__(self) -> str:
        return "one of " + ", ".join(self)


POSITIVE = Range(0, open_ends="low")
BUDGET = Choice(("small", "full"))

CHECKS: dict[str, Range | Choice] = {
    "seed": Range(0),
    "model.depth": Range(1),
    "model.dropout": Range(0, 1, "high"),
    "model.head_dropout": Range(0, 1, "high"),
    "model.memory_format": Choice(("channels_last", "contiguous")),
    "mode.head_lr": POSITIVE,
    "mode.unfreeze_every": Range(1),
    "mode.lora_rank": Range(1),
    "mode.head": Choice(("solved", "trained")),
    "mode.layer_decay": Range(0, 1, "low"),
    "weights.budget": BUDGET,
    "weights.timeout_s": POSITIVE,
    "feature_cache": Choice(("auto", "off")),
    "batch_size": Range(1),
    "data.batch_size": Range(3),  # no batch then holds a single image, as batches differ by one
    "data.num_workers": Range(0),
    "data.memory_limit_gb": Range(0),
    "augment.degrees": Range(0, 180),
    "augment.translate": Range(0, 1),
    "augment.scale": Range(0, 1, "high"),
    "augment.brightness": Range(0),
    "augment.contrast": Range(0),
    "augment.noise": Range(0),
    "optim.name": Choice(("adamw",)),
    "optim.lr": POSITIVE,
    "optim.weight_decay": Range(0),
    "optim.warmup": Range(0, 1, "high"),
    "optim.schedule": Choice(("cosine", "constant")),
    "optim.clip_norm": POSITIVE,
    "optim.label_smoothing": Range(0, 1, "high"),
    "optim.class_weights": Choice(("none", "balanced")),
    "optim.sampling": Choice(("balanced",)),
    "trainer.max_epochs": Range(1),
    "trainer.accelerator": Choice(("auto", "cuda", "mps", "cpu")),
    "trainer.precision": Choice(("auto", "32", "bf16")),
    "trainer.early_stopping": Range(1),
    "trainer.threads": Range(1),
    "logger.name": Choice(("tensorboard", "none")),
    "logger.example_images": Range(0),
    "readers": Choice(("random", "fixed")),
    "cases": Choice(("random", "fixed")),
    "margin": Range(0),
    "effect": POSITIVE,
    "level": Range(0, 1, "low high"),
    "format": Choice(("text", "json")),
}
"""Option -> allowed values; None is allowed where the schema allows it."""

MODE_NEEDS = {
    "partial": ("trainable_stages",),
    "surgical": ("stage",),
    "lora": ("lora_rank",),
    "gradual": ("unfreeze_every",),
    "discriminative": ("layer_decay",),
}


def validate(cfg: DictConfig) -> None:
    """Check a run's configuration before anything is built.

    Raises:
        InputError: An option is missing or outside its valid values; the message names both.
    """
    check_values(cfg)
    declared(cfg)
    rungs_of(cfg)
    for option in MODE_NEEDS.get(cfg.mode.name, ()):
        if cfg.mode[option] is None:
            raise InputError(f"mode={cfg.mode.name} needs a value: mode.{option}=...")
    sampling = OmegaConf.select(cfg, "optim.sampling")  # runs of earlier versions have none
    if cfg.optim.class_weights == sampling == "balanced":
        raise InputError("optim.class_weights=balanced optim.sampling=balanced corrects twice: choose one")
    _check_head(cfg, sampling)
    _check_tuning(cfg)


def _check_head(cfg: DictConfig, sampling: str | None) -> None:
    """Check that a solved head has a frozen backbone, and nothing that only training could use."""
    if OmegaConf.select(cfg, "mode.head") != "solved":
        return
    if cfg.mode.name != "frozen":
        raise InputError(f"mode.head=solved is for mode=frozen: in mode={cfg.mode.name} the head trains")
    wanted = {
        "augment": any(value for key, value in cfg.augment.items() if key != "name"),
        f"optim.sampling={sampling}": sampling is not None,
        f"model.head_dropout={cfg.model.head_dropout:g}": cfg.model.head_dropout > 0,
    }
    for option, given in wanted.items():
        if given:
            raise InputError(
                f"{option} is for a head that trains, and mode=frozen solves it from every image once: "
                "leave it out, or choose mode.head=trained"
            )
    if not cfg.mode.standardise:
        raise InputError("mode.standardise=false is for a head that trains: choose mode.head=trained")


def _check_tuning(cfg: DictConfig) -> None:
    pairs, seeds = (OmegaConf.select(cfg, f"tune.{key}", default=[]) for key in ("rates", "seeds"))
    for pair in pairs:
        if not (OmegaConf.is_list(pair) and len(pair) == 2 and all(rate in POSITIVE for rate in pair)):
            raise InputError(f"tune.rates has {pair}: each is a pair of positive rates, [backbone, head]")
    if pairs and not seeds:
        raise InputError("tune.rates needs tune.seeds: the training seeds to try them with")
    if cfg.seed in seeds:
        raise InputError(f"seed={cfg.seed} is one of tune.seeds={seeds}, which chose the rates: take another")


def check_values(cfg: DictConfig) -> None:
    """Check the values of the options of `CHECKS` that a command's configuration has.

    Raises:
        InputError: An option is missing or outside its valid values; the message names both.
    """
    require(cfg)
    for key, allowed in CHECKS.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in allowed:
            raise InputError(f"{key}={value} is not valid: choose {allowed}")


def check_image_size(size: int) -> None:
    """Check that an image's side, pixels, is valid.

    Raises:
        InputError: It is not a multiple of 16, or is smaller than 32.
    """
    if size >= 32 and size % 16 == 0:
        return
    below = max(size // 16 * 16, 32)
    nearest = f"the nearest are {below} and {below + 16}" if size > 32 else "the smallest is 32"
    problem = "is not a multiple of 16" if size > 32 else "is too small"
    raise InputError(f"data.image_size={size} {problem}: {nearest}")


def require(cfg: DictConfig) -> None:
    """Check that every mandatory option was given.

    Raises:
        InputError: An option is missing or empty, or a resolver raised an error.
    """
    try:
        missing = OmegaConf.missing_keys(cfg)
    except OmegaConfBaseException as error:
        raise refusal(error) or error from error
    for key in sorted(missing):
        raise InputError(f"{key} must be given on the command line: {key}=...")
    for key in _empty(cfg):
        raise InputError(f"{key}= is empty (a shell variable that is not set?): give a value, or null")


def _empty(node: DictConfig, before: str = "") -> Iterator[str]:
    """Yield the options whose value is an empty string: as a path it would mean the current folder."""
    for key in map(str, node):
        try:
            value = None if OmegaConf.is_missing(node, key) else node[key]
        except OmegaConfBaseException:  # an interpolation that is refused where it is used
            continue
        if isinstance(value, DictConfig):
            yield from _empty(value, f"{before}{key}.")
        elif value == "":
            yield f"{before}{key}"
