"""Which questions were planned before a sweep's runs, and which came later."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.study.sweeps import ASKED, planned, write_planned, write_scored, write_study
from xray_tl.store.files import write_text
from xray_tl.study.analysis import analyse
from xray_tl.study.questions import SWEEP, Questions, questions
from xray_tl.study.study_folder import Study

LATER = {"planned": None, "began": "2026-12-01T09:30:00+00:00"}
FINETUNE, FROZEN = "resnet18 finetune random", "resnet18 frozen random"


def _read(folder: Path) -> Questions:
    return questions(folder, Study.load(folder).arms)


def _write_more(folder: Path, mode: str, seeds: range, families: dict[str, Any] | None) -> None:
    changes = planned(families) | {"began": LATER["began"]} if families else LATER
    for seed in seeds:
        write_scored(folder, 1.0, seed, mode=mode, arm_file=f"resnet18_{mode}", **changes)


def test_a_question_in_all_records_of_its_arms_is_planned(tmp_path: Path) -> None:
    found = _read(write_planned(tmp_path))
    ((name, (contrast,)),) = found.planned.items()
    assert name == "how_much"
    assert contrast.weights == {FINETUNE: 1, FROZEN: -1}
    assert contrast.is_main
    assert not found.late
    assert not found.remarks


def test_without_a_plan_there_is_no_question(tmp_path: Path) -> None:
    assert _read(write_study(tmp_path)) == Questions()


def test_a_contrast_added_after_the_first_run_is_explored_with_its_date(tmp_path: Path) -> None:
    write_planned(tmp_path, seeds=5)
    _write_more(
        tmp_path, "frozen", range(5, 7), {"how_much": [*ASKED["how_much"], "vgg16_finetune - vgg16_frozen"]}
    )
    found = _read(tmp_path)
    assert not found.planned, "its family was not the same in all runs of its arms"
    (late,) = found.late
    assert (late.since, late.older, late.other, late.runs) == ("2026-12-01T09:30:00+00:00", 20, 0, 22)
    (said,) = [line for line in found.remarks if line.startswith("explored, not planned")]
    assert (
        "The question how_much stands so since 2026-12-01 09:30 UTC, and of 22 runs of these arms 20" in said
    )
    done = analyse(tmp_path)
    assert not done.comparison.families
    assert set(found.remarks) <= set(done.problems)


def test_the_last_plan_says_whether_pairs_ask_which_is_best(tmp_path: Path) -> None:
    """The same family either way, so it stays planned; the last command counts before it has any run."""
    pairs, best = ASKED, {"how_much": [{"best": ["resnet18_frozen", "resnet18_finetune"]}]}
    write_planned(tmp_path, pairs)
    assert _asks_best(tmp_path) == [()]
    write_text(tmp_path / SWEEP, OmegaConf.to_yaml(OmegaConf.create({"planned": best})))
    assert _asks_best(tmp_path) == [(FROZEN, FINETUNE)]
    (tmp_path / SWEEP).unlink()
    _write_more(tmp_path, "frozen", range(5, 7), best)
    assert _asks_best(tmp_path) == [(FROZEN, FINETUNE)]
    write_text(tmp_path / SWEEP, OmegaConf.to_yaml(OmegaConf.create({"planned": pairs})))
    assert _asks_best(tmp_path) == [()]


def _asks_best(folder: Path) -> list[tuple[str, ...]]:
    found = _read(folder)
    assert not found.late
    return [contrast.of_best for asked in found.planned.values() for contrast in asked]


def test_which_is_best_names_an_arm_that_never_ran(tmp_path: Path) -> None:
    arms = ["resnet18_finetune", "resnet18_frozen", "resnet50_frozen"]
    write_planned(tmp_path, {"which": [{"best": arms}]})
    assert _asks_best(tmp_path) == [
        (FINETUNE, FROZEN),
        (FINETUNE, "resnet50_frozen"),
        (FROZEN, "resnet50_frozen"),
    ]


def test_runs_of_an_earlier_version_are_older(tmp_path: Path) -> None:
    write_planned(tmp_path)
    write_scored(tmp_path, 1.0, 5, mode="frozen")
    (late,) = _read(tmp_path).late
    assert (late.older, late.other, late.runs) == (1, 0, 11)


def test_a_plan_that_was_dropped_is_none(tmp_path: Path) -> None:
    write_planned(tmp_path)
    _write_more(tmp_path, "frozen", range(5, 7), None)
    found = _read(tmp_path)
    assert not found.planned
    (late,) = found.late
    assert (late.older, late.other, late.runs) == (0, 2, 12)
    assert "of 12 runs of these arms 2 have another plan" in found.remarks[-1]


def test_a_question_on_other_arms_leaves_the_first_one_planned(tmp_path: Path) -> None:
    changes = {"arm_file": "resnet18_finetune", **planned()}
    for seed in range(5):
        write_scored(tmp_path, 2.0, seed, **changes)
        write_scored(tmp_path, 1.0, seed, mode="frozen", **changes | {"arm_file": "resnet18_frozen"})
    both = {**ASKED, "other": ["resnet18_frozen - resnet18_partial"]}
    _write_more(tmp_path, "partial", range(5), both)
    found = _read(tmp_path)
    assert list(found.planned) == ["how_much"]
    (late,) = found.late
    assert (late.family, late.older) == ("other", 5)
    remark = "more than one plan of questions in this folder: 10 runs of plan "
    assert any(line.startswith(remark) for line in found.remarks)


def test_a_plan_that_no_run_has_is_known_from_the_last_command(tmp_path: Path) -> None:
    write_planned(tmp_path)
    asked = {"how_much": ["resnet18_finetune - vgg16_frozen"], "new": ["resnet50_frozen - vgg19_frozen"]}
    write_text(tmp_path / SWEEP, OmegaConf.to_yaml(OmegaConf.create({"planned": asked})))
    when = datetime(2026, 12, 2, 8, 15, tzinfo=UTC).timestamp()
    os.utime(tmp_path / SWEEP, (when, when))
    found = _read(tmp_path)
    assert list(found.planned) == ["how_much"], "the one in the records stands"
    (late,) = found.late
    assert (late.since[:16], late.older) == ("2026-12-02T08:15", 10)
    assert late.contrasts[0].name == f"{FINETUNE} - vgg16 frozen random"


def test_two_plans_in_one_folder_are_said_and_each_holds_for_its_own_arms(tmp_path: Path) -> None:
    write_planned(tmp_path)
    for mode, strength in (("partial", 1.0), ("bias", 1.1)):
        for seed in range(5):
            changes = planned({"how_much": ["resnet18_partial - resnet18_bias"]})
            write_scored(tmp_path, strength, seed, mode=mode, arm_file=f"resnet18_{mode}", **changes)
    found = _read(tmp_path)
    assert list(found.planned) == ["how_much", "how_much (2)"]
    assert not found.late
    (said,) = found.remarks
    assert said.startswith("more than one plan of questions in this folder: ")
    assert "20 runs of plan " in said
    assert "10 runs of plan " in said


@pytest.mark.parametrize(
    ("asked", "missing"),
    [
        ("resnet18_finetune - resnet50_frozen", "no run of resnet50_frozen"),
        ("resnet18_finetune - optim.lr=1e-3", "optim.lr=1e-3 may be "),
        ("resnet18_finetune - resnet18_finetune optim.lr=0.001", "two of its names are one arm"),
        ("resnet18_finetune - resnet18_frozen weights=source", "no run of resnet18_frozen weights=source"),
    ],
)
def test_what_has_no_result_says_why_and_counts(tmp_path: Path, asked: str, missing: str) -> None:
    write_planned(tmp_path, {"q": [asked, "resnet18_finetune - vgg16_finetune"]})
    first, second = _read(tmp_path).planned["q"]
    assert first.missing.startswith(missing)
    (family,) = analyse(tmp_path).comparison.families
    none, found = family.judged
    assert none.verdict is None
    assert found.verdict is not None
    assert second.weights == found.contrast.weights
    estimate = found.contrast.estimate
    assert estimate is not None
    assert found.verdict.p == pytest.approx(min(1, 2 * estimate.p)), "two were declared"


def test_a_contrast_in_other_words_is_judged_in_its_first_question_alone(tmp_path: Path) -> None:
    """Else the verdict of the second, a family of one, would stand in the first too."""
    first = ["resnet18_finetune - resnet18_frozen", "vgg16_finetune - vgg16_frozen"]
    again = ["resnet18_frozen augment=none - resnet18_finetune augment=none"]
    other = ["vgg16_frozen - resnet18_frozen"]
    done = analyse(write_planned(tmp_path, {"first": first, "again": again + other}))
    (judged, _), (twin, open_) = (family.judged for family in done.comparison.families)
    assert judged.contrast.estimate is not None
    assert judged.verdict is not None
    assert judged.verdict.p == pytest.approx(2 * judged.contrast.estimate.p)
    assert (twin.verdict, twin.contrast.missing) == (None, "asked already, in first")
    assert open_.verdict is not None


def test_arms_are_told_apart_by_options(tmp_path: Path) -> None:
    asked = "arm data.n_train=200 - arm data.n_train=100"
    plan = planned({"q": [asked, "arm augment=light - arm weights=random augment=none data.n_train=100"]})
    for seed in range(5):
        for options in ({}, {"data.n_train": 200}, {"augment.name": "light"}):
            write_scored(tmp_path, 1.0, seed, options=options, arm_file="arm", **plan)
    first, second = _read(tmp_path).planned["q"]
    assert first.missing.startswith("arm data.n_train=100 may be "), "two arms have 100"
    assert not second.missing
    assert [label.split(", ")[1:] for label in second.weights] == [["augment=light"], []]


def test_a_plan_names_no_arm(tmp_path: Path) -> None:
    """Runs differ in what was declared, and stay one arm; arms are called by what changes results."""
    for seed in range(2):
        write_scored(
            tmp_path, 1.0, seed, options={"optim.lr": 0.1, "planned.q": [f"a{seed} - b"]}, arm_hash="x"
        )
        write_scored(tmp_path, 1.0, seed, options={"optim.lr": 0.2, "arm_file": f"file{seed}"}, arm_hash="y")
    assert sorted(arm.label.split(", ", 1)[1] for arm in Study.load(tmp_path).arms) == ["lr=0.1", "lr=0.2"]


def test_a_plan_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    write_planned(tmp_path)
    write_scored(tmp_path, 1.0, 5, planned={"families": {"q": ["a"]}}, arm_file="resnet18_finetune")
    found = _read(tmp_path)
    assert any(
        'what it says of declared questions cannot be read: planned: q: "a"' in r for r in found.remarks
    )
    assert not found.planned
