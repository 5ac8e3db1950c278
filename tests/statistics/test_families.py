"""Planned contrasts, judged question by question."""

import json
from dataclasses import replace

import numpy as np
import pytest

from xray_tl.statistics.comparison import compare
from xray_tl.statistics.comparison_text import format_comparison
from xray_tl.statistics.covariance import AUROC, METRICS
from xray_tl.statistics.families import Contrast, Family, sought
from xray_tl.statistics.family_text import answers, judged_text
from xray_tl.statistics.mrmc import cells
from xray_tl.statistics.simulation import STRUCTURES, simulate
from xray_tl.statistics.verdict import holm
from xray_tl.statistics.wording import Terms

STUDY = simulate((0.75, 0.87, 0.83, 0.85), STRUCTURES["LL"], 6, 60, 60, np.random.default_rng(3))
A, B, C, D = STUDY.treatments


def _contrast(**weights: float) -> Contrast:
    named = {dict(zip("abcd", STUDY.treatments, strict=True))[key]: value for key, value in weights.items()}
    return Contrast(" and ".join(named), named)


AB, CD, AC = _contrast(a=1, b=-1), _contrast(d=1, c=-1), _contrast(a=1, c=-1)
MIXED = _contrast(a=1, b=-1, c=-1, d=1)
NOT_RUN = Contrast("e - f", missing="no run of e")


def test_holm_counts_what_was_declared_for_a_question_and_nothing_else() -> None:
    done = compare(STUDY, AUROC, families={"one": [AB, MIXED, NOT_RUN], "two": [CD]})
    plain = cells(STUDY).contrast
    p = {name: plain(found.weights).p for name, found in (("ab", AB), ("mixed", MIXED), ("cd", CD))}
    low, high = sorted((p["ab"], p["mixed"]))
    by_hand = {low: min(3 * low, 1), high: min(max(3 * low, 2 * high), 1)}  # of three, one without a result
    one, two = done.families
    assert [found.verdict and found.verdict.p for found in one.judged] == [
        pytest.approx(by_hand[p["ab"]]),
        pytest.approx(by_hand[p["mixed"]]),
        None,
    ]
    assert two.judged[0].verdict is not None
    assert two.judged[0].verdict.p == pytest.approx(p["cd"]), "a question of one contrast needs no correction"
    explored = [pair for pair in done.analysis.pairs if pair not in done.questions]
    assert done.questions == {(A, B): "one", (C, D): "two"}
    assert len(explored) == 4
    adjusted = holm([done.analysis.pairs[pair].p for pair in explored])
    assert [done.verdicts[pair].p for pair in explored] == pytest.approx(adjusted), "all others together"
    assert done.verdicts[C, D] == two.judged[0].verdict, "one verdict on a pair, wherever it stands"


def test_without_questions_all_pairs_are_explored_together() -> None:
    done = compare(STUDY, AUROC)
    assert not done.questions
    p = [estimate.p for estimate in done.analysis.pairs.values()]
    assert [verdict.p for verdict in done.verdicts.values()] == pytest.approx(holm(p))


def test_a_pair_has_the_sign_in_which_it_was_asked() -> None:
    done = compare(STUDY, AUROC, families={"q": [AB, CD]})
    ab, cd = done.families[0].judged
    assert cd.contrast.estimate is not None
    assert cd.contrast.pair == (D, C)
    assert cd.contrast.estimate.value == pytest.approx(-done.analysis.pairs[C, D].value)
    assert ab.verdict is not None
    assert (ab.verdict.kind, ab.verdict.better) == ("better", B)
    assert judged_text(ab, Terms()).startswith(f"{B} is better than {A}: AUROC by 0.")


def test_an_interaction_differs_from_0_or_not_but_is_never_better() -> None:
    done = compare(STUDY, AUROC, families={"q": [MIXED]})
    (found,) = done.families[0].judged
    assert found.verdict is not None
    assert found.verdict.kind == "differs"
    assert found.verdict.better is None
    assert "below 0 (p" in judged_text(found, Terms())
    assert sought(done.families, MIXED.weights) == found
    assert sought(done.families, AB.weights) is None
    alike = compare(STUDY, AUROC, margin=0.5, families={"q": [_contrast(b=1, d=-1, c=1, a=-1)]})
    assert alike.families[0].judged[0].verdict is not None


