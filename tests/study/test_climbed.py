"""A sweep in rungs as it is judged: which seeds and arms count at a rung, and what the report says of it."""

import shutil
from pathlib import Path

from tests.study.rung_sweeps import ASKED, MODES, RUNGS, SOLVED, scores_of, without, write_arm, write_rungs
from tests.study.sweeps import planned, write_scored
from xray_tl.report.answer import pair_text, sentences
from xray_tl.report.page import write_report
from xray_tl.report.planned_table import planned_table, shown_planned
from xray_tl.study.analysis import analyse
from xray_tl.study.rung_decision import decide


def test_arms_that_score_alike_stop_with_the_reason(tmp_path: Path) -> None:
    for mode in MODES:
        for seed in range(5):
            write_scored(
                tmp_path,
                0,
                seed,
                mode=mode,
                predictions=scores_of(2.0, seed),
                arm_file=f"resnet18_{mode}",
                **{**planned(ASKED), "rungs": list(RUNGS)},
            )
    found = decide(tmp_path, RUNGS)
    assert not found.open
    for line in found.lines:
        assert "(they put the images in the same order for every seed: the difference is exactly 0)" in line
        assert line.endswith(" Stopped at 5 seeds.")
    assert set(found.needs.values()) == {5}
    done = analyse(tmp_path)
    assert (
        "finetune random against resnet18 frozen random: they put the images in the same"
        in sentences(done)[2]
    )
    assert shown_planned(done)[1][0][-1] == "undecided (stopped: nothing varies it)"


def test_solved_arms_are_on_every_rung_and_two_of_them_have_one_look(tmp_path: Path) -> None:
    asked = {"how_much": [*ASKED["how_much"], "resnet18_frozen - resnet18_partial"]}
    write_arm(tmp_path, "finetune", range(8), 2.0, 0.06, **planned(asked))
    for mode, mean in (("frozen", 1.97), ("partial", 1.0)):
        write_arm(tmp_path, mode, range(1), mean, 0, head=SOLVED, **planned(asked))
    found = decide(tmp_path, RUNGS)
    mixed, _, alone = (judged for _, judged in found.judged)
    assert [len(judged.standing.course.looks) for judged in (mixed, alone)] == [2, 1]
    assert alone.verdict.kind == "better"
    assert not alone.standing.goes_on
    assert "look" not in found.lines[2], "no seed varies it"
    assert "repeated" not in found.lines[2]


def test_another_metric_is_judged_from_the_seeds_of_a_rung_too(tmp_path: Path) -> None:
    asked = {"cut": [{"contrast": "resnet18_finetune - resnet18_partial", "metric": "sensitivity"}]}
    for place, seeds in (("five", 5), ("seven", 7)):
        for mode, mean in (("finetune", 2.0), ("partial", 1.0)):
            write_arm(tmp_path / place, mode, range(seeds), mean, 0.06, **planned(asked))
    five, seven = (decide(tmp_path / place, RUNGS).judged[0][1] for place in ("five", "seven"))
    assert five.contrast.metric == "sensitivity"
    assert five.standing
    assert len(five.standing.course.looks) == 1
    assert five == seven


def test_the_report_judges_at_rungs_and_says_which(eight: Path, tmp_path: Path) -> None:
    copy = without(eight, tmp_path, range(7, 8))
    done, found = analyse(copy), decide(copy, RUNGS)
    for family, of_decision in zip(done.comparison.families, found.families, strict=True):
        for one, other in zip(family.judged, of_decision.judged, strict=True):
            assert (one.contrast, one.standing) == (other.contrast, other.standing)
            assert one.verdict
            assert other.verdict
            assert one.verdict.p == other.verdict.p
    first, _, third = sentences(done)
    assert (
        "Looks are planned at 5, 8 and 12 seeds: this is look 1, at 5; 7 are shown, and judged at 5." in first
    )
    assert "repeated 95 % CI" in first
    assert "second look" not in third
    assert "1 of 3 planned looks: 8 come next" in third
    assert shown_planned(done)[1][0][-1] == "undecided (goes on to 8)"
    assert list(planned_table(done)["decided_at"].fillna(0)) == [0, 5]
    assert set(done.comparison.analysis.pairs) == set(done.comparison.verdicts)
    assert {pair.readers for pair in done.comparison.analysis.pairs.values()} == {5}, "explored ones too"
    page = write_report(copy).read_text(encoding="utf-8")
    assert "raises the error" not in page
    assert not [problem for problem in done.problems if "of 7 seeds" in problem]


def test_a_pair_below_the_first_rung_has_a_plain_interval_and_is_said_to(eight: Path, tmp_path: Path) -> None:
    for folder, reached in ((eight, True), (write_rungs(tmp_path, 4), False)):
        done = analyse(folder)
        for pair in done.comparison.verdicts:
            assert ("repeated 95 % CI" in pair_text(done, pair)) == reached


def test_without_rungs_in_its_records_a_sweep_is_judged_with_all_seeds(tmp_path: Path) -> None:
    done = analyse(write_rungs(tmp_path, 7, rungs=None))
    assert done.ladder is None
    assert {pair.readers for pair in done.comparison.analysis.pairs.values()} == {7}
    assert all(found.standing is None for family in done.comparison.families for found in family.judged)


def test_rungs_that_were_changed_or_came_later_are_said(eight: Path, tmp_path: Path) -> None:
    later = {"rungs": [5, 10], "began": "2026-12-02T10:00:00+00:00"}
    copy = Path(shutil.copytree(eight, tmp_path / "copy"))
    write_arm(copy, "frozen", range(7, 8), 1.97, 0, **later)
    done = analyse(copy)
    assert done.ladder
    assert done.ladder.rungs == RUNGS
    assert any(
        "the rungs were changed: 23 runs of [5, 8, 12], 1 runs of [5, 10]" in line for line in done.problems
    )
    write_arm(copy, "frozen", range(7, 8), 1.97, 0, rungs=None)
    assert any("1 of 24 runs were trained before rungs" in line for line in analyse(copy).problems)
