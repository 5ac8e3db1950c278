"""A plan from an earlier sweep's folder: what it knows of the planned contrasts, and what they take."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.study.sweeps import write_planned, write_scored
from xray_tl.config.planned import declared
from xray_tl.errors import InputError
from xray_tl.report.plan_map import KINDS, decided, draw_map
from xray_tl.report.plan_text import chances_table, format_plan, paper_line, sizes_table
from xray_tl.statistics import planning
from xray_tl.study.pilot import Pilot, pilot
from xray_tl.study.sizing import TIMES, TRUE, course, sizes

ASKED = {
    "how_much": ["resnet18_finetune - resnet18_frozen", "vgg16_finetune - vgg16_frozen"],
    "which": ["resnet18_finetune - vgg16_finetune", "resnet18_finetune - resnet50_partial"],
}
SOLVED = {"kind": "solved", "penalty": [1.0]}


def _asked(families: dict[str, Any] | None = None) -> dict:
    return dict(declared(OmegaConf.create({"planned": families or ASKED})))


@pytest.fixture(autouse=True)
def _few_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "STUDIES", 300)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    place = write_planned(tmp_path_factory.mktemp("earlier"), ASKED)
    return pilot(place, _asked(), {"data.n_train": 200, "augment.degrees": 0})


def test_a_sweep_knows_the_contrasts_of_its_arms_and_names_the_others(earlier: Pilot) -> None:
    assert [len(found) for found in earlier.questions.values()] == [2, 1]
    assert earlier.absent == ("resnet18_finetune - resnet50_partial: no run of resnet50_partial",)
    assert (earlier.readers, earlier.images, earlier.reader, earlier.backbones) == (5, 60, "seed", 0)
    assert {known.family for known in earlier.known} == {2}, "a contrast without a run counts"
    assert earlier.differing == ("data.n_train=100 there, 200 here",)
    assert all(cost.minutes(10, 60) == pytest.approx(10 * 2 / 60) for cost in earlier.costs.values())


def test_a_question_takes_the_most_that_any_of_its_contrasts_takes(earlier: Pilot) -> None:
    rows = sizes(earlier, 4000, 0.05, 0.05)
    assert [(row.question, row.images) for row in rows] == [
        (question, 4000 * times) for question in ("how_much", "which") for times in TIMES
    ]
    first = rows[0]
    assert first.told is not None
    assert first.same is not None
    assert first.trainings == 4 * max(first.told, first.same)
    assert first.minutes == pytest.approx(first.trainings * 2 / 60)
    assert sizes(earlier, 60, 0.001, 0.001)[0].told is None


def test_what_until_decided_takes_is_between_the_first_rung_and_the_last(earlier: Pilot) -> None:
    found = course(earlier, 4000, (5, 8, 12))
    assert [known.name for known, _ in found.chances] == [known.name for known in earlier.known]
    assert all(4 * 5 <= runs <= 4 * 12 for runs in found.trainings)
    table = chances_table(found)
    assert len(table) == 3 * len(TRUE)
    assert table[["better", "equivalent", "undecided"]].sum(axis=1).to_numpy() == pytest.approx(1)


def test_arms_that_are_beaten_take_fewer_trainings_where_the_question_is_which_is_best(
    tmp_path: Path,
) -> None:
    arms = ["resnet18_finetune", "vgg16_finetune", "vgg16_frozen"]
    best, pairs = [{"best": arms}], [f"{one} - {two}" for one, two in combinations(arms, 2)]
    found = {}
    for name, asked in (("best", best), ("pairs", pairs)):
        folder = write_planned(tmp_path / name, {"which": asked})
        found[name] = course(pilot(folder, _asked({"which": asked}), {}), 4000, (5, 8, 12))
    chances = [[rates for _, rates in course_.chances] for course_ in found.values()]
    assert [[one.better for one in each] for each in chances[0]] == [
        [one.better for one in each] for each in chances[1]
    ]
    fewer = [one - two for one, two in zip(found["pairs"].trainings, found["best"].trainings, strict=True)]
    assert min(fewer) >= 0
    assert max(fewer) > 1
    others = ([{"best": ["vgg16_frozen", "resnet18_frozen"]}], ["vgg16_frozen - resnet18_frozen"])
    two = [_asked({"which": best, "others": asked}) for asked in others]
    ways = [course(pilot(tmp_path / "best", asked, {}), 4000, (5, 8, 12)).trainings for asked in two]
    assert ways[0] == ways[1], "what is beaten in one question is not beaten in another"
    assert "An arm that is beaten stops" in _text(tmp_path / "best", best)
    assert "An arm that is beaten stops" not in _text(tmp_path / "pairs", pairs)


def _text(folder: Path, asked: object) -> str:
    known = pilot(folder, _asked({"which": asked}), {})
    return format_plan(known, [], course(known, 4000, (5, 8)), ("mine", 4000, 0.02, 0.02), (5, 8))


def test_solved_arms_take_one_run_and_no_seed(tmp_path: Path) -> None:
    for model, strength in (("resnet18", 2.5), ("vgg16", 0.9)):
        write_scored(tmp_path, strength, 0, model, "frozen", head=SOLVED, arm_file=f"{model}_frozen")
    asked = {"which": ["resnet18_frozen - vgg16_frozen"]}
    alone = pilot(tmp_path, _asked(asked), {})
    row = sizes(alone, 60_000, 0.05, 0.05)[0]
    assert (row.told, row.same, row.trainings) == (0, 0, 2)
    assert alone.readers == 0
    assert "60000 test images for which tell" in paper_line(alone, [row], 0.05, 0.05)
    assert course(alone, 60_000, (5, 8)).trainings == (2.0,) * len(TRUE)


def test_a_plan_says_what_it_rests_on(earlier: Pilot) -> None:
    rows, found = sizes(earlier, 4000, 0.05, 0.05), course(earlier, 4000, (5, 8, 12), 0.05)
    text = format_plan(earlier, rows, found, ("mine", 4000, 0.05, 0.05), (5, 8, 12))
    assert text.startswith(
        "study=mine: to tell 0.05 from 0, and to show arms that are equal to be equivalent"
    )
    assert "until=decided, rungs 5, 8, 12, 4000 images" in text
    assert (
        "The variance of seeds is known from 5 of them: the true one may be 0.4 to 8.3 times as large."
        in text
    )
    assert "Not in this plan: resnet18_finetune - resnet50_partial: no run of resnet50_partial." in text
    assert "of other data or training: data.n_train=100 there, 200 here." in text
    assert "For a paper: by the variances of an earlier sweep (5 seeds, 60 test images), " in text
    assert list(sizes_table(rows, 0.05, "seed"))[2:4] == ["seeds to tell 0.05", "seeds to show equality"]


def test_the_map_agrees_with_the_table(earlier: Pilot) -> None:
    (row, *_) = sizes(earlier, 4000, 0.05, 0.05)
    kinds = decided(earlier.questions["how_much"], [4000], 0.05, 0.05)[:, 0]
    assert row.told is not None
    assert row.same is not None
    assert (kinds[: min(row.told, row.same) - 5] == KINDS.index("neither")).all()
    assert kinds[-1] == KINDS.index("both")
    figure = draw_map(earlier, 4000, 0.05, 0.05)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["how much", "which"]


def test_a_sweep_that_knows_no_variance_is_refused(tmp_path: Path) -> None:
    single = write_planned(tmp_path / "single", ASKED, seeds=1)
    with pytest.raises(InputError, match=r"seeds do not vary it: it has one.*at least two seeds"):
        pilot(single, _asked(), {})
    other = write_planned(tmp_path / "other", ASKED)
    with pytest.raises(InputError, match=r"no run of vit_b_16_frozen.*study's own arms"):
        pilot(other, _asked({"which": ["vit_b_16_frozen - vit_b_16_finetune"]}), {})
    with pytest.raises(InputError, match="has no run with a"):
        pilot(tmp_path, _asked(), {})
