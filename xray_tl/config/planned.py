"""Questions declared before the first run (`planned`): families of contrasts of arms, and their hash.

A family is one question. A contrast is written as arms with ` - ` and ` + ` between them, or as a mapping
`{contrast: ..., metric: ..., on: ...}`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.identity import SEEDS
from xray_tl.errors import InputError

METRICS = (
    "auroc",
    "accuracy",
    "accuracy_at_threshold",
    "sensitivity",
    "specificity",
    "brier",
    "nll",
)
"""Metrics that a contrast may be of."""
TEST, TRAIN = "test", "train"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": ("model.name", "model.registry"),
    "mode": ("mode.name",),
    "weights": ("weights.source",),
    "data": ("data.name",),
    "difficulty": ("data.difficulty",),
    "shift": ("data.shift",),
    "augment": ("augment.name",),
    "optim": ("optim.name",),
    "tune": ("tune.name",),
    "trainer": ("trainer.name",),
}
"""Group that may tell arms apart -> the options that hold what was chosen of it."""
KEYS = ("contrast", "metric", "on")

Key = tuple[str, tuple[tuple[tuple[str, str], int], ...]]
"""What makes two contrasts the same: metric, and the factor of every arm on every set of images."""


@dataclass(frozen=True)
class Declared:
    """A contrast as it was declared.

    Attributes:
        weights: Name of each arm and its factor, 1 or -1, in the order in which they were written.
        metric: Name of the metric.
        on: Sets of images: one, or two whose difference is meant.
    """

    weights: tuple[tuple[str, int], ...]
    metric: str = "auroc"
    on: tuple[str, ...] = (TEST,)

    @property
    def text(self) -> str:
        """Return it as it is written: `a - b`."""
        first, *others = self.weights
        signed = [f" {'+' if factor > 0 else '-'} {name}" for name, factor in others]
        return first[0] + "".join(signed)

    @property
    def is_main(self) -> bool:
        """Tell whether it is of the AUROC on test images."""
        return self.metric == "auroc" and self.on == (TEST,)

    @property
    def key(self) -> Key:
        """Return what it shares with the same contrast in another order, or with the other sign."""
        sets = zip(self.on, (1, -1), strict=False)
        cells = {(arm, place): one * two for place, two in sets for arm, one in self.weights}
        ordered = sorted(cells.items())
        sign = ordered[0][1]
        return self.metric, tuple((cell, factor * sign) for cell, factor in ordered)

    def as_json(self) -> dict[str, str]:
        """Return it as the mapping that declares it."""
        return {"contrast": self.text, "metric": self.metric, "on": " - ".join(self.on)}


Families = Mapping[str, tuple[Declared, ...]]
"""Question -> its contrasts."""


def plan_of(cfg: DictConfig) -> dict[str, Any] | None:
    """Return what a record says of the questions declared for a run: `None` if there are none.

    Raises:
        InputError: They cannot be parsed.
    """
    families = declared(cfg)
    if not families:
        return None
    listed = {name: [contrast.as_json() for contrast in asked] for name, asked in families.items()}
    ordered = {name: sorted(asked, key=lambda row: sorted(row.items())) for name, asked in listed.items()}
    text = json.dumps(ordered, sort_keys=True)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "families": listed}


def declared(cfg: DictConfig) -> Families:
    """Return the questions that a configuration declares.

    Raises:
        InputError: They cannot be parsed.
    """
    try:
        node = OmegaConf.select(cfg, "planned", default=None)
        found = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise InputError(f"planned: {error}") from error
    return parse_families(found or {})


def parse_families(given: object, named: Callable[[str], str] | None = None) -> Families:
    """Parse families of contrasts.

    Args:
        given: Question -> list of contrasts, as YAML gives them.
        named: Returns a name in its usual form, or refuses it; by default that of an arm.

    Raises:
        InputError: They are no such mapping; a contrast cannot be parsed, names an arm twice or does not sum
            to 0, has an unknown metric, or stands there twice.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"planned={given} is no mapping of questions to lists of contrasts")
    families = {}
    for name, asked in given.items():
        if isinstance(asked, str) or not isinstance(asked, Sequence) or not asked:
            raise InputError(f"planned: {name} must be a list of contrasts, such as [arm - other]")
        families[str(name)] = tuple(_parse(item, f"planned: {name}", named or arm_name) for item in asked)
    seen: dict[Key, str] = {}
    for name, contrast in ((name, contrast) for name, asked in families.items() for contrast in asked):
        if contrast.key in seen:
            raise InputError(f'planned: {name}: "{contrast.text}" is asked already, in {seen[contrast.key]}')
        seen[contrast.key] = name
    return families


