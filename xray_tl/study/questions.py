"""Declared questions of a sweep: which were planned before its runs, and which came later.

A contrast is planned only if its whole family stood, the same, in the plan of every run of its arms. Records
say what was declared when a run began; `multirun.yaml` says what the last command declared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from xray_tl.config.planned import Declared, Families, Key, declared, parse_families
from xray_tl.errors import InputError
from xray_tl.statistics.families import Contrast, estimated
from xray_tl.statistics.mrmc import Cells
from xray_tl.study.planned_arms import contrast_of, is_meant
from xray_tl.study.study_folder import Arm, Run

SWEEP = "multirun.yaml"
"""File in which Hydra keeps the configuration of a sweep's last command."""

Identity = frozenset[Key]
"""What makes two families the same: their contrasts."""


@dataclass(frozen=True)
class Late:
    """Contrasts that were declared when runs of their arms were there already: explored, not planned.

    Attributes:
        family: Their question.
        contrasts: The contrasts.
        since: When they were declared, as far as is known.
        older: Number of runs of their arms that began before that, under another plan or none.
        other: Number of such runs that began later.
        runs: Number of runs of their arms.
    """

    family: str
    contrasts: tuple[Contrast, ...]
    since: str
    older: int
    other: int
    runs: int

    def estimated(self, computed: Cells) -> Late:
        """Return them with the estimates of those that are of the AUROC on test images."""
        return replace(self, contrasts=tuple(estimated(computed, contrast) for contrast in self.contrasts))


