"""Verdicts at rungs: Holm's count, which side was decided, and what a later look may say against it."""

from dataclasses import replace

import numpy as np
import pytest

from xray_tl.statistics.estimates import Estimate, estimate
from xray_tl.statistics.families import Contrast, Family, Judged
from xray_tl.statistics.family_text import answers, judged_text
from xray_tl.statistics.ladder import Course, climb
from xray_tl.statistics.ladder_text import rungs_text, short_text
from xray_tl.statistics.ladder_verdict import judge_climbed
from xray_tl.statistics.wording import Terms

RUNGS = (5, 8, 12, 20)
TERMS = Terms("seed", "image")
SHAPE = np.linspace(-1, 1, 20)[np.argsort(np.random.default_rng(0).random(20))]


def _estimates(*means: float, spread: float = 0.004, k: float = 1e-6) -> list[Estimate]:
    """Return an estimate at each of the first rungs, with these means."""
    found = []
    for mean, readers in zip(means, RUNGS, strict=False):
        value = SHAPE[:readers] - SHAPE[:readers].mean()
        covariance = np.full((readers, readers), k) + np.eye(readers) * 1e-7
        found.append(estimate(mean + spread * value, covariance, 1000))
    return found


def _judged(*courses: Course, names: str = "abcdefgh", higher: bool = True) -> list[Judged]:
    contrasts = [
        Contrast(
            f"{name} - z",
            {name: 1.0, "z": -1.0},
            estimate=course.looks[-1].estimate if course.looks else _estimates(0.0)[0],
            higher_is_better=higher,
        )
        for name, course in zip(names, courses, strict=False)
    ]
    return list(judge_climbed("asked", contrasts, courses, 0.02, 0.05, {}).judged)


def _course(*means: float, **kind: float) -> Course:
    return climb(_estimates(*means, **kind), RUNGS)


def test_the_side_that_was_told_first_stands_and_a_later_interval_against_it_is_said() -> None:
    (found,) = _judged(_course(0.05, 0.05, -0.05, -0.05))
    assert found.verdict is not None
    assert found.standing is not None
    assert found.verdict.better == "a", "though later looks tell the other side"
    assert found.standing.contradicted
    assert "The verdict stands, but the interval of 20 seeds speaks against it" in judged_text(found, TERMS)
    assert short_text(found.standing).endswith("a later interval speaks against it")
    (steady,) = _judged(_course(0.05, 0.05, 0.04, 0.04))
    assert steady.standing is not None
    assert not steady.standing.contradicted
    assert "speaks against" not in judged_text(steady, TERMS)


def test_what_was_told_is_said_with_the_sign_that_a_later_rung_has() -> None:
    """Of an interval from -0.003 to 0.004, no words may make one from 0.003 to 0.004."""
    for higher, mean in ((True, 0.05), (False, -0.05)):
        for later, sign in ((0.0001, ""), (0.05, "-")):
            (found,) = _judged(_course(mean, -later if mean > 0 else later), higher=higher)
            assert found.contrast.estimate is not None
            ends = found.contrast.estimate.lower, found.contrast.estimate.upper
            low, high = ends if mean > 0 else (-ends[1], -ends[0])
            assert low < 0
            text = judged_text(found, TERMS)
            assert f"a is better than z: AUROC by {sign}" in text
            assert f"(repeated 95 % CI {low:.3f} to {high:.3f}" in text
            (answer,) = answers((Family("asked", (found,)),), TERMS)
            assert f"(repeated 95 % CI {low:.3f} to {high:.3f})" in answer
            assert ("decided at 5 seeds, but 8 speak against it" in answer) == (later == 0.05)
    contrast = Contrast("gain", {"a": 1.0, "b": -1.0, "z": -1.0}, estimate=_estimates(0.0)[0])
    (told,) = judge_climbed("asked", [contrast], [_course(0.05, -0.05)], 0.02, 0.05, {}).judged
    assert "above 0" in judged_text(told, TERMS)


def test_equivalence_is_contradicted_by_an_interval_beyond_the_margin_alone() -> None:
    (found,) = _judged(_course(0.0, 0.0, 0.004, 0.004))
    assert found.verdict is not None
    assert found.verdict.p_equivalent <= 0.05
    assert found.standing is not None
    assert not found.standing.contradicted
    beyond = _course(0.0, 0.0, 0.05)
    short = replace(beyond, looks=tuple(replace(look, p=1.0) for look in beyond.looks))
    (against,) = _judged(short)
    assert against.verdict is not None
    assert against.verdict.kind == "equivalent"
    assert against.standing is not None
    assert against.standing.contradicted


