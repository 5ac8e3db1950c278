"""What is said of the question which of some treatments is best."""

from collections.abc import Collection
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from xray_tl.statistics.comparison import compare
from xray_tl.statistics.covariance import AUROC
from xray_tl.statistics.estimates import estimate
from xray_tl.statistics.families import Contrast, Family, Judged, family_of
from xray_tl.statistics.family_text import answers, judged_text
from xray_tl.statistics.ladder import climb
from xray_tl.statistics.ladder_verdict import Standing
from xray_tl.statistics.simulation import STRUCTURES, simulate
from xray_tl.statistics.verdict import Verdict
from xray_tl.statistics.wording import Terms

APART = estimate(np.linspace(0.04, 0.06, 5), np.full((5, 5), 1e-6), 1000)


def _family(
    names: str, better: Collection[str], same: str = "", missing: str = "", metric: str = ""
) -> Family:
    """Return all pairs of some treatments; `better`: such as "ab", a is better than b; others are open."""
    judged = []
    for one, two in combinations(names, 2):
        verdict, found = Verdict("undecided", None, 1, 1), APART
        if one + two in better:
            verdict = Verdict("better", one, 0.01, 1)
        elif two + one in better:
            verdict, found = Verdict("better", two, 0.01, 1), APART.reversed()
        elif one + two in same.split():
            verdict = Verdict("equivalent", None, 1, 0.01)
        lost = missing in (one, two)
        weights = {} if lost else {one: 1.0, two: -1.0}
        contrast = Contrast(
            f"{one} - {two}", weights, metric, estimate=None if lost else found, of_best=(one, two)
        )
        judged.append(Judged(contrast, None if lost else verdict))
    return family_of("which", judged)


def _said(family: Family) -> str:
    (said,) = answers((family,), Terms())
    return said.removeprefix("Which: ")


def test_the_best_is_among_those_that_none_is_better_than() -> None:
    two = _family("abcd", ["bc", "ba", "dc"])
    assert (two.may_be_best, two.beaten) == (("b", "d"), ("a", "c"))
    assert [found.contrast.pair for found in two.judged if found.is_open] == [("b", "d")]
    assert _said(two).startswith("the best of 4 is b or d; b is better than a, by 0.050")
    assert _said(two).endswith(
        "; 1 more verdict; undecided for 1 of 6 contrasts; 2 of 6 need not be decided."
    )
    one = _family("abc", ["ab", "bc"])
    assert one.may_be_best == ("a",)
    assert not any(found.is_open for found in one.judged), "which is best is known"
    assert "b is better than c" in _said(one), "a verdict that beats c, though none by a"
    assert "a is better than c" in _said(_family("bca", ["bc", "ab", "ac"])), "not that b, beaten itself, is"
    (left,) = [found for found in one.judged if found.left_open_by]
    assert (left.contrast.name, left.left_open_by) == ("a - c", ("c",))
    assert judged_text(left, Terms()).endswith(
        "It may stay so: c is beaten, and the question is which is best."
    )
    pairs = Family("which", tuple(Judged(found.contrast, found.verdict) for found in _plain(one)))
    assert (pairs.beaten, pairs.may_be_best) == ((), ()), "that is not what pairs ask"


def _plain(family: Family) -> list[Judged]:
    return [
        Judged(Contrast(found.contrast.name, found.contrast.weights, estimate=APART), found.verdict)
        for found in family.judged
    ]


def test_what_has_no_result_may_still_be_the_best() -> None:
    family = _family("abc", ["ab"], missing="c")
    assert family.may_be_best == ("a", "c")
    assert _said(family).startswith("the best of 3 is a or c; a is better than b, by ")
    assert _said(family).endswith("; no result for 2 of 3.")


def test_equal_best_ones_are_said_to_be_so() -> None:
    said = _said(_family("xyab", ["ax", "bx", "ay", "by"], same="ab"))
    assert said.startswith("the best of 4 is a or b, which are equivalent; a is better than x, by ")
    assert said.endswith("; 2 more verdicts; 1 of 6 need not be decided.")
    some = _family("xabc", ["ax", "bx", "cx"], same="ab")
    assert _said(some).startswith(
        "the best of 4 is a, b or c; a and b are equivalent; a is better than x, by "
    )
    (pair,) = [found for found in some.judged if found.verdict and found.verdict.kind == "equivalent"]
    assert pair.verdict is not None
    noted = replace(pair, verdict=replace(pair.verdict, apart={"a": ("s3",)}))
    alone = _family("xab", ["ax", "bx"], same="ab")
    judged = [noted if found.contrast.name == "a - b" else found for found in alone.judged]
    said = _said(family_of("which", judged))
    assert said.startswith("the best of 3 is a or b; a and b are equivalent, but reader s3"), "it is noted"


