"""The declared questions in a report: answered first, in tables of their own."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.study.sweeps import planned, write_planned, write_scored, write_study
from xray_tl.report.answer import sentences
from xray_tl.report.page import PARTS, write_report
from xray_tl.report.planned_table import planned_table, shown_late, shown_planned
from xray_tl.report.tables import pairs_table, shown_pairs
from xray_tl.study.analysis import analyse

A, B, C, D = (f"{model} {mode} random" for model in ("resnet18", "vgg16") for mode in ("finetune", "frozen"))
FAMILIES: dict[str, list[Any]] = {
    "how_much_to_train": [
        "resnet18_finetune - resnet18_frozen",
        "vgg16_frozen - vgg16_finetune",
        "resnet18_finetune - resnet50_partial",
    ],
    "does_it_depend": [
        "resnet18_finetune - resnet18_frozen - vgg16_finetune + vgg16_frozen",
        {"contrast": "resnet18_finetune - vgg16_finetune", "metric": "sensitivity"},
    ],
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planned(tmp_path_factory.mktemp("sweep"), FAMILIES)


def test_tables_hold_what_was_planned_and_what_was_explored(sweep: Path) -> None:
    done = analyse(sweep)
    table = planned_table(done)
    assert list(table["question"]) == ["how_much_to_train"] * 3 + ["does_it_depend"] * 2
    assert list(table["metric"]) == ["AUROC"] * 4 + ["sensitivity"]
    assert table["missing"].iloc[2] == "no run of resnet50_partial"
    assert (table["p_holm"].dropna() >= table["p"].dropna()).all()
    every = pairs_table(done)
    assert len(every) == 6
    asked = every[every["question"] != ""]
    assert {frozenset(row) for row in asked[["first", "second"]].to_numpy()} == {
        frozenset((A, B)),
        frozenset((C, D)),
    }
    of_pair = table.iloc[0]
    (row,) = asked[asked["first"] == A].to_dict("records")
    assert (row["p_holm"], row["verdict"]) == (of_pair["p_holm"], of_pair["verdict"]), "one verdict on a pair"
    _, rows = shown_pairs(done)
    assert len(rows) == 4
    head, shown = shown_planned(done)
    assert len(shown) == 5
    assert all(len(row) == len(head) for row in shown)
    assert shown[0][-1] == f"{A} is better"
    assert head.index("images' share") == 7
    assert shown[0][7].endswith("%")
    assert shown[2][3:] == [*[""] * 7, "no run of resnet50_partial"]


def test_the_first_sentence_answers_the_questions(sweep: Path) -> None:
    first, second, third = sentences(analyse(sweep))
    assert first.startswith(f"How much to train: {A} is better than {B}, by 0.")
    assert "undecided for 1 of 3 contrasts; no result for 1 of 3." in first
    assert "highest" not in first
    assert "the highest test AUROC, 0.9" in second
    assert f"of {A}, is an observer efficiency of 0.40" in second
    assert third.startswith(f"{D} against {C}: ")
    assert "This holds for new seeds and new images, on this training set, for these 2 sets of " in third


def test_the_scope_is_that_of_the_arms_in_questions(tmp_path: Path) -> None:
    write_planned(tmp_path, {"how_much": ["resnet18_finetune - resnet18_frozen"]})
    *_, third = sentences(analyse(tmp_path))
    _, scope = third.split("This holds for ")
    assert scope.endswith("for this set of random weights (seed 0, sha sha-re) alone.")


def test_without_a_plan_the_best_arm_is_named(tmp_path: Path) -> None:
    first, second, _ = sentences(analyse(write_study(tmp_path)))
    assert first.startswith(f"{A} has the highest test AUROC")
    assert "so its observer efficiency is 0.40" in second


def test_the_page_has_planned_questions_before_what_was_explored(sweep: Path) -> None:
    page = write_report(sweep).read_text()
    assert page.index("<h2>Planned questions</h2>") < page.index("<h2>Explored differences</h2>")
    assert '<figure id="planned">' in page
    assert "Holm, over 4 pairs" in page
    assert "Declared later" not in page
    text = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    between = text[text.index("<h2>Planned") : text.index("<h2>Explored")]
    assert "no run of resnet50_partial" in between
    assert len(pd.read_csv(sweep / PARTS / "planned.csv")) == 5


def test_what_was_declared_later_has_intervals_and_no_verdict(tmp_path: Path) -> None:
    write_planned(tmp_path)
    late = planned({"more": ["resnet18_finetune - resnet18_frozen - vgg16_finetune + vgg16_frozen"]})
    write_scored(
        tmp_path, 2.0, 5, arm_file="resnet18_finetune", **late | {"began": "2026-12-01T09:30:00+00:00"}
    )
    done = analyse(tmp_path)
    assert not done.comparison.families
    said = shown_late(done)
    assert len(said) == 2
    for text in said:
        assert "AUROC +0." in text
        assert not re.search(r"differs|better|above|below|equivalent|undecided|p [=<]", text)
    page = write_report(tmp_path).read_text()
    assert "<h2>Differences</h2>" in page
    assert "<h3>Declared later</h3>" in page
    assert "Planned questions" not in page
    assert "The question more stands so since 2026-12-01 09:30 UTC" in page
    assert "has the highest test AUROC" in sentences(done)[0]
