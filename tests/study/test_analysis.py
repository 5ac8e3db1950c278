"""Everything a report says, from a folder."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.study.sweeps import CEILING, scores, write_scored, write_study
from xray_tl.errors import InputError
from xray_tl.report.page import write_report
from xray_tl.report.tables import pairs_table
from xray_tl.store.records import PREDICTIONS
from xray_tl.study.analysis import analyse


def test_a_study_of_two_backbones_and_two_modes(tmp_path: Path) -> None:
    done = analyse(write_study(tmp_path))
    assert done.arms[0].label in done.comparison.analysis.arms
    verdicts = done.comparison.verdicts
    assert len(verdicts) == 6
    strong = [pair for pair in verdicts if "resnet18 finetune random" in pair]
    assert all(verdicts[pair].better == "resnet18 finetune random" for pair in strong)
    (interaction,) = done.interactions
    assert {interaction.first, interaction.second} == {"resnet18", "vgg16"}
    arms = {label: estimate.value for label, estimate in done.comparison.analysis.arms.items()}
    resnet, vgg = (arms[f"{m} finetune random"] - arms[f"{m} frozen random"] for m in ("resnet18", "vgg16"))
    assert interaction.estimate.value == pytest.approx(resnet - vgg)
    metrics = {
        "auroc",
        "accuracy",
        "accuracy_at_threshold",
        "sensitivity",
        "specificity",
        "brier",
        "nll",
        "ece",
    }
    assert set(done.measures["metric"]) == metrics
    assert (done.measures["lower"] <= done.measures["upper"]).all()
    assert set(done.overfitting) == set(arms)
    assert not done.problems


def test_decisions_use_each_run_s_own_threshold(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0, threshold=0.0)
    write_scored(tmp_path, 1.0, 1, threshold=1.1)
    measures = analyse(tmp_path).measures.set_index("metric")["value"]
    assert measures["sensitivity"] == pytest.approx(0.5)
    assert measures["specificity"] == pytest.approx(0.5)


def test_a_learning_curve_is_found(tmp_path: Path) -> None:
    for n_train, strength in ((100, 0.8), (200, 1.4), (400, 2.5)):
        for seed in range(3):
            write_scored(tmp_path, strength, seed, options={"data.n_train": n_train} if n_train > 100 else {})
    for seed in range(3):
        write_scored(tmp_path, 1.0, seed, options={"optim.weight_decay": 0.1})
    done = analyse(tmp_path)
    (points,) = done.learning.values()
    assert [n for n, _ in points] == [100, 200, 400]
    (gain,) = done.gains.values()
    assert gain.value == pytest.approx(points[2][1].value - points[0][1].value)
    assert 0 < gain.lower < gain.value < gain.upper


def test_arms_of_other_images_are_named_and_not_compared(tmp_path: Path) -> None:
    for seed in range(2):
        write_scored(tmp_path, 1.0, seed)
    other = write_scored(tmp_path, 1.0, 0, model="vgg16")
    scores(1, 0)[:-2].to_csv(other / PREDICTIONS, index=False)
    done = analyse(tmp_path)
    assert [arm.label for arm in done.arms] == ["resnet18 finetune random"]
    assert "not compared, since tested on other images: vgg16 finetune random" in done.problems


def test_one_seed_says_what_it_cannot_say(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    done = analyse(tmp_path)
    assert "resnet18 finetune random has one seed: it says nothing about training again" in done.problems


def test_seeds_that_are_missing_and_pairs_without_one_are_named(tmp_path: Path) -> None:
    for seed in range(3):
        write_scored(tmp_path, 1.0, seed)
        write_scored(tmp_path, 1.0, seed + 3, mode="frozen")
        write_scored(tmp_path, 1.0, seed, mode="frozen", model="vgg16")
        write_scored(tmp_path, 1.0, seed + 3, model="vgg16")
    write_scored(tmp_path, 1.0, 0, model="densenet121", ceiling=CEILING | {"above_ceiling": True})
    said = "; ".join(analyse(tmp_path).problems)
    assert "resnet18 finetune random has 3 of 6 seeds: no 3, 4, 5" in said
    assert "not compared, having no seed in common: " in said
    assert "no interaction of resnet18 and vgg16: no reader used all of" in said
    assert "densenet121 finetune random, seed 0: above the ceiling" in said


def test_a_seed_that_stands_apart_is_named_and_verdicts_of_few_carry_it(tmp_path: Path) -> None:
    for seed in range(6):
        write_scored(tmp_path, 0.0 if seed == 4 else 3.0, seed)
        write_scored(tmp_path, -3.0, seed, mode="frozen")
    done = analyse(tmp_path)
    (said,) = [text for text in done.problems if "stands apart" in text]
    assert said.startswith("seed 4 of resnet18 finetune random stands apart from its others (0.")
    value = done.comparison.computed.value[done.comparison.readings.treatments.index(done.arms[0].label)]
    others = [area for seed, area in enumerate(value) if seed != 4]
    assert f"({value[4]:.3f} against {sum(others) / 5:.3f})" in said
    caution = "; but seed 4 of resnet18 finetune random stands apart from its others, so that fewer than 12"
    page = write_report(tmp_path).read_text()
    best = page[page.index('<section class="answer">') :].split("</p>")[0]
    assert "better than resnet18 frozen random" + caution in best
    task = page[page.index("D. Fine-tuning against feature extraction") :].split("</li>")[0]
    assert caution in task
    assert "<td>first is better, but seeds stand apart</td>" in page
    (row,) = pairs_table(done).to_dict("records")
    assert (row["verdict"], row["stand_apart"]) == ("better", "resnet18 finetune random: 4")


def test_a_caution_of_seeds_that_stand_apart_needs_one(tmp_path: Path) -> None:
    done = analyse(write_study(tmp_path))
    assert not done.comparison.apart
    assert not [text for text in done.problems if "apart" in text]
    assert "stand apart" not in write_report(tmp_path).read_text()


def test_arms_that_score_alike_are_named_with_the_true_reason(tmp_path: Path) -> None:
    for seed in range(5):
        frame = scores(1.0, seed)
        write_scored(tmp_path, 1.0, seed, predictions=frame)
        write_scored(tmp_path, 1.0, seed, mode="frozen", predictions=frame.assign(logit=2 * frame["logit"]))
    (said,) = [text for text in analyse(tmp_path).problems if text.startswith("nothing to tell")]
    assert said.endswith(
        "apart by: they put the images in the same order for every seed: the difference is exactly 0"
    )


@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        (
            (0, 5, 5),
            "networks differ.*: 0 of 5 stages trained in seed 0; 5 of 5 stages trained in seed 1, 2$",
        ),
        ((0, 0, 0), "resnet18 lp_ft random: all best epochs lie before any stage opened"),
        ((5, 5, 5), None),
    ],
)
def test_what_was_trained_of_the_tested_networks_is_told(
    tmp_path: Path, opened: tuple[int, ...], expected: str | None
) -> None:
    for seed, count in enumerate(opened):
        best = {"epoch": seed, "open_stages": count, "stages": 5, "most_open": 5}
        write_scored(tmp_path, 1.0, seed, mode="lp_ft", best=best)
    done = analyse(tmp_path)
    assert list(done.study.runs["open_stages"]) == list(opened)
    said = [text for text in done.problems if "best epochs" in text]
    assert bool(said) == (expected is not None)
    assert expected is None or re.search(expected, said[0])


def test_one_contrast_that_cannot_be_formed_does_not_stop_the_others(tmp_path: Path) -> None:
    for seed in range(2):
        write_scored(tmp_path, 1.0, seed, options={"data.n_train": 50})
        write_scored(tmp_path, 2.0, seed + 2, options={"data.n_train": 200})
    done = analyse(tmp_path)
    assert [len(points) for points in done.learning.values()] == [2]
    assert not done.gains
    assert [text for text in done.problems if text.startswith("no gain from more training images")]


def test_a_copy_of_a_run_is_left_out_and_named(tmp_path: Path) -> None:
    run = write_scored(tmp_path, 1.0, 0)
    write_scored(tmp_path, 1.0, 1)
    shutil.copytree(run, tmp_path / "zz-copy")
    done = analyse(tmp_path)
    assert [len(arm.runs) for arm in done.arms] == [2]
    assert [text for text in done.problems if "the same run as" in text]


def test_the_seeds_of_a_training_set_are_averaged_where_sets_vary(tmp_path: Path) -> None:
    for train_seed in range(3):
        for seed in range(2):
            predictions = scores(1.0, 10 * train_seed + seed)
            write_scored(tmp_path, 1.0, seed, train_seed=train_seed, predictions=predictions)
    done = analyse(tmp_path)
    (arm,) = done.arms
    assert arm.readers == ["0", "1", "2"]
    assert arm.varies_training_sets
    assert len(arm.runs) == 6, "none is left out"
    areas = np.array([roc_auc_score(run.scores["truth"], run.scores["logit"]) for run in arm.runs])
    sets = [run.draw.training_set for run in arm.runs]
    expected = [areas[[own == number for own in sets]].mean() for number in range(3)]
    assert done.comparison.computed.value[0] == pytest.approx(expected)
    (estimate,) = done.comparison.analysis.arms.values()
    assert (estimate.readers, estimate.value) == (3, pytest.approx(np.mean(areas)))


def test_intervals_end_where_the_metric_does(tmp_path: Path) -> None:
    for seed in range(2):
        write_scored(tmp_path, 6.0, seed)
    done = analyse(tmp_path)
    (estimate,) = done.comparison.analysis.arms.values()
    assert 0.99 < estimate.value <= estimate.upper <= 1
    bounded = done.measures[done.measures["metric"] != "nll"]
    assert bounded["upper"].max() <= 1
    assert bounded["lower"].min() >= 0


def test_only_failed_runs(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0, status="failed", error="RunError: it broke")
    with pytest.raises(InputError, match=r"no run that can be analysed: .* is failed: RunError: it broke"):
        analyse(tmp_path)


def test_weights_below_pooled_pixels_and_heads_that_have_not_converged_are_told(tmp_path: Path) -> None:
    quality = {
        "auroc": 0.6,
        "auroc_se": 0.02,
        "pooled_pixels": 0.7,
        "difference": -0.1,
        "difference_se": 0.02,
        "image_size": 64,
    }
    write_scored(
        tmp_path,
        1.0,
        0,
        mode="partial",
        weights={"source": "random", "sha256": "resnet18", "quality": quality},
    )
    for model, worth, behind in (("resnet18", -0.1, 0.05), ("vgg16", 0.1, 0.01)):
        for seed in range(3):
            weights = {"source": "random", "sha256": model, "quality": quality | {"difference": worth}}
            head = {"kind": "trained", "behind_solved": behind + 0.01 * (seed - 1)}
            write_scored(tmp_path, 1.0, seed, model=model, weights=weights, head=head)
    said = analyse(tmp_path).problems
    (weak,) = [text for text in said if "do not beat pooled pixels at 64 px" in text]
    assert weak.startswith("the initial weights of resnet18 finetune random, resnet18 partial random do not")
    assert "0.600 against 0.700" in weak
    (unfinished,) = [text for text in said if "have not converged" in text]
    assert unfinished.startswith("resnet18 finetune random: its heads")
    assert "0.050 higher" in unfinished
