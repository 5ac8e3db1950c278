"""Listing of radiographs in class folders: finds which folders are classes and which are parts of a split.

`root/CLASS/FILE`, `root/PART/CLASS/FILE` and `root/CLASS/PART/FILE` are understood, with any folders below.
If the folders can be read in two ways, nothing is guessed (`layout_doubts`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.layout_doubts import HERE, check_layout, check_others
from xray_tl.data.films.listing import Listing, is_radiograph, patient_of, root_folder, walk, with_classes
from xray_tl.data.films.names import (
    LEFT_OUT,
    as_option,
    find_name,
    part_of_split,
    printable,
    spelling_key,
    stated_parts,
)
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

_MASK_OF = re.compile(r"(.+?)[ _.-](?:masks?|seg|segmentation)(?:[ _-]?\d+)?", re.IGNORECASE)


class _Place(NamedTuple):
    """A file: its path, its part of a split (or empty), its class, and the folders below the class."""

    path: Path
    part: str
    label: str
    below: tuple[str, ...]


def list_folder(config: RadiographDataConfig) -> Listing:
    """List the images in class folders, which may have folders of a split above or below them.

    Raises:
        InputError: There is no such folder, it has fewer than two classes, or its folders can be read in two
            ways; the message names both, and the option that chooses.
    """
    root = root_folder(config)
    problems: dict[str, str] = {}
    passed: Counter[str] = Counter()
    places = _chosen(_placed(root, config, problems, passed), config, passed)
    if passed:
        counts = ", ".join(f"{count} {why}" for why, count in passed.items())
        log.warning("data.root=%s: files are passed over: %s", root, counts)
    for folder, why in problems.items():
        log.warning("%s is passed over: %s", folder, why)
    rows = [(p.path.relative_to(root).as_posix(), str(p.path), p.part, printable(p.label)) for p in places]
    table = pd.DataFrame(rows, columns=["name", "path", "split", "label"])
    shown = table["name"].map(printable)
    unreadable = dict.fromkeys(shown[shown != table["name"]], "its name is not in UTF-8: rename it")
    table = table.assign(name=shown).sort_values("name").reset_index(drop=True)
    table["patient"] = table["name"].map(lambda name: patient_of(name, config.patient_regex))
    return with_classes(table, config, f"data.root={root}", unreadable)


def _placed(
    root: Path, config: RadiographDataConfig, problems: dict[str, str], passed: Counter[str]
) -> list[_Place]:
    """Return all radiographs below the root, with their part and class from the names of their folders."""
    files = []
    for path in walk(root, problems):
        if is_radiograph(path):
            files.append(path)
        else:
            passed["of other kinds"] += 1
    masks = _masks_beside(files)
    if masks:
        passed["masks beside their films"] += len(masks)
    chains = [(path.relative_to(root).parts[:-1], path) for path in files if path not in masks]
    stated = stated_parts(config.split_names)
    level = _level_of_split({folders for folders, _ in chains}, root, stated)
    places, others = [], []
    for folders, path in chains:
        part: str | None = ""
        rest = folders
        if level is not None:
            part = part_of_split(folders[level], stated) if len(folders) > level else None
            rest = folders[:level] + folders[level + 1 :]
        if part is None:
            others.append(folders)
        elif part == LEFT_OUT:
            passed["left out by data.split_names"] += 1
        elif rest:
            places.append(_Place(path, part, rest[0], rest[1:]))
        else:
            passed["in no class folder"] += 1
    if others and level is not None:
        check_others(others, level, {place.label for place in places}, config)
        passed["outside the folders of the split"] += len(others)
    return places


def _masks_beside(files: list[Path]) -> set[Path]:
    """Return the files that are named as the mask of an image next to them: `1_mask.png` next to `1.png`."""
    stems = {path.with_suffix("") for path in files}
    named = ((path, _MASK_OF.fullmatch(path.stem)) for path in files)
    return {path for path, found in named if found and path.with_name(found[1]) in stems}


def _level_of_split(chains: set[tuple[str, ...]], root: Path, stated: Mapping[str, str]) -> int | None:
    """Return the level of folders, 0 or 1, that holds the parts of a split; `None` if there is no split.

    Args:
        chains: The folders of every radiograph, from the root.
        root: The root.
        stated: The parts that the user assigned to names.

    Raises:
        InputError: The user named a folder that does not exist.
    """
    top = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    second = {chain[1] for chain in chains if len(chain) > 1}
    for name in stated:
        if find_name(name, top | second) is None:
            raise InputError(f"data.split_names has {name}, which is no folder of data.root={root}")
    for level, names in enumerate((top, second)):
        parts = {part for name in names if (part := part_of_split(name, stated))}
        if len(parts) > 1 or any(find_name(name, names) for name in stated):
            return level
    return None


def _chosen(places: list[_Place], config: RadiographDataConfig, passed: Counter[str]) -> list[_Place]:
    """Return the images in the classes and folders that are used.

    Raises:
        InputError: Folders can be read in two ways, or a class has no image in the chosen folders.
    """
    if config.labels is not None:
        used = {spelling_key(label) for label in config.labels}
        # if no image has one of the labels, with_classes raises an error
        places = [place for place in places if spelling_key(place.label) in used] or places
    if config.subfolders is None:
        check_layout([(place.label, place.below) for place in places], config)
        return places
    patterns = [spelling_key(own) for own in config.subfolders]
    kept = [place for place in places if _fits(place.below, patterns)]
    lost = {place.label for place in places} - {place.label for place in kept}
    if lost:
        there = {place.below[0] if place.below else HERE for place in places if place.label in lost}
        raise InputError(
            f"data.subfolders={config.subfolders}: no folder of {', '.join(sorted(lost))} fits; "
            f"choose from {as_option(sorted(there))}"
        )
    if len(kept) < len(places):
        passed["outside data.subfolders"] += len(places) - len(kept)
    return kept


def _fits(below: tuple[str, ...], patterns: list[str]) -> bool:
    """Tell whether an image's folders below its class match one of the patterns."""
    return any(fnmatch(spelling_key(name), own) for name in below or (HERE,) for own in patterns)