def test_many_are_named_by_those_that_are_beaten() -> None:
    assert _said(_family("abcdefg", ["af", "eg"])).startswith("the best of 7 is any but f and g; ")
    four = _said(_family("abcdefgh", ["ae", "bf", "cg", "dh"]))
    assert four.startswith("the best of 8 is a, b, c or d; ")
    assert (four.count("is better than"), "; 1 more verdict; " in four) == (3, True)
    alike = _family("abcde", ["ae", "be", "ce", "de"], same="ab ac ad bc bd cd")
    assert _said(alike).startswith(
        "the best of 5 is any but e: all others are equivalent; a is better than e,"
    )
    assert _said(alike).endswith("; 3 more verdicts.")
    assert _said(_family("abc", [], same="ab ac bc")) == "all 3 are equivalent."
    assert _said(_family("abc", [], same="ab")) == "a and b are equivalent; undecided for 2 of 3 contrasts."
    assert _said(_family("abc", [])) == "undecided: a against b; a against c; b against c."
    assert _said(_family("abc", ["ab"], metric="brier")).startswith("the best of 3 in brier is a or c; ")


def test_of_two_nothing_but_their_verdict_is_said() -> None:
    assert _said(_family("ab", ["ab"])).startswith("a is better than b, by 0.050")
    assert _said(_family("ab", [], same="ab")) == "a and b are equivalent."


def test_what_speaks_against_a_verdict_is_said_however_many_there_are() -> None:
    family = _family("abcdef", ["ab", "ac", "ad", "ae", "af"])
    assert "stand apart" not in _said(family)
    last = family.judged[4]
    assert (last.contrast.name, last.verdict and last.verdict.better) == ("a - f", "a")
    assert last.verdict is not None
    noted = replace(last, verdict=replace(last.verdict, apart={"a": ("s3",)}))
    said = _said(family_of("which", [noted if found is last else found for found in family.judged]))
    assert said.startswith("the best of 6 is a; a is better than f, by 0.050")
    assert "readers can mislead; a is better than b, by 0.050" in said
    assert said.endswith("; 1 more verdict; 10 of 15 need not be decided.")
    course = climb([APART], (5, 8))
    against = Standing(course, decided_at=5, by=course.looks[0], contradicted=True)
    told = [replace(found, standing=against) if found is last else found for found in family.judged]
    said = _said(family_of("which", told))
    assert said.startswith("the best of 6 is a; a is better than f, by 0.050")
    assert ", decided at 5 readers, but 5 speak against it; a is better than b, by 0.050" in said
    cycle = _family("abc", ["ab", "bc", "ca"])
    assert not cycle.may_be_best
    said = _said(cycle)
    assert said.startswith("verdicts contradict each other: each is beaten by another; ")
    assert said.count("is better than") == 3


@pytest.mark.parametrize("mean", [(0.75, 0.87, 0.83, 0.85), (0.7, 0.72, 0.85, 0.97), (0.8, 0.8, 0.8, 0.8)])
def test_a_table_of_scores_is_judged_as_its_pairs_are(mean: tuple[float, ...]) -> None:
    study = simulate(mean, STRUCTURES["LL"], 6, 60, 60, np.random.default_rng(3))
    pairs = list(combinations(study.treatments, 2))
    asked = [Contrast(f"{a} - {b}", {a: 1.0, b: -1.0}, of_best=(a, b)) for a, b in pairs]
    ranked, plain = compare(study, AUROC, families={"q": asked}), compare(study, AUROC)
    assert [verdict.kind for verdict in ranked.verdicts.values()] == [
        verdict.kind for verdict in plain.verdicts.values()
    ]
    (family,) = ranked.families
    lost = {
        name
        for pair, verdict in plain.verdicts.items()
        for name in pair
        if verdict.better not in (None, name)
    }
    assert set(family.beaten) == lost
    for found in family.judged:
        assert found.verdict is not None
        assert (found.verdict.need is None) or not found.left_open_by, "no seeds are asked for what is beaten"
    done = ranked.as_json()
    assert done["which_is_best"]["q"] == {
        "may_be_best": list(family.may_be_best),
        "beaten": list(family.beaten),
    }
    assert [row["need_not_be_decided"] for row in done["planned"]] == [
        bool(found.left_open_by) for found in family.judged
    ]
    assert [row["beaten"] for row in done["planned"]] == [
        [name for name in pair if name in lost] for pair in pairs
    ]