def test_other_estimates_count_in_their_question() -> None:
    other = cells(STUDY, METRICS["auroc"]).contrast({A: 1, D: -1})
    given = Contrast("x", {A: 1, D: -1}, metric="brier", higher_is_better=False, estimate=other)
    done = compare(STUDY, AUROC, families={"q": [AB, given]})
    _, found = done.families[0].judged
    assert found.verdict is not None
    assert done.questions == {(A, B): "q"}, "the pair's own AUROC was not asked"
    assert found.verdict.kind == "better"
    assert found.verdict.better == A, "a lower loss is the better one"
    assert "brier by" in judged_text(found, Terms())
    gap = replace(given, of_two_sets=True, data="train - test")
    (of_sets,) = compare(STUDY, AUROC, families={"q": [gap]}).families[0].judged
    assert of_sets.verdict is not None
    assert of_sets.verdict.kind == "differs"
    assert "x: brier (train minus test) -0." in judged_text(of_sets, Terms())
    near = replace(gap, estimate=cells(STUDY).contrast({C: 1, D: -1}))
    (open_,) = compare(STUDY, AUROC, families={"q": [near]}).families[0].judged
    assert open_.verdict is not None
    assert (open_.verdict.kind, open_.verdict.need) == ("undecided", None), "images of which of the two?"


def test_a_contrast_that_cannot_be_estimated_says_why() -> None:
    rating = STUDY.rating.copy()
    rating[0, :3] = rating[1, 3:] = np.nan
    done = compare(replace(STUDY, rating=rating), AUROC, families={"q": [AB, CD]})
    first, second = done.families[0].judged
    assert first.verdict is None
    assert first.contrast.missing == f"no reader used all of {A}, {B}"
    assert second.verdict is not None
    assert second.contrast.estimate is not None
    assert second.verdict.p == pytest.approx(min(1, 2 * second.contrast.estimate.p))


def test_readers_that_stand_apart_are_said_of_a_contrast_too() -> None:
    rating = STUDY.rating.copy()
    rating[1, 2] = -rating[1, 2]
    done = compare(replace(STUDY, rating=rating), AUROC, families={"q": [AB, MIXED]})
    assert done.apart
    assert all(found.verdict and B in found.verdict.apart for found in done.families[0].judged)


def test_each_question_has_a_sentence_and_open_ones_are_counted() -> None:
    near = _contrast(c=1, d=-1)
    done = compare(STUDY, AUROC, families={"how_much": [AB, NOT_RUN], "backbone": [near]})
    first, second = answers(done.families, Terms())
    assert first.startswith(f"How much: {B} is better than {A}, by 0.")
    assert first.endswith("; no result for 1 of 2.")
    assert second == "1 of 2 questions undecided: backbone."
    (alone,) = answers(done.families[1:], Terms())
    assert alone == f"Backbone: undecided: {C} against {D}."
    many = tuple(Family(f"q{number}", done.families[1].judged) for number in range(5))
    assert answers(many, Terms()) == ["All of 5 questions undecided: q0, q1, q2 and 2 more."]
    empty = compare(STUDY, AUROC, families={"not_run": [NOT_RUN], "q": [AB]})
    assert answers(empty.families, Terms())[1] == "1 of 2 questions without a result: not run."


def test_an_answer_says_where_a_real_difference_is_within_the_margin() -> None:
    for margin, small in ((0.02, False), (0.5, True)):
        (said,) = answers(compare(STUDY, AUROC, margin=margin, families={"q": [AB]}).families, Terms())
        assert said.startswith(f"Q: {B} is better than {A}, by 0.")
        assert said.endswith(", less than the margin of equivalence.") is small


def test_text_and_json_keep_planned_and_explored_apart() -> None:
    done = compare(STUDY, AUROC, families={"q": [AB, MIXED, NOT_RUN]})
    text = format_comparison(done, Terms())
    planned, explored = text.split("Explored", 1)
    assert "Planned" in planned
    assert "q" in planned
    assert f"{B} is better than {A}" in planned
    assert f"{B} is better than {A}" not in explored
    found = json.loads(json.dumps(done.as_json(), allow_nan=False))
    assert [row["question"] for row in found["planned"]] == ["q"] * 3
    assert found["planned"][2]["missing"] == "no run of e"
    assert found["planned"][1]["verdict"] == "differs"
    assert [row["question"] for row in found["pairs"]] == ["q", *[None] * 5]
