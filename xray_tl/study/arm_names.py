"""The options that distinguish the arms of a study, and their short names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from xray_tl.config.identity import SEEDS

UNNAMED = (*SEEDS, "shifts", "planned", "rungs", "arm_file", "feature_cache", "logger", "hydra")
"""Options that never distinguish arms."""


def options_of(folder: Path) -> dict[str, Any]:
    """Read a run's configuration as `group.option` -> value."""
    path = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, YAMLError, OmegaConfBaseException):
        return {}
    return _flat({str(k): v for k, v in config.items()}) if isinstance(config, dict) else {}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in UNNAMED or key.startswith(tuple(f"{name}." for name in UNNAMED)):
            continue
        flat |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return flat


def differing(own: Mapping[str, Any], twins: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options of an arm that differ from the most common value among its twins (itself included).

    For a group whose `name` differs, such as `augment`, only the name is returned.
    """
    found = {
        key: value for key, value in own.items() if not _is_usual(value, [twin.get(key) for twin in twins])
    }
    named = {key.rsplit(".", 1)[0] for key in found if key.endswith(".name")}
    return {
        key: value
        for key, value in found.items()
        if key.endswith(".name") or key.rsplit(".", 1)[0] not in named
    }


def _is_usual(value: object, among: list[object]) -> bool:
    """Tell whether this value is more common than any other."""
    counts = Counter(map(repr, among))
    (usual, most), *others = counts.most_common(2)
    return repr(value) == usual and not (others and others[0][1] == most)


def short_name(name: str) -> str:
    """Return an option's last part as its name or, if that is not clear, its group or its full name."""
    group, _, last = name.rpartition(".")
    if last == "name" and group:
        return group
    return name if last in ("seed", "source") else last
