"""Radiographs in class folders: which folder is a class, which a part of a split, which neither; no torch.

`root/CLASS/FILE`, `root/PART/CLASS/FILE` and `root/CLASS/PART/FILE` are understood, whatever lies deeper.
Where folders allow two readings, nothing is guessed: both are named, with the option that chooses.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from xray_tl.config import RadiographDataConfig
from xray_tl.data.listing import Listing, is_radiograph, patient_of, root_folder, walk, with_classes
from xray_tl.data.names import part_of_split, printable, spelling_key
from xray_tl.errors import InputError

log = logging.getLogger(__name__)

MASKS = ("mask", "segment", "annotat", "ground truth", "groundtruth", "contour", "heatmap", "overlay", "bbox")
"""What names of folders hold that are no films, in lower case."""
NAMED = 4
"""Folders that a message names, at most."""


class _Place(NamedTuple):
    """A file: its path, its part of a split (or nothing), its class, the folder below that (or nothing)."""

    path: Path
    part: str
    label: str
    below: str


def list_folder(config: RadiographDataConfig) -> Listing:
    """List images in class folders, perhaps in folders of a split above or below them.

    Raises:
        InputError: There is no such folder, it has fewer than two classes, or its folders can be read in two
            ways; names both, and the option that chooses.
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
    """Find the radiographs, and read their folders' names."""
    files = []
    for path in walk(root, problems):
        if is_radiograph(path):
            files.append((path.relative_to(root).parts[:-1], path))
        else:
            passed["of other kinds"] += 1
    level = _level_of_split({folders for folders, _ in files}, root, config)
    places = []
    for folders, path in files:
        part = ""
        if level is not None:
            found = part_of_split(folders[level], config.split_names) if len(folders) > level else None
            if found is None:
                passed["outside the folders of the split"] += 1
                continue
            part, folders = found, folders[:level] + folders[level + 1 :]
        if not folders:
            passed["in no class folder"] += 1
            continue
        places.append(_Place(path, part, folders[0], folders[1] if len(folders) > 1 else ""))
    return places


def _level_of_split(chains: set[tuple[str, ...]], root: Path, config: RadiographDataConfig) -> int | None:
    """Return whether the first or the second level of folders is a split's; `None`: there is none.

    Args:
        chains: The folders of every radiograph, from the root.
        root: The root.
        config: What the user says of names.

    Raises:
        InputError: A name that the user gives is no folder's.
    """
    top = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    second = {chain[1] for chain in chains if len(chain) > 1}
    for stated in config.split_names or {}:
        if spelling_key(stated) not in {spelling_key(name) for name in top | second}:
            raise InputError(f"data.split_names has {stated}, which is no folder of data.root={root}")
    for level, names in enumerate((top, second)):
        parts = {part for name in names if (part := part_of_split(name, config.split_names))}
        whole = level == 0 or all(part_of_split(name, config.split_names) for name in names)
        if whole and (len(parts) > 1 or (level == 0 and parts and config.split_names)):
            return level
    return None


def _chosen(places: list[_Place], config: RadiographDataConfig, passed: Counter[str]) -> list[_Place]:
    """Keep the films of the classes and sub-folders that are used.

    Raises:
        InputError: Folders can be read in two ways.
    """
    if config.labels is not None:
        used = {spelling_key(label) for label in config.labels}
        kept = [place for place in places if spelling_key(place.label) in used]
        places = kept or places  # no image of the labels: with_classes says so
    if config.subfolders is None:
        _doubt(places, config)
        return places
    kept = [place for place in places if any(fnmatch(place.below, own) for own in config.subfolders)]
    if not kept:
        there = ", ".join(sorted({place.below for place in places} - {""})) or "none"
        raise InputError(
            f"data.subfolders={config.subfolders}: no folder of a class fits; the sub-folders are {there}"
        )
    if len(kept) < len(places):
        passed["outside data.subfolders"] += len(places) - len(kept)
    return kept


def _doubt(places: list[_Place], config: RadiographDataConfig) -> None:
    """Stop where folders can be read in two ways.

    Raises:
        InputError: Class folders hold the same kinds of sub-folders, or folders of what are no films.
    """
    where, below = f"data.root={config.root}", _below(places)
    labels = {place.label for place in places}
    odd = sorted(filter(_no_films, labels)) if config.labels is None else []
    if odd:
        others = ", ".join(sorted(label for label in labels if not _no_films(label)))
        raise InputError(
            f"{where}: is {odd[0]} a class, or are its files no films? data.labels=[{others}] leaves it out, "
            f"data.labels=[{', '.join(sorted(labels))}] keeps it"
        )
    masks = sorted({name for own in below.values() for name in own if _no_films(name)})
    counted = Counter(name for own in below.values() for name in own if not any(map(str.isdigit, name)))
    shared = sorted(name for name, count in counted.items() if count > 1)
    if not masks and len(shared) < 2:
        return
    names = sorted(set(masks) | set(shared))
    holders = sorted(label for label, own in below.items() if own & set(names))
    films = [name for name in sorted(set(shared) | set(counted)) if name not in masks][:NAMED]
    parts = ", ".join(f"{label}: {part}" for label, part in zip(holders, ("train", "test"), strict=False))
    raise InputError(
        f"{where}: the folders {_listed(holders)} hold {_listed(names)}. If some of these are no films of "
        f"the class (masks, another view), data.subfolders=[{', '.join(films)}] names those that are; "
        f"data.subfolders=['*'] takes all"
        + (
            ""
            if masks
            else f"; if {_listed(holders)} are parts of a split, data.split_names={{{parts}}} says so"
        )
    )


def _below(places: Iterable[_Place]) -> dict[str, set[str]]:
    """Return the sub-folders of each class."""
    found: dict[str, set[str]] = {}
    for place in places:
        own = found.setdefault(place.label, set())
        if place.below:
            own.add(place.below)
    return found


def _no_films(name: str) -> bool:
    """Tell whether a folder's name says that it holds no films."""
    key = spelling_key(name)
    return any(word in key for word in MASKS) or key in (
        "seg",
        "segs",
        "gt",
        "labels",
        "label",
        "roi",
        "rois",
    )


def _listed(names: list[str]) -> str:
    shown = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