def _parse(item: object, where: str, named: Callable[[str], str]) -> Declared:
    given = {"contrast": item} if isinstance(item, str) else item
    if isinstance(given, Mapping):
        given = {"on" if key is True else key: value for key, value in given.items()}  # YAML's reading of on
    if not isinstance(given, Mapping) or "contrast" not in given:
        raise InputError(
            f"{where}: {item} is no contrast: write arm - other, or {{contrast: ..., metric: ...}}"
        )
    unknown = [key for key in given if key not in KEYS]
    if unknown:
        raise InputError(f"{where}: {unknown[0]} is not known: choose from {', '.join(KEYS)}")
    text, metric = str(given["contrast"]).strip(), str(given.get("metric", "auroc"))
    of = f'{where}: "{text}"'
    if metric == "ece":
        raise InputError(f"{of}: metric=ece has no p value: choose from {', '.join(METRICS)}")
    if metric not in METRICS:
        raise InputError(f"{of}: metric={metric} is not known: choose from {', '.join(METRICS)}")
    sets = tuple(str(given.get("on", TEST)).split(" - "))
    if len(sets) > 2 or (sets[1:] and sets[1] != TEST) or sets in ((TRAIN,), (TEST, TEST)) or not all(sets):
        raise InputError(
            f'{of}: on={given["on"]} is not valid: choose {TEST}, a shift, "{TRAIN} - {TEST}" or '
            f'"SHIFT - {TEST}"'
        )
    first, *others = re.split(r"\s+([-+])\s+", text)
    names = [named(name.strip()) for name in (first, *others[1::2])]
    if not all(names):
        raise InputError(f'{of} cannot be read: write arms with " - " and " + " between them')
    factors = [1, *(1 if sign == "+" else -1 for sign in others[::2])]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{of} names {twice[0]} twice")
    if sum(factors) and len(sets) == 1:
        raise InputError(f"{of} does not sum to 0: as many arms with - as with + make a difference")
    return Declared(tuple(zip(names, factors, strict=True)), metric, sets)


def arm_name(text: str) -> str:
    """Return an arm's name in its usual form: a file in `conf/arm`, then options in their order.

    Raises:
        InputError: It has two names, or none and no option.
    """
    words = text.split()
    bare = [word for word in words if "=" not in word]
    if len(bare) > 1 or (bare and words[0] != bare[0]):
        raise InputError(
            f'planned: "{text}" is no arm: write a file of conf/arm, options (mode=frozen) or both, and '
            '" - " or " + " between arms'
        )
    return " ".join([*bare, *sorted(word for word in words if "=" in word)])


def split_arm(name: str) -> tuple[str | None, dict[str, str]]:
    """Split an arm's name into its file in `conf/arm`, if it names one, and its options."""
    words = name.split()
    options = dict(word.split("=", 1) for word in words if "=" in word)
    return next((word for word in words if "=" not in word), None), options


def check_names(cfg: DictConfig, files: Callable[[str], Sequence[str]]) -> None:
    """Check that every arm and every shift of the declared questions is known.

    An arm that this command leaves out is known all the same.

    Args:
        cfg: A configuration: of a run, or what the jobs of a sweep share.
        files: Returns the names of a group's files.

    Raises:
        InputError: A name is not known, or the questions cannot be parsed.
    """
    listed = cache(files)
    for family, asked in declared(cfg).items():
        for contrast in asked:
            where = f'planned: {family}: "{contrast.text}"'
            for name, _ in contrast.weights:
                _check_arm(name, where, cfg, listed)
            for place in contrast.on:
                known = sorted({*listed("shift")} - {"none"})
                if place not in (TEST, TRAIN, *known):
                    raise InputError(f"{where}: {place} is no shift: choose from {', '.join(known)}")


def _check_arm(name: str, where: str, cfg: DictConfig, files: Callable[[str], Sequence[str]]) -> None:
    file, options = split_arm(name)
    if file is not None and file not in files("arm"):
        raise InputError(f"{where} names no arm: {file} is not one of {', '.join(sorted(files('arm')))}")
    for option, value in options.items():
        if option in GROUPS:
            if value not in files(option):
                raise InputError(
                    f"{where} names no arm: {option}={value} is not one of {', '.join(sorted(files(option)))}"
                )
        elif "." not in option or option in SEEDS or not _has(cfg, option):
            groups = ", ".join(GROUPS)
            raise InputError(
                f"{where} names no arm: {option} is no option that tells arms apart: choose from {groups}, "
                "or one of theirs, such as data.n_train"
            )


def _has(cfg: DictConfig, option: str) -> bool:
    group, _, key = option.rpartition(".")
    node = OmegaConf.select(cfg, group, default=None)
    return OmegaConf.is_dict(node) and key in node
