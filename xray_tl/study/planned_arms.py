"""Arms that a plan names, and its contrasts in terms of the arms that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from yaml import YAMLError, safe_load

from xray_tl.config.named_arms import GROUPS, split_arm
from xray_tl.config.planned import TEST, Declared
from xray_tl.errors import InputError
from xray_tl.statistics.families import Contrast
from xray_tl.study.contrasts import OF_NAME, estimated_contrast
from xray_tl.study.study_folder import Arm


def is_meant(arm: Arm, name: str) -> bool:
    """Tell whether a plan means this arm: by the file in `conf/arm` and by options, those that it names."""
    file, options = split_arm(name)
    if file is not None and all(run.record.get("arm_file") != file for run in arm.runs):
        return False  # runs of earlier versions name no file
    return all(_has(arm, option, value) for option, value in options.items())


def _has(arm: Arm, option: str, value: str) -> bool:
    keys = GROUPS.get(option, (option,))
    values = [arm.settings[key] for key in keys if key in arm.settings]
    if option == "weights":  # as asked for, or what auto came to
        values.append(arm.name["weights"])
    return any(_same(value, found) for found in values)


def _same(text: str, value: object) -> bool:
    """Tell whether a value is what its text says: `1e-4` and 0.0001 are the same."""
    with suppress(ValueError):
        return float(text) == float(str(value))
    with suppress(YAMLError):
        return text == str(value) or safe_load(text) == value
    return False


def contrast_of(folder: Path, asked: Declared, found: Mapping[str, list[Arm]]) -> Contrast:
    """Return a contrast with its estimate, unless the comparison of all arms makes it, or why it has none."""
    made = Contrast(
        asked.text,
        metric="" if asked.metric == "auroc" else asked.metric.replace("_", " "),
        data="" if asked.on == (TEST,) else " - ".join(asked.on),
        of_two_sets=len(asked.on) > 1,
        higher_is_better=OF_NAME[asked.metric][1].higher_is_better,
        of_best=tuple(_called(name, arms) for name, arms in found.items()) if asked.of_best else (),
    )
    absent = [name for name, arms in found.items() if not arms]
    if absent:
        return replace(made, missing=f"no run of {', '.join(absent)}")
    many = [name for name, arms in found.items() if len(arms) > 1]
    if many:
        several = " and ".join(arm.label for arm in found[many[0]])
        return replace(made, missing=f"{many[0]} may be {several}: options tell them apart")
    labels = [found[name][0].label for name, _ in asked.weights]
    if len(set(labels)) < len(labels):
        return replace(made, missing=f"two of its names are one arm, {labels[0]}")
    weights = {label: float(factor) for label, (_, factor) in zip(labels, asked.weights, strict=True)}
    made = replace(made, name=_named(weights), weights=weights)
    if asked.is_main:
        return made
    try:
        estimate = estimated_contrast(folder, asked, weights, [some[0] for some in found.values()])
    except InputError as error:
        return replace(made, missing=str(error))
    return replace(made, estimate=estimate)


def _called(name: str, arms: Sequence[Arm]) -> str:
    """Return the label of the arm that a name means; the name, where it means none or several."""
    return arms[0].label if len(arms) == 1 else name


def _named(weights: Mapping[str, float]) -> str:
    """Return the name of a contrast: an interaction as the difference of two differences."""
    names = list(weights)
    if list(weights.values()) == [1, -1, -1, 1]:
        return f"({names[0]} - {names[1]}) - ({names[2]} - {names[3]})"
    signed = [f"{' + ' if factor > 0 else ' - '}{name}" for name, factor in weights.items()]
    return "".join(signed).removeprefix(" + ").strip()
