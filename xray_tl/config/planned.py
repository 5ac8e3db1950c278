"""Questions declared before the first run (`planned`): families of contrasts of arms, and their hash.

A family is one question. A contrast is written as arms with ` - ` and ` + ` between them, or as a mapping
`{contrast: ..., metric: ..., on: ...}`. The question which of some arms is best, `[{best: [...]}]`, has
all of their pairs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.named_arms import arm_name, check_arm
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
SHARED = ("metric", "on")
KEYS = ("contrast", *SHARED)
BEST = "best"

Key = tuple[str, tuple[tuple[tuple[str, str], int], ...]]
"""What makes two contrasts the same: metric, and the factor of every arm on every set of images."""


@dataclass(frozen=True)
class Declared:
    """A contrast as it was declared.

    Attributes:
        weights: Name of each arm and its factor, 1 or -1, in the order in which they were written.
        metric: Name of the metric.
        on: Sets of images: one, or two whose difference is meant.
        of_best: Whether its question is which arm is best: an arm that is beaten then needs no more seeds.
    """

    weights: tuple[tuple[str, int], ...]
    metric: str = "auroc"
    on: tuple[str, ...] = (TEST,)
    of_best: bool = False

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
    listed = {name: _listed(asked) for name, asked in families.items()}
    ordered = {name: _ordered(asked) for name, asked in listed.items()}
    text = json.dumps(ordered, sort_keys=True)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "families": listed}


def _listed(asked: Sequence[Declared]) -> list[dict[str, Any]]:
    """Return a question as it may be declared."""
    if not asked[0].of_best:
        return [contrast.as_json() for contrast in asked]
    arms = dict.fromkeys(name for contrast in asked for name, _ in contrast.weights)
    return [{BEST: list(arms), "metric": asked[0].metric, "on": asked[0].on[0]}]


def _ordered(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a question in an order that does not depend on how it was written."""
    rows = [{**row, BEST: sorted(row[BEST])} if BEST in row else dict(row) for row in listed]
    return sorted(rows, key=lambda row: sorted(row.items()))


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
        given: Question -> list of contrasts, or a list of `{best: [...]}` alone, as YAML gives them.
        named: Returns a name in its usual form, or refuses it; by default that of an arm.

    Raises:
        InputError: They are no such mapping; a contrast cannot be parsed, names an arm twice or does not sum
            to 0, has an unknown metric, or stands there twice.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"planned={given} is no mapping of questions to lists of contrasts")
    families = {}
    for name, asked in given.items():
        where = f"planned: {name}"
        if isinstance(asked, str) or not isinstance(asked, Sequence) or not asked:
            raise InputError(
                f"{where} must be a list of contrasts, such as [arm - other], or [{{best: [arm, other]}}]"
            )
        if any(isinstance(item, Mapping) and BEST in item for item in asked):
            families[str(name)] = _parse_best(asked, where, named or arm_name)
        else:
            families[str(name)] = tuple(_parse(item, where, named or arm_name) for item in asked)
    seen: dict[Key, str] = {}
    for name, contrast in ((name, contrast) for name, asked in families.items() for contrast in asked):
        if contrast.key in seen:
            what = f'best holds "{contrast.text}", which' if contrast.of_best else f'"{contrast.text}"'
            raise InputError(f"planned: {name}: {what} is asked already, in {seen[contrast.key]}")
        seen[contrast.key] = name
    return families


def _parse_best(asked: Sequence[Any], where: str, named: Callable[[str], str]) -> tuple[Declared, ...]:
    """Return all pairs of some arms, whose question is which of them is best."""
    if len(asked) > 1:
        raise InputError(f"{where}: best asks about its arms alone: other contrasts are another question")
    given = _with_on(asked[0])
    unknown = [key for key in given if key not in (BEST, *SHARED)]
    if unknown:
        raise InputError(f"{where}: {unknown[0]} is not known: choose from best, metric, on")
    arms = given[BEST]
    listed = isinstance(arms, Sequence) and all(isinstance(arm, str | float | int) for arm in arms)
    if isinstance(arms, str) or not listed or len(arms) < 2:
        raise InputError(f"{where}: best={arms} is no list of two or more arms: write {{best: [arm, other]}}")
    signed = [arm for arm in map(str, arms) if re.search(r"\s[-+]\s", arm)]
    if signed:
        raise InputError(f'{where}: best ranks arms, and "{signed[0]}" is a contrast: write [arm, other]')
    if " - " in str(given.get("on", TEST)):
        raise InputError(f"{where}: on={given['on']}: arms are ranked on one set of images")
    shared = {key: given[key] for key in SHARED if key in given}
    pairs = [{"contrast": f"{one} - {two}", **shared} for one, two in combinations(arms, 2)]
    return tuple(replace(_parse(pair, where, named), of_best=True) for pair in pairs)


def _with_on(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a mapping with the key `on`, which YAML reads as true."""
    return {"on" if key is True else key: value for key, value in given.items()}


def _parse(item: object, where: str, named: Callable[[str], str]) -> Declared:
    given = {"contrast": item} if isinstance(item, str) else item
    if isinstance(given, Mapping):
        given = _with_on(given)
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
                check_arm(name, where, cfg, listed)
            for place in contrast.on:
                known = sorted({*listed("shift")} - {"none"})
                if place not in (TEST, TRAIN, *known):
                    raise InputError(f"{where}: {place} is no shift: choose from {', '.join(known)}")
