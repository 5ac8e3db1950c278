"""What training would refuse of a split is found from truths alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from xray_tl.data.films.listing import Kind, Listing
from xray_tl.data.films.needs import refusals

PARTS = ("train", "val", "test")
SPLIT = ["train", "train", "val", "val", "test", "test"]


def _listing(truth: list[list[float]], kind: Kind = "binary") -> Listing:
    array = np.array(truth, dtype=np.float32)
    names = tuple(f"t{column}" for column in range(array.shape[1]))
    return Listing(pd.DataFrame({"name": SPLIT}), array, kind, names, "normal")


GOOD = _listing([[0], [1]] * 3)


def test_a_good_split_has_no_fault() -> None:
    assert not list(refusals(GOOD, SPLIT, PARTS))


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_part_is_found_where_it_is_needed(part: str) -> None:
    other = next(name for name in PARTS if name != part)
    split = [other if name == part else name for name in SPLIT]
    (why,) = refusals(GOOD, split, PARTS)
    assert why.startswith(f"the {part} split is empty")
    assert ("data.test_from=train" in why) == (part == "test")
    assert not list(refusals(GOOD, split, (other,)))


@pytest.mark.parametrize("place", range(3))
def test_a_part_of_one_class_is_found(place: int) -> None:
    truth = [[0], [1]] * 3
    truth[2 * place] = [1]
    (why,) = refusals(_listing(truth), SPLIT, PARTS)
    assert why == f"the {PARTS[place]} split has images of one class only"


def test_a_column_of_ones_and_nothing_says_what_nothing_means() -> None:
    listing = replace(_listing([[1], [np.nan]] * 3), negative=None)
    whys = list(refusals(listing, SPLIT, PARTS))
    assert len(whys) == 3
    assert "every known t0 is 1, an empty cell or -1 is not known" in whys[0]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_target_that_no_training_image_teaches_is_found(kind: Kind) -> None:
    truth = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    (why,) = refusals(_listing(truth, kind), SPLIT, PARTS)
    assert why == "t2 has no training images (0 val, 1 test): data.labels=[t0,t1] leaves it out"
    assert not list(refusals(_listing(truth, kind), SPLIT, ("test",)))


def test_a_target_that_is_known_of_no_training_image_is_found() -> None:
    truth = [[1, np.nan], [0, np.nan], [1, 0], [0, 1], [1, 0], [0, 1]]
    (why,) = refusals(_listing(truth, "multilabel"), SPLIT, PARTS)
    assert why == "no training image has a known t1: data.label_columns leaves it out"
