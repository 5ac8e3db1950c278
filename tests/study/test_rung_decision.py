"""A sweep in rungs: what its folder decides, which arms go on, and what the report says of it."""

import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.study.sweeps import planned, write_scored
from xray_tl.errors import InputError
from xray_tl.report.answer import pair_text, sentences
from xray_tl.report.page import write_report
from xray_tl.report.planned_table import planned_table, shown_planned
from xray_tl.study.analysis import analyse
from xray_tl.study.rung_decision import RungDecision, decide

RUNGS = (5, 8, 12)
ASKED = {"how_much": ["resnet18_finetune - resnet18_frozen", "resnet18_finetune - resnet18_partial"]}
MODES = ("finetune", "frozen", "partial")
SOLVED = {"kind": "solved", "penalty": [1.0]}
CASES = 800
TRUTH = np.arange(CASES) % 2


def _scores(mean: float, seed: int) -> pd.DataFrame:
    """Draw predictions of which most of the noise is of the image, and the same for all arms."""
    image = np.random.default_rng(0).normal(size=CASES)
    own = np.random.default_rng([seed, 1]).normal(size=CASES)
    logit = mean * (TRUTH - 0.5) + 0.95 * image + 0.3 * own
    return pd.DataFrame(
        {
            "split": "test",
            "case": np.arange(CASES),
            "target": "opacity",
            "truth": TRUTH,
            "logit": logit,
            "probability": 1 / (1 + np.exp(-logit)),
        }
    )


def _write(folder: Path, mode: str, seeds: range, mean: float, spread: float, **changes: Any) -> None:  # noqa: ANN401  (any part of a record)
    """Write seeds of an arm whose means alternate by `spread`."""
    for seed in seeds:
        moved = mean + spread * (1 if seed % 2 else -1) * (1 + seed % 3)
        number = 100 * MODES.index(mode) + seed
        write_scored(
            folder,
            0,
            seed,
            mode=mode,
            predictions=_scores(moved, number),
            arm_file=f"resnet18_{mode}",
            **{**planned(ASKED), "rungs": list(RUNGS), **changes},
        )


def _sweep(folder: Path, seeds: int, **changes: Any) -> Path:  # noqa: ANN401  (any part of a record)
    """Write a loud arm that is about as good as a frozen one, and much better than a third."""
    _write(folder, "finetune", range(seeds), 2.0, 0.06, **changes)
    _write(folder, "frozen", range(seeds), 1.97, 0.0, **changes)
    _write(folder, "partial", range(seeds), 1.0, 0.0, **changes)
    return folder


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _sweep(tmp_path_factory.mktemp("eight"), 8)


def _named(found: RungDecision) -> dict[str, Any]:
    return {judged.contrast.name: judged for _, judged in found.judged}


def _without(folder: Path, place: Path, seeds: range, mode: str = "") -> Path:
    """Copy a sweep without some seeds, of one arm or of all."""
    copy = Path(shutil.copytree(folder, place / "copy"))
    for run in copy.glob(f"resnet18-{mode}*"):
        if any(f"-s{seed}-" in run.name for seed in seeds):
            shutil.rmtree(run)
    return copy


def test_a_decided_contrast_stops_and_an_open_one_goes_on(eight: Path, tmp_path: Path) -> None:
    five = decide(_without(eight, tmp_path, range(5, 8)), RUNGS)
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
    five = decide(_without(eight, tmp_path / "5", range(5, 8)), RUNGS)
    seven = decide(_without(eight, tmp_path / "7", range(7, 8)), RUNGS)
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
    stopped = decide(_without(eight, tmp_path, range(5, 8), mode="partial"), RUNGS)
    open_, better = _named(stopped).values()
    assert [len(found.standing.course.looks) for found in (open_, better)] == [2, 1]
    assert better.verdict.p == pytest.approx(2 * better.standing.course.p), "Holm, of two"
    assert better.verdict.kind == "better", "its p value stands still"
    assert open_.standing.course == decide(eight, RUNGS).judged[0][1].standing.course


def test_a_run_that_failed_holds_its_arm_below_the_rung(eight: Path, tmp_path: Path) -> None:
    copy = _without(eight, tmp_path, range(6, 7), mode="finetune")
    _write(copy, "finetune", range(6, 7), 2.0, 0.0, status="failed", error="RunError: the loss is not finite")
    found = decide(copy, RUNGS)
    assert {len(judged.standing.course.looks) for _, judged in found.judged if judged.standing} == {1}
    gone = decide(_without(copy, tmp_path / "first", range(2, 3), mode="finetune"), RUNGS)
    assert gone.reached == 0
    assert gone.lines[0].endswith("No rung is reached: the first has 5 seeds.")
    assert set(gone.needs.values()) == {5}


