"""Finding the files of a table's rows on disk, even if their paths are spelt differently."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from xray_tl.data.films.listing import walk
from xray_tl.data.films.names import spelling_key

Located = tuple[list[str], dict[str, str]]
"""The path of each name (perhaps empty or not existing), and the names without a file, with the reason."""
_Parts = tuple[str, ...]


def locate(names: Sequence[str], root: Path) -> Located:
    """Find the file of each name below the root; report names without a file, or outside the root.

    A path may have backslashes, and a spelling that differs from the disk's. For speed (a million names in
    two seconds) paths are strings, and each folder is listed once.
    """
    base = os.path.abspath(root)  # noqa: PTH100  (links are not resolved: their targets may be elsewhere)
    folders = _Folders()
    paths, problems = [], {}
    for name in names:
        path = _below(base, name)
        if path is not None and folders.has(path):
            paths.append(path)
            continue
        path = _below(base, name.replace("\\", "/"))
        if path is None:
            problems[name] = "its path lies outside data.root"
        else:
            found = folders.spelt_otherwise(base, path)
            if len(found) != 1:
                problems[name] = f"{len(found)} files of this name" if found else "no such file"
            path = found[0] if found else path
        paths.append(path or "")
    return paths, problems


def search(names: Sequence[str], root: Path) -> Located:
    """Find each name's file anywhere below the root, where leading folders of the name may be missing.

    Some tables name folders that a copy lacks (`CheXpert-v1.0/train/patient1/view1.png`, on disk
    `small/patient1/view1.png`). As few leading folders as possible are ignored, the same number in every
    path. The rest must match, so that no patient gets the image of another one.
    """
    files = [path.relative_to(root).parts for path in walk(root)]
    there = [(_keys(parts), str(root.joinpath(*parts))) for parts in files]
    wanted = [_keys(re.split(r"[\\/]+", name.strip("\\/ "))) for name in names]
    found: list[list[str]] = [[] for _ in names]
    for left_out in range(max(map(len, wanted), default=0)):
        by_end = _by_end(there, {len(parts) - left_out for parts in wanted})
        found = [by_end.get(parts[left_out:], []) for parts in wanted]
        if any(found):
            break
    found = [_exact(own, name) if len(own) > 1 else own for own, name in zip(found, names, strict=True)]
    claimed = Counter(own[0] for own in found if len(own) == 1)
    problems = {
        name: why
        for name, own in zip(names, found, strict=True)
        if (why := _why_none(own, claimed)) is not None
    }
    return [own[0] if own else "" for own in found], problems


def _exact(found: list[str], name: str) -> list[str]:
    """Return the one file that is spelt exactly like the name, if there is one; else all that match."""
    exact = [path for path in found if os.path.basename(path) == re.split(r"[\\/]", name)[-1]]  # noqa: PTH119
    return exact if len(exact) == 1 else found


def _why_none(found: list[str], claimed: Counter[str]) -> str | None:
    if not found:
        return "no such file"
    if len(found) > 1:
        return f"{len(found)} files of this name"
    return "one file for several rows: its folders are not there" if claimed[found[0]] > 1 else None


def _by_end(there: list[tuple[_Parts, str]], lengths: set[int]) -> dict[_Parts, list[str]]:
    found: dict[_Parts, list[str]] = {}
    for parts, path in there:
        for length in lengths:
            if 0 < length <= len(parts):
                found.setdefault(parts[-length:], []).append(path)
    return found


def _keys(parts: Sequence[str]) -> _Parts:
    return tuple(spelling_key(part) for part in parts if part != ".")


def _below(base: str, name: str) -> str | None:
    """Return the path of a name; `None` if it is outside the base folder."""
    path = os.path.normpath(f"{base}{os.sep}{name}" if not os.path.isabs(name) else name)  # noqa: PTH117
    return path if path.startswith(f"{base.rstrip(os.sep)}{os.sep}") else None


class _Folders:
    """The contents of folders; each is listed once."""

    def __init__(self) -> None:
        self._files: dict[str, set[str]] = {}
        self._entries: dict[str, dict[str, list[str]]] = {}

    def has(self, path: str) -> bool:
        """Tell whether a file with exactly this spelling exists."""
        folder, file = os.path.split(path)
        if folder not in self._files:
            self._files[folder] = {entry.name for entry in _scan(folder) if _is_file(entry)}
        return file in self._files[folder]

    def spelt_otherwise(self, base: str, path: str) -> list[str]:
        """Return the files that match a path in any spelling of its folders and name."""
        found = [base]
        for part in Path(path).relative_to(base).parts:
            found = [f"{own}{os.sep}{name}" for own in found for name in self._alike(own, part)]
        return [own for own in found if self.has(own)]

    def _alike(self, folder: str, part: str) -> list[str]:
        if folder not in self._entries:
            entries: dict[str, list[str]] = {}
            for entry in _scan(folder):
                entries.setdefault(spelling_key(entry.name), []).append(entry.name)
            self._entries[folder] = entries
        alike = self._entries[folder].get(spelling_key(part), [])
        return [part] if part in alike else alike


def _scan(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False