@dataclass(frozen=True)
class Questions:
    """Declared questions of a sweep.

    Attributes:
        planned: Question -> its contrasts, those without a result among them.
        late: What was declared later.
        remarks: What is to be kept in mind of the plans in this folder.
    """

    planned: Mapping[str, tuple[Contrast, ...]] = field(default_factory=dict)
    late: tuple[Late, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Asked:
    """A family as it stands in some plan; `in_record`: of a run, not only of the last command."""

    name: str
    contrasts: tuple[Declared, ...]
    since: str
    in_record: bool


@dataclass(frozen=True)
class _Found:
    """A declared contrast in terms of the arms that are there, their runs, and those without its family."""

    declared: Declared
    contrast: Contrast
    runs: tuple[Run, ...]
    without: tuple[Run, ...]

    @property
    def holds(self) -> bool:
        """Tell whether its family stood in the plans of all runs of its arms, of which there are some."""
        return bool(self.runs) and not self.without


_Families = Sequence[tuple[_Asked, Sequence[_Found]]]


def questions(folder: Path, arms: Sequence[Arm]) -> Questions:
    """Read the questions that were declared for a sweep, and estimate their contrasts.

    Contrasts of the AUROC on test images are left to the comparison of all arms.

    Args:
        folder: The sweep's folder.
        arms: Arms with the same test images.
    """
    remarks: list[str] = []
    runs = [run for arm in arms for run in arm.runs]
    plans = {id(run): _plan(run, remarks) for run in runs}
    families = [
        (asked, [_found(folder, asked, contrast, arms, plans) for contrast in asked.contrasts])
        for asked in _all_asked(folder, runs, plans, remarks)
    ]
    late = _late(families)
    return Questions(_planned(families), late, (*remarks, *_of_plans(runs), *map(_said, late)))


def _planned(families: _Families) -> dict[str, tuple[Contrast, ...]]:
    """Return the families with a planned contrast; those of their contrasts that are not have no estimate.

    Nor have those that are another one in other words, as where options name an arm that a file names too.
    """
    planned: dict[str, tuple[Contrast, ...]] = {}
    seen: dict[tuple[str, str, frozenset[tuple[str, float]]], str] = {}
    for asked, listed in families:
        if not (asked.in_record and any(found.holds for found in listed)):
            continue
        name, contrasts = _free(asked.name, planned), []
        for contrast, without in ((found.contrast, found.without) for found in listed):
            first = ""
            if contrast.weights and not without:
                sign = contrast.weights[min(contrast.weights)]
                signed = frozenset((arm, factor * sign) for arm, factor in contrast.weights.items())
                place = (contrast.metric, contrast.data, signed)
                first = f"asked already, in {seen[place]}" if place in seen else ""
                seen.setdefault(place, name)
            missing = "declared later, so explored" if without else first
            contrasts.append(replace(contrast, estimate=None, missing=missing) if missing else contrast)
        planned[name] = tuple(contrasts)
    return planned


def _late(families: _Families) -> tuple[Late, ...]:
    """Return the contrasts that were not planned; of several plans that have one the last counts."""
    said = {
        found.declared.key
        for asked, listed in families
        for found in listed
        if asked.in_record and found.holds
    }
    late = []
    for asked, listed in reversed(families):
        later = [found for found in listed if found.without and found.declared.key not in said]
        said |= {found.declared.key for found in later}
        if later:
            runs = {id(run) for found in later for run in found.runs}
            without = {id(run): _began(run) for found in later for run in found.without}
            older = sum(began < asked.since for began in without.values())
            contrasts = tuple(found.contrast for found in later)
            late.append(Late(asked.name, contrasts, asked.since, older, len(without) - older, len(runs)))
    return tuple(reversed(late))


def _began(run: Run) -> str:
    """Return when a run began, in UTC; empty if its record does not say so."""
    return str(run.record.get("began") or "")


def identity(contrasts: Iterable[Declared]) -> Identity:
    """Return what makes a family the same as another."""
    return frozenset(contrast.key for contrast in contrasts)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """Return a question's name, numbered if another plan has one of the same name."""
    number = 1 + sum(other == name or other.startswith(f"{name} (") for other in taken)
    return name if number == 1 else f"{name} ({number})"


def _plan(run: Run, remarks: list[str]) -> Families:
    try:
        return parse_families((run.record.get("planned") or {}).get("families") or {})
    except (InputError, AttributeError) as error:
        remarks.append(f"{run.row['run_dir']}: what it says of declared questions cannot be read: {error}")
        return {}


def _all_asked(
    folder: Path, runs: list[Run], plans: Mapping[int, Families], remarks: list[str]
) -> list[_Asked]:
    """Return every family that stands in a plan, once, the oldest plan first, with the time since when.

    It is written as in the last plan that has it, which says too whether the question is which arm is best:
    that is no other family, and changes no verdict.
    """
    found: dict[Identity, _Asked] = {}
    for run in sorted(runs, key=_began):
        for name, contrasts in plans[id(run)].items():
            _add(found, _Asked(name, contrasts, _began(run), in_record=True))
    path = folder / SWEEP
    try:
        last = OmegaConf.load(path)
        given = declared(last) if isinstance(last, DictConfig) else {}
        since = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except (OSError, YAMLError, OmegaConfBaseException):
        given, since = {}, ""
    except InputError as error:
        remarks.append(f"{SWEEP}: {error}")
        given, since = {}, ""
    for name, contrasts in given.items():
        _add(found, _Asked(name, contrasts, since, in_record=False))
    return list(found.values())


def _add(found: dict[Identity, _Asked], asked: _Asked) -> None:
    """Add a family; of one that is there already, only how it is written now."""
    own = identity(asked.contrasts)
    found[own] = replace(found.get(own, asked), contrasts=asked.contrasts)


def _found(
    folder: Path, asked: _Asked, contrast: Declared, arms: Sequence[Arm], plans: Mapping[int, Families]
) -> _Found:
    found = {name: [arm for arm in arms if is_meant(arm, name)] for name, _ in contrast.weights}
    runs = [run for some in found.values() for arm in some for run in arm.runs]
    own = identity(asked.contrasts)
    without = [run for run in runs if own not in map(identity, plans[id(run)].values())]
    return _Found(contrast, contrast_of(folder, contrast, found), tuple(runs), tuple(without))


def _of_plans(runs: Sequence[Run]) -> list[str]:
    """Return a remark if runs of several plans, or with and without one, lie in the folder."""
    counts = Counter(((run.record.get("planned") or {}).get("sha256") or "")[:8] for run in runs)
    if len(counts) < 2:
        return []
    each = ", ".join(
        f"{count} run{'s' * (count > 1)} {f'of plan {name}' if name else 'without one'}"
        for name, count in counts.items()
    )
    return [f"more than one plan of questions in this folder: {each}"]


def _said(late: Late) -> str:
    when = late.since[:16].replace("T", " ")
    names = "; ".join(contrast.name for contrast in late.contrasts)
    counts = {"are older": late.older, "have another plan": late.other}
    why = " and ".join(f"{count} {what}" for what, count in counts.items() if count)
    return (
        f"explored, not planned: {names}. The question {late.family} stands so since {when} UTC, and of "
        f"{late.runs} runs of these arms {why}"
    )