def test_a_beaten_arm_stops_where_the_question_is_which_is_best(tmp_path: Path) -> None:
    """The losers are not told apart; one question wants to know, the other does not."""
    arms = [f"resnet18_{mode}" for mode in MODES]
    pairs = [f"{one} - {two}" for one, two in combinations(arms, 2)]
    wanted = {}
    for name, asked in (("pairs", pairs), ("best", [{"best": arms}])):
        _write(tmp_path / name, "finetune", range(5), 2.0, 0.0, **planned({"which": asked}))
        _write(tmp_path / name, "frozen", range(5), 1.03, 0.06, **planned({"which": asked}))
        _write(tmp_path / name, "partial", range(5), 1.0, 0.0, **planned({"which": asked}))
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


def test_arms_that_score_alike_stop_with_the_reason(tmp_path: Path) -> None:
    for mode in MODES:
        for seed in range(5):
            write_scored(
                tmp_path,
                0,
                seed,
                mode=mode,
                predictions=_scores(2.0, seed),
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


def test_seeds_that_share_what_a_reader_draws_reach_no_rung(tmp_path: Path) -> None:
    """Five training sets with two seeds each are five readers, but no rung of seeds."""
    for mode in ("finetune", "frozen"):
        for train_seed in range(5):
            _write(tmp_path, mode, range(2), 2.0, 0, train_seed=train_seed)
    assert decide(tmp_path, RUNGS).reached == 0


def test_the_order_of_seeds_counts(eight: Path, tmp_path: Path) -> None:
    """From the fourth seed on, the first rung is another five seeds."""
    later = decide(_without(eight, tmp_path, range(3)), RUNGS)
    assert later.ladder.first == 3
    first, other = (found.judged[0][1].standing.course.looks[0] for found in (later, decide(eight, RUNGS)))
    assert first.estimate.value != other.estimate.value
    assert first.p_equivalent != other.p_equivalent


def test_solved_arms_are_on_every_rung_and_two_of_them_have_one_look(tmp_path: Path) -> None:
    asked = {"how_much": [*ASKED["how_much"], "resnet18_frozen - resnet18_partial"]}
    _write(tmp_path, "finetune", range(8), 2.0, 0.06, **planned(asked))
    for mode, mean in (("frozen", 1.97), ("partial", 1.0)):
        _write(tmp_path, mode, range(1), mean, 0, head=SOLVED, **planned(asked))
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
            _write(tmp_path / place, mode, range(seeds), mean, 0.06, **planned(asked))
    five, seven = (decide(tmp_path / place, RUNGS).judged[0][1] for place in ("five", "seven"))
    assert five.contrast.metric == "sensitivity"
    assert five.standing
    assert len(five.standing.course.looks) == 1
    assert five == seven


def test_the_report_judges_at_rungs_and_says_which(eight: Path, tmp_path: Path) -> None:
    copy = _without(eight, tmp_path, range(7, 8))
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
    for folder, reached in ((eight, True), (_sweep(tmp_path, 4), False)):
        done = analyse(folder)
        for pair in done.comparison.verdicts:
            assert ("repeated 95 % CI" in pair_text(done, pair)) == reached


def test_without_rungs_in_its_records_a_sweep_is_judged_with_all_seeds(tmp_path: Path) -> None:
    done = analyse(_sweep(tmp_path, 7, rungs=None))
    assert done.ladder is None
    assert {pair.readers for pair in done.comparison.analysis.pairs.values()} == {7}
    assert all(found.standing is None for family in done.comparison.families for found in family.judged)


def test_rungs_that_were_changed_or_came_later_are_said(eight: Path, tmp_path: Path) -> None:
    later = {"rungs": [5, 10], "began": "2026-12-02T10:00:00+00:00"}
    copy = Path(shutil.copytree(eight, tmp_path / "copy"))
    _write(copy, "frozen", range(7, 8), 1.97, 0, **later)
    done = analyse(copy)
    assert done.ladder
    assert done.ladder.rungs == RUNGS
    assert any(
        "the rungs were changed: 23 runs of [5, 8, 12], 1 runs of [5, 10]" in line for line in done.problems
    )
    _write(copy, "frozen", range(7, 8), 1.97, 0, rungs=None)
    assert any("1 of 24 runs were trained before rungs" in line for line in analyse(copy).problems)


def test_what_cannot_be_decided_is_refused(eight: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rungs=\[5, 6\]: 5 and 6 stand too close"):
        decide(eight, (5, 6))
    with pytest.raises(InputError, match="has no run with a record"):
        decide(tmp_path, RUNGS)
    with pytest.raises(InputError, match="no planned contrast"):
        decide(_sweep(tmp_path / "without", 5, planned=None), RUNGS)
