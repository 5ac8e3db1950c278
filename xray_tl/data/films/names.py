"""When two names are one: spellings of labels, patients, files and parts of a split; no torch."""

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
"""What data sets call the parts of a split: alone, in the plural, or before `set`, `data` or `images`."""
LEFT_OUT = "none"
"""What the user calls the part of what is left out."""
_AFTER_PART = re.compile(r"(?<=...)(s|sets?|data|images?|imgs?|films?|splits?)$")
_DASHES = re.compile(r"[\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_WHOLE = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")


@lru_cache(maxsize=2**17)
def spelling_key(name: str) -> str:
    """Return what all spellings of a name share: two names are one if this is the same of both.

    Case, composed and decomposed letters (NFC, NFD), kinds of hyphens and of spaces, underscores, spaces
    around a name, and how a whole number is written (`3`, `3.0`, `003`) do not matter.
    """
    text = _DASHES.sub("-", unicodedata.normalize("NFKC", name).casefold())
    text = " ".join(unicodedata.normalize("NFKC", text).replace("_", " ").split())
    number = _WHOLE.fullmatch(text)
    return f"{number[1].strip('+')}{number[2]}" if number else text or name


def path_key(name: str) -> str:
    """Return what all spellings of a path share, with slashes or backslashes."""
    return spelling_key(name.replace("\\", "/"))


def one_spelling(names: pd.Series) -> tuple[pd.Series, tuple[tuple[str, ...], ...]]:
    """Write every name in one spelling, its most common one (the first in order, of equally common ones).

    Returns:
        The names, and all spellings of each that has several, sorted.
    """
    counts = names.value_counts(sort=False)
    spellings: dict[str, list[str]] = {}
    for name in sorted(filter(None, counts.index)):
        spellings.setdefault(spelling_key(name), []).append(name)
    several = [own for own in spellings.values() if len(own) > 1]
    chosen = {name: max(own, key=lambda one: int(counts[one])) for own in several for name in own}
    return names.map(lambda name: chosen.get(name, name)), tuple(tuple(own) for own in several)


def find_name(wanted: str, names: Iterable[str]) -> str | None:
    """Return which of some names is the wanted one, letter by letter if any is, else in another spelling."""
    there = list(names)
    if wanted in there:
        return wanted
    return next((name for name in there if spelling_key(name) == spelling_key(wanted)), None)


def printable(name: str) -> str:
    """Return a file's name as text that can be written: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def stated_parts(split_names: Sequence[str] | None) -> dict[str, str]:
    """Return which part of a split each name stands for, of `data.split_names=[Cohort A:train]`.

    Raises:
        InputError: It is no list of such pairs.
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
    """Write names as a list that the command line takes."""
    plain = re.compile(r"[\w.-][\w .:-]*")
    quoted = (name if plain.fullmatch(name) else "'" + name.replace("'", "\\'") + "'" for name in names)
    return f"[{','.join(quoted)}]"


def part_of_split(name: str, stated: Mapping[str, str]) -> str | None:
    """Return which part of a split (`train`, `val`, `test`) a folder or a table's value stands for.

    Args:
        name: Such as `Training`, `test_set`, `dev`.
        stated: What the user says that names stand for (`stated_parts`), in any spelling.

    Returns:
        The part, `none` where the user leaves it out, or `None` where it is no known name.
    """
    key = spelling_key(name)
    for own, part in stated.items():
        if spelling_key(own) == key:
            return part
    word = re.sub(r"[^a-z]", "", key)
    known = {own: part for part, words in PARTS.items() for own in words}
    return known.get(word) or known.get(_AFTER_PART.sub("", word))
