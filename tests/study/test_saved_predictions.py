"""Predictions read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.sweeps import scores
from xray_tl.errors import InputError
from xray_tl.store.records import PREDICTIONS
from xray_tl.study.saved_predictions import images_id, read_predictions, split_of


def _read(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    frame.to_csv(folder / PREDICTIONS, index=False)
    return read_predictions(folder)


def test_a_split_comes_in_order_of_case(tmp_path: Path) -> None:
    frame = _read(pd.concat([scores(1, 0, "train"), scores(1, 0)]).sample(frac=1, random_state=0), tmp_path)
    test = split_of(frame, "test")
    assert len(test) == 60
    assert sorted(test["case"]) == list(test["case"])


def test_a_test_set_is_known_by_its_images_whatever_scored_them(tmp_path: Path) -> None:
    one = _read(pd.concat([scores(1, 0, "train"), scores(1, 0)]), tmp_path)
    other = _read(scores(3, 7), tmp_path)
    assert images_id(one) == images_id(other)
    fewer = _read(scores(1, 0)[:-1], tmp_path)
    brighter = _read(scores(1, 0).assign(ideal_logit=1.0), tmp_path)
    assert len({images_id(frame) for frame in (one, fewer, brighter)}) == 3


def test_generated_images_go_by_what_generates_them_where_that_is_known(tmp_path: Path) -> None:
    """Two kinds of machine round the ideal observer's scores differently."""
    one = _read(scores(1, 0).assign(ideal_logit=lambda f: np.linspace(-3, 3, len(f))), tmp_path)
    other = one.assign(ideal_logit=one["ideal_logit"] * (1 + 3e-5))
    assert images_id(one) != images_id(other), "else the check below shows nothing"
    assert images_id(one, "a") == images_id(other, "a")
    names = [images_id(frame, name) for frame, name in ((one, "a"), (one, "b"), (one[:-1], "a"))]
    assert len(set(names)) == 3, "other images; and the same ones, some of them missing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="logit"), "has no column logit"),
        (
            lambda f: f.assign(logit=np.where(f["case"] == 3, np.nan, f["logit"])),
            "1 rows without a finite score",
        ),
        (lambda f: f.assign(probability="high"), "60 rows without a finite score"),
        (lambda f: f.assign(truth=2), "a truth that is not 0 or 1"),
        (lambda f: pd.concat([f, f[:1]]), "has case 0 twice"),
    ],
)
def test_what_cannot_be_analysed_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        _read(change(scores(1, 0)), tmp_path)


def test_no_predictions_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"has no {PREDICTIONS}"):
        read_predictions(tmp_path)
    (tmp_path / PREDICTIONS).touch()
    with pytest.raises(InputError, match="is not a table"):
        read_predictions(tmp_path)
