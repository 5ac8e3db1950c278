"""Errors for folders that can be read in two ways; each names the option that decides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from xray_tl.config import RadiographDataConfig
from xray_tl.data.films.names import LEFT_OUT, PARTS, as_option, part_of_split, spelling_key
from xray_tl.errors import InputError

MASKS = frozenset(
    (
        *("mask", "masks", "seg", "segs", "segmentation", "segmentations", "segmented", "gt"),
        *("annotation", "annotations", "contours", "heatmap", "heatmaps", "overlay", "overlays"),
        *("bbox", "bboxes", "roi", "rois"),
    )
)
"""Words, in lower case, in the names of folders that hold no radiographs."""
_NUMBERED = re.compile(
    r"(patient|pat|p|pid|id|person|subject|subj|sub|s|case|study|series|exam|visit|scan)[ -]?[0-9]+"
)
HERE = "."
"""Name of the class folder itself in `data.subfolders`."""
KINDS = 20
"""Largest number of sub-folders that are treated as kinds of images; more are treated as patients."""
NAMED = 4
"""Largest number of folders that a message names."""


def check_others(
    others: Sequence[tuple[str, ...]], level: int, labels: set[str], config: RadiographDataConfig
) -> None:
    """Raise an error if a folder next to the parts of a split holds the same classes as they do.

    Args:
        others: Folders, from the root, of images that are in no part.
        level: The level of the parts' folders.
        labels: The classes of the parts.
        config: The data set.

    Raises:
        InputError: Such a folder may be a part under another name.
    """
    keys = {spelling_key(label) for label in labels}
    for folders in others:
        rest = folders[:level] + folders[level + 1 :]
        if len(folders) > level and rest and spelling_key(rest[0]) in keys:
            names = as_option([f"{folders[level]}:PART"])
            raise InputError(
                f"data.root={config.root}: is {folders[level]} a part of the split too? "
                f"data.split_names={names} says which PART ({', '.join(PARTS)}), or {LEFT_OUT} leaves it out"
            )


def check_layout(places: Sequence[tuple[str, tuple[str, ...]]], config: RadiographDataConfig) -> None:
    """Raise an error if class folders share sub-folders, or hold folders that are not of radiographs.

    Args:
        places: The class of each image, and the folders below the class folder.
        config: The data set.

    Raises:
        InputError: There are such folders.
    """
    where, labels = f"data.root={config.root}", {label for label, _ in places}
    odd = sorted(filter(_no_films, labels)) if config.labels is None else []
    if odd:
        others = sorted(label for label in labels if not _no_films(label))
        leaves = f"; data.labels={as_option(others)} leaves it out" if len(others) > 1 else ""
        raise InputError(
            f"{where}: is {odd[0]} a class, or are its files no films? "
            f"data.labels={as_option(sorted(labels))} keeps it{leaves}"
        )
    first: dict[str, set[str]] = {}
    for label, below in places:
        first.setdefault(label, set()).add(below[0] if below else HERE)
    masks = {name for _, below in places for name in below if _no_films(name)}
    shared = _shared(list(first.values()))
    if masks or shared:
        raise InputError(f"{where}: {_readings(first, masks, shared)}")


def _shared(folders: list[set[str]]) -> set[str]:
    """Return the sub-folders that several classes have, if they may be kinds of images or classes.

    The folders of patients are not returned: they are numbered, or many, with few the same in two classes.
    """
    counted = Counter(name for own in folders for name in own if name != HERE)
    shared = {name for name, count in counted.items() if count > 1}
    if all(_NUMBERED.fullmatch(spelling_key(name)) for name in shared):
        return set()
    words = [name for name in shared if not any(map(str.isdigit, name))]
    most = 2 * len(shared) >= len(counted) and len(counted) <= KINDS
    return shared if len(shared) > 1 and (most or len(words) > 1) else set()


def _readings(first: Mapping[str, set[str]], masks: set[str], shared: set[str]) -> str:
    """Return text on the ways in which the folders can be read, each with its option.

    Args:
        first: The sub-folders of each class.
        masks: Folders whose names say that they hold no radiographs.
        shared: Sub-folders that several classes have.
    """
    holders = sorted(label for label, own in first.items() if own & shared) if shared else sorted(first)
    films = sorted(set().union(*first.values()) - masks)
    chosen = as_option(films) if masks and films else "[NAME]"
    said = (
        f"the folders {_listed(holders)} hold {_listed(sorted(masks | shared))}: if not all of these are "
        f"films of the class, data.subfolders={chosen} names those that are; data.subfolders=['*'] takes all"
    )
    if masks:
        return said
    parts = as_option([f"{label}:PART" for label in holders if not part_of_split(label, {})])
    return f"{said}; if {_listed(holders)} are parts of a split, data.split_names={parts} says which"


def _no_films(name: str) -> bool:
    """Tell whether a folder's name says that it holds no radiographs, but masks or the like."""
    key = spelling_key(name)
    return "mask" in key or bool(set(re.split(r"[^a-z]+", key)) & MASKS)


def _listed(names: list[str]) -> str:
    shown = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