def test_what_is_equivalent_stays_so_where_a_later_rung_tells_a_small_difference() -> None:
    course = _course(0.0, 0.0, 0.004, 0.004)
    for looks in (1, 4):
        (found,) = _judged(course.up_to(looks))
        assert found.verdict is not None
        assert found.verdict.kind == "equivalent"
        assert found.standing is not None
        assert found.standing.decided_at == 5
        assert ("A later rung tells the difference from 0 too (p " in judged_text(found, TERMS)) == (
            looks == 4
        )


def test_where_less_is_better_the_lower_one_wins() -> None:
    for higher, better in ((True, "a"), (False, "z")):
        (found,) = _judged(_course(0.05), higher=higher)
        assert found.verdict is not None
        assert found.verdict.better == better


def test_holm_counts_every_declared_contrast_at_every_rung() -> None:
    """One that is told at 8 seeds alone is told at 12 among eight, and the others stay open."""
    course = _course(0.03, 0.03, 0.03, 0.03, spread=0.02, k=9e-6)
    (alone,) = _judged(course)
    first, *others = _judged(course, *[_course(0.0, spread=0.05)] * 7)
    assert alone.standing is not None
    assert first.standing is not None
    assert first.verdict is not None
    assert (alone.standing.decided_at, first.standing.decided_at) == (8, 12)
    assert first.verdict.p == pytest.approx(8 * course.p)
    assert all(found.verdict is not None and found.verdict.kind == "undecided" for found in others)


def test_before_the_first_rung_nothing_is_decided() -> None:
    (found,) = _judged(Course(RUNGS, ()))
    assert found.verdict is not None
    assert (found.verdict.kind, found.verdict.reason) == ("undecided", "few readers")
    assert found.standing is not None
    assert found.standing.goes_on
    assert judged_text(found, TERMS).endswith("No rung is reached: the first has 5 seeds.")


def test_what_more_readers_hardly_decide_stops_and_asks_for_cases() -> None:
    (found,) = _judged(climb(_estimates(0.01, k=4e-4), RUNGS))
    assert found.standing is not None
    assert found.standing.futile
    assert not found.standing.goes_on
    text = judged_text(found, TERMS)
    assert "Stopped at 5 seeds: 20 would hardly decide it (images hold " in text
    assert f"In a new study {found.standing.cases} images probably would." in text


def test_an_undecided_pair_of_a_beaten_arm_goes_on_unless_the_question_is_which_is_best() -> None:
    """C is beaten by a; of the other two pairs, which are as open, b may still be the best."""
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    open_ = _course(0.01, spread=0.03)
    courses = [open_, _course(0.05), open_]
    judged = {}
    for of_best in (False, True):
        contrasts = [
            Contrast(
                f"{one} - {two}",
                {one: 1.0, two: -1.0},
                of_best=(one, two) if of_best else (),
                estimate=course.looks[-1].estimate,
            )
            for (one, two), course in zip(pairs, courses, strict=True)
        ]
        judged[of_best] = judge_climbed("which", contrasts, courses, 0.02, 0.05, {})
    plain, best = judged[False].judged, judged[True].judged
    assert [found.verdict for found in plain] == [found.verdict for found in best], "stopping is no verdict"
    assert [found.goes_on for found in plain] == [True, False, True]
    assert [found.goes_on for found in best] == [True, False, False]
    assert [found.left_open_by for found in best] == [(), (), ("c",)]
    rows = judged[True].as_json(TERMS)
    seen = [(row["beaten"], row["need_not_be_decided"], row["ladder"]["goes_on"]) for row in rows]
    assert seen == [([], False, True), (["c"], False, False), (["c"], True, False)]


def test_what_nothing_varies_asks_for_nothing() -> None:
    """Two arms that score alike: with seeds, and as two solved heads have it, without."""
    same = estimate(np.zeros(5), np.zeros((5, 5)), 1000)
    for readerless, says in ((False, " Stopped at 5 seeds."), (True, "judged over images alone.")):
        (found,) = _judged(climb([replace(same, readerless=readerless)], RUNGS))
        assert found.standing is not None
        assert not found.standing.goes_on
        assert judged_text(found, TERMS).endswith(says)
        assert short_text(found.standing) == ("" if readerless else "stopped: nothing varies it")


def test_a_sentence_says_where_a_study_stands() -> None:
    said = "Looks are planned at 5, 8, 12 and 20 seeds"
    assert rungs_text(RUNGS, 0, 3, TERMS) == f"{said}; none is reached."
    assert rungs_text(RUNGS, 8, 8, TERMS) == f"{said}: this is look 2, at 8."
    assert rungs_text(RUNGS, 8, 10, TERMS) == f"{said}: this is look 2, at 8; 10 are shown, and judged at 8."
    assert rungs_text((5,), 5, 5, TERMS) == "Looks are planned at 5 seeds: this is look 1, at 5."
