"""Two names are one, however they are spelt; what differs stays apart."""

import unicodedata

import pandas as pd
import pytest

from xray_tl.data.films.names import (
    find_name,
    one_spelling,
    part_of_split,
    printable,
    spelling_key,
    stated_parts,
)
from xray_tl.errors import InputError


@pytest.mark.parametrize(
    "names",
    [
        ("Normal", "NORMAL", " normal "),
        ("0", "0.0", "0.", "00"),
        ("-1", "-1.0"),
        ("3", "3.0", "003", "+3"),
        ("COVID-19", "covid\u201119", "Covid\u201319", "COVID\u221219"),
        ("No Finding", "no_finding", "NO\u00a0FINDING", "no  finding"),
        (unicodedata.normalize("NFC", "Épanchement"), unicodedata.normalize("NFD", "épanchement")),
        ("Straße", "STRASSE"),
        ("\uff34\uff22", "tb"),
    ],
)
def test_spellings_of_one_name(names: tuple[str, ...]) -> None:
    assert len({spelling_key(name) for name in names}) == 1


@pytest.mark.parametrize(
    "names",
    [("1.5", "15"), ("1", "-1"), ("1.2", "1.20"), ("a b", "ab"), ("T-1", "T1"), ("", "0")],
)
def test_different_names_stay_apart(names: tuple[str, str]) -> None:
    assert spelling_key(names[0]) != spelling_key(names[1])


def test_the_most_common_spelling_stands_for_all() -> None:
    names = pd.Series(["b", "A", "a", "A", "c", "3", "3.0"])
    written, several = one_spelling(names)
    assert written.tolist() == ["b", "A", "A", "A", "c", "3", "3"]
    assert several == (("3", "3.0"), ("A", "a"))
    same, none = one_spelling(pd.Series(["x", "y"]))
    assert (same.tolist(), none) == (["x", "y"], ())


def test_a_name_is_found_letter_by_letter_first() -> None:
    assert find_name("a", ["A", "a"]) == "a"
    assert find_name("Normal", ["TB", "NORMAL"]) == "NORMAL"
    assert find_name("c", ["A", "a"]) is None


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", ("train", "Training", "TRAINSET", "train_set", "train-images", "trains", "Training Data")),
        ("val", ("val", "valid", "validate", "Validation", "dev", "DevSet", "vals", "valid_films")),
        ("test", ("test", "Testing", "testset", "tests", "TEST_SET", "test images")),
        (None, ("holdout", "eval", "Cohort A", "normal", "testis", "valve", "data", "images", "set", "")),
    ],
)
def test_names_of_the_parts_of_a_split(part: str | None, names: tuple[str, ...]) -> None:
    assert {name: part_of_split(name, {}) for name in names} == dict.fromkeys(names, part)


def test_what_the_user_says_of_a_name_counts_first() -> None:
    stated = stated_parts(["valid:test", "Cohort A: train"])
    assert [part_of_split(name, stated) for name in ("VALID", "cohort_a", "train", "b")] == [
        "test",
        "train",
        "train",
        None,
    ]


def test_any_name_can_be_written() -> None:
    assert printable("Ö.png") == "Ö.png"
    assert printable(b"caf\xe9.png".decode("utf-8", "surrogateescape")) == "caf\\udce9.png"


@pytest.mark.parametrize("pair", ["a", "a:", ":train", "a:holdout", ""])
def test_a_stated_part_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match=r"each is NAME:PART, PART being train, val, test or none"):
        stated_parts([pair])


def test_unknown_patients_are_nobody() -> None:
    names = pd.Series(["", "_", "", "__"])
    written, several = one_spelling(names)
    assert (written.tolist(), several) == (["", "_", "", "__"], ())


def test_many_spellings_take_little_time() -> None:
    names = pd.Series([f"{k}{'.0' * (k % 2)}" for k in range(20_000)] * 2 + [str(k) for k in range(20_000)])
    assert len(one_spelling(names)[1]) == 10_000
