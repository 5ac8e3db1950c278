"""What a sweep in rungs decides from its folder, and which arms go on."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.study.rung_sweeps import MODES, RUNGS, without, write_arm, write_rungs
from tests.study.sweeps import planned
from xray_tl.errors import InputError
from xray_tl.report.answer import sentences
from xray_tl.report.planned_table import planned_table, shown_planned
from xray_tl.study.analysis import analyse
from xray_tl.study.rung_decision import RungDecision, decide


def _named(found: RungDecision) -> dict[str, Any]:
    return {judged.contrast.name: judged for _, judged in found.judged}


def test_a_decided_contrast_stops_and_an_open_one_goes_on(eight: Path, tmp_path: Path) -> None:
    five = decide(without(eight, tmp_path, range(5, 8)), RUNGS)
    open_, better = five.judged[0][1], five.judged[1][1]
    assert better.verdict
    assert better.verdict.better == "resnet18 finetune random"
    assert better.standing
    assert better.standing.decided_at == 5
    assert open_.is_open
    assert open_.standing
    assert open_.standing.goes_on
    assert [found for _, found in five.open] == [open_]
    hashes = {mode: f"resnet18-{mode}-[]" for mode in MODES}
    assert {mode: len(five.seeds_for(hashes[mode])) for mode in MODES} == {
        "finetune": 8,
        "frozen": 8,
        "partial": 5,
    }
    assert five.seeds_for("never run") == range(5)
    assert five.reached == 5
    assert "5 seeds, 1 of 3 planned looks: 8 come next." in five.lines[0]
    assert "Decided at 5 seeds, after 1 of 3 planned looks." in five.lines[1]


def test_the_verdict_at_a_rung_does_not_know_of_later_seeds(eight: Path, tmp_path: Path) -> None:
    """Seven seeds are judged as five are, eight with one look more and the same first one."""
    five = decide(without(eight, tmp_path / "5", range(5, 8)), RUNGS)
    seven = decide(without(eight, tmp_path / "7", range(7, 8)), RUNGS)
    assert five.families == seven.families
    assert five.needs == seven.needs
    both = zip(decide(eight, RUNGS).judged, five.judged, strict=True)
    for (_, later), (_, before) in both:
        assert later.standing
        assert before.standing
        assert later.standing.course.up_to(1) == before.standing.course
        assert len(later.standing.course.looks) == 2
        assert later.standing.course.p <= before.standing.course.p


def test_arms_that_stopped_stay_in_the_count_of_their_family(eight: Path, tmp_path: Path) -> None:
    stopped = decide(without(eight, tmp_path, range(5, 8), mode="partial"), RUNGS)
    open_, better = _named(stopped).values()
    assert [len(found.standing.course.looks) for found in (open_, better)] == [2, 1]
    assert better.verdict.p == pytest.approx(2 * better.standing.course.p), "Holm, of two"
    assert better.verdict.kind == "better", "its p value stands still"
    assert open_.standing.course == decide(eight, RUNGS).judged[0][1].standing.course


def test_a_run_that_failed_holds_its_arm_below_the_rung(eight: Path, tmp_path: Path) -> None:
    copy = without(eight, tmp_path, range(6, 7), mode="finetune")
    write_arm(
        copy, "finetune", range(6, 7), 2.0, 0.0, status="failed", error="RunError: the loss is not finite"
    )
    found = decide(copy, RUNGS)
    assert {len(judged.standing.course.looks) for _, judged in found.judged if judged.standing} == {1}
    gone = decide(without(copy, tmp_path / "first", range(2, 3), mode="finetune"), RUNGS)
    assert gone.reached == 0
    assert gone.lines[0].endswith("No rung is reached: the first has 5 seeds.")
    assert set(gone.needs.values()) == {5}


def test_a_beaten_arm_stops_where_the_question_is_which_is_best(tmp_path: Path) -> None:
    """The losers are not told apart; one question wants to know, the other does not."""
    arms = [f"resnet18_{mode}" for mode in MODES]
    pairs = [f"{one} - {two}" for one, two in combinations(arms, 2)]
    wanted = {}
    for name, asked in (("pairs", pairs), ("best", [{"best": arms}])):
        write_arm(tmp_path / name, "finetune", range(5), 2.0, 0.0, **planned({"which": asked}))
        write_arm(tmp_path / name, "frozen", range(5), 1.03, 0.06, **planned({"which": asked}))
        write_arm(tmp_path / name, "partial", range(5), 1.0, 0.0, **planned({"which": asked}))
        found = decide(tmp_path / name, RUNGS)
        wanted[name] = [len(found.seeds_for(f"resnet18-{mode}-[]")) for mode in MODES]
        (family,) = found.families
        assert [judged.verdict and judged.verdict.kind for judged in family.judged] == [
            "better",
            "better",
            "undecided",
        ]
    assert wanted == {"pairs": [5, 8, 8], "best": [5, 5, 5]}
    assert not found.open
    assert found.lines[0].startswith("Which: the best of 3 is resnet18 finetune random; ")
    assert found.lines[3].endswith(
        "It may stay so: resnet18 frozen random and resnet18 partial random are beaten, and the question is "
        "which is best."
    )
    done = analyse(tmp_path / "best")
    table = planned_table(done)
    frozen, partial = "resnet18 frozen random", "resnet18 partial random"
    assert list(table["beaten"]) == [frozen, partial, f"{frozen}; {partial}"]
    assert list(table["need_not_be_decided"]) == [False, False, True]
    assert sentences(done)[2].startswith("This holds for "), "nothing is left to decide"
    assert sentences(done)[0].startswith("Which: the best of 3 is resnet18 finetune random; ")
    assert shown_planned(done)[1][2][-1] == (
        "undecided (resnet18 frozen random and resnet18 partial random are beaten)"
    )


def test_seeds_that_share_what_a_reader_draws_reach_no_rung(tmp_path: Path) -> None:
    """Five training sets with two seeds each are five readers, but no rung of seeds."""
    for mode in ("finetune", "frozen"):
        for train_seed in range(5):
            write_arm(tmp_path, mode, range(2), 2.0, 0, train_seed=train_seed)
    assert decide(tmp_path, RUNGS).reached == 0


def test_the_order_of_seeds_counts(eight: Path, tmp_path: Path) -> None:
    """From the fourth seed on, the first rung is another five seeds."""
    later = decide(without(eight, tmp_path, range(3)), RUNGS)
    assert later.ladder.first == 3
    first, other = (found.judged[0][1].standing.course.looks[0] for found in (later, decide(eight, RUNGS)))
    assert first.estimate.value != other.estimate.value
    assert first.p_equivalent != other.p_equivalent


def test_what_cannot_be_decided_is_refused(eight: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rungs=\[5, 6\]: 5 and 6 stand too close"):
        decide(eight, (5, 6))
    with pytest.raises(InputError, match="has no run with a record"):
        decide(tmp_path, RUNGS)
    with pytest.raises(InputError, match="no planned contrast"):
        decide(write_rungs(tmp_path / "without", 5, planned=None), RUNGS)
