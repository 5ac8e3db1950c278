"""Comparison of names in different spellings: of labels, patients, files and parts of a split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import pandas as pd

from xray_tl.errors import InputError

PARTS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "development", "tuning"),
    "test": ("test", "testing", "tst"),
}
"""Names of the parts of a split in data sets: alone, in the plural, or before `set`, `data` or `images`."""
LEFT_OUT = "none"
"""Name of the part for images that the user leaves out."""
_AFTER_PART = re.compile(r"(?<=...)(s|sets?|data|images?|imgs?|films?|splits?)$")
_DASHES = re.compile(r"[\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_WHOLE = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")


@lru_cache(maxsize=2**17)
def spelling_key(name: str) -> str:
    """Return a key that is the same for all spellings of a name: names with the same key are one name.

    Case, composed and decomposed letters (NFC, NFD), kinds of hyphens and of spaces, underscores, spaces
    around a name, and the notation of an integer (`3`, `3.0`, `003`) do not matter.
    """
    text = _DASHES.sub("-", unicodedata.normalize("NFKC", name).casefold())
    text = " ".join(unicodedata.normalize("NFKC", text).replace("_", " ").split())
    number = _WHOLE.fullmatch(text)
    return f"{number[1].strip('+')}{number[2]}" if number else text or name


def path_key(name: str) -> str:
    """Return a key that is the same for all spellings of a path, with slashes or backslashes."""
    return spelling_key(name.replace("\\", "/"))


def one_spelling(names: pd.Series) -> tuple[pd.Series, tuple[tuple[str, ...], ...]]:
    """Give every name one spelling, its most common one (among equally common ones, the first in order).

    Returns:
        The names; and, for each name with several spellings, all of them, sorted.
    """
    counts = names.value_counts(sort=False)
    spellings: dict[str, list[str]] = {}
    for name in sorted(counts.index):
        spellings.setdefault(spelling_key(name), []).append(name)
    several = [own for own in spellings.values() if len(own) > 1]
    chosen = {name: max(own, key=lambda one: int(counts[one])) for own in several for name in own}
    return names.map(lambda name: chosen.get(name, name)), tuple(tuple(own) for own in several)


def find_name(wanted: str, names: Iterable[str]) -> str | None:
    """Return the name that equals the wanted one: exactly if there is one, else in another spelling."""
    there = list(names)
    if wanted in there:
        return wanted
    return next((name for name in there if spelling_key(name) == spelling_key(wanted)), None)


def printable(name: str) -> str:
    """Return a file's name as text that can be printed: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def stated_parts(split_names: Sequence[str] | None) -> dict[str, str]:
    """Return the part of a split for each name, parsed from `data.split_names=[Cohort A:train]`.

    Raises:
        InputError: It is not a list of such pairs.
    """
    parts = {}
    for pair in split_names or ():
        name, _, part = pair.rpartition(":")
        if not name.strip() or part.strip() not in (*PARTS, LEFT_OUT):
            raise InputError(
                f"data.split_names has {pair}: each is NAME:PART, PART being {', '.join(PARTS)} or {LEFT_OUT}"
            )
        parts[name.strip()] = part.strip()
    return parts


def as_option(names: Iterable[str]) -> str:
    """Return names as a list in the syntax of the command line."""
    plain = re.compile(r"[\w.-][\w .:-]*")
    quoted = (name if plain.fullmatch(name) else "'" + name.replace("'", "\\'") + "'" for name in names)
    return f"[{','.join(quoted)}]"


def part_of_split(name: str, stated: Mapping[str, str]) -> str | None:
    """Return the part of a split (`train`, `val`, `test`) that the name of a folder or a table's value means.

    Args:
        name: A name such as `Training`, `test_set`, `dev`.
        stated: The parts that the user assigned to names (`stated_parts`), in any spelling.

    Returns:
        The part; `none` if the user leaves it out; `None` if the name is not known.
    """
    key = spelling_key(name)
    for own, part in stated.items():
        if spelling_key(own) == key:
            return part
    word = re.sub(r"[^a-z]", "", key)
    known = {own: part for part, words in PARTS.items() for own in words}
    return known.get(word) or known.get(_AFTER_PART.sub("", word))
