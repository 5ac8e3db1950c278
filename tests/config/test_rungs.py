"""Rungs that can be climbed, and those that are refused."""

import pytest
from omegaconf import OmegaConf

from xray_tl.config.rungs import FIRST, RUNGS, check_rungs, rungs_of
from xray_tl.errors import InputError
from xray_tl.statistics.estimates import LEAST_READERS


def test_the_default_can_be_climbed_and_starts_where_verdicts_do() -> None:
    assert check_rungs(list(RUNGS)) == RUNGS
    assert FIRST == LEAST_READERS
    assert check_rungs([5, 7, 9, 12, 15, 19]) == (5, 7, 9, 12, 15, 19)
    assert check_rungs([20]) == (20,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([3, 8], "starts with 3: a verdict takes 5"),
        ([5, 8, 8], "does not rise: 8 comes after 8"),
        ([8, 5], "does not rise: 5 comes after 8"),
        ([5, 8, 9], "8 and 9 stand too close for a look to be worth its share .*: take 10 or more after 8"),
        ([5, 6], "take 7 or more after 5"),
        ([], "no list of numbers"),
        ([5, 8.5], "no list of numbers"),
        ([True, 8], "no list of numbers"),
        ("5,8", "no list of numbers"),
    ],
)
def test_others_are_refused_and_told_why(given: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_rungs(given)


def test_a_configuration_without_rungs_has_none() -> None:
    assert rungs_of(OmegaConf.create({})) is None
    assert rungs_of(OmegaConf.create({"rungs": None})) is None
    assert rungs_of(OmegaConf.create({"rungs": [5, 8]})) == (5, 8)
