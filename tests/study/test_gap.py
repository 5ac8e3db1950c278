"""The gap between training and test images, taken apart."""

from pathlib import Path

import numpy as np
import pytest

from tests.study.sweeps import TARGETS, TRUTH, labelled, scores, write_evaluation, write_scored
from xray_tl.errors import InputError
from xray_tl.statistics.mrmc import cells, mrmc
from xray_tl.statistics.simulation import STRUCTURES, simulate
from xray_tl.study.arm_readings import readings
from xray_tl.study.gap import independent_difference, interval_width, overfitting, shifts_of
from xray_tl.study.saved_predictions import read_predictions
from xray_tl.study.study_folder import Study


def test_overfitting_is_the_difference_of_two_samples_of_images(tmp_path: Path) -> None:
    for seed in range(5):
        write_scored(tmp_path, 1.0, seed)
    arms = list(Study.load(tmp_path).arms)
    train, test = readings(arms, "train"), readings(arms)
    found = overfitting(train, test, arms[0].label)
    on_train, on_test = (mrmc(study).arms[arms[0].label] for study in (train, test))
    assert found.value == pytest.approx(on_train.value - on_test.value)
    assert found.value > 0.1
    shared = on_train.components.shared + on_test.components.shared
    assert found.components.shared == pytest.approx(shared)


def test_its_interval_covers_simulated_truth() -> None:
    """200 pairs of samples, three standard errors of slack."""
    generator, covered = np.random.default_rng(11), 0
    for _ in range(200):
        one = simulate((0.9,), STRUCTURES["LL"], 5, 40, 40, generator)
        other = simulate((0.8,), STRUCTURES["LL"], 5, 40, 40, generator)
        found = independent_difference(cells(one), cells(other), {"arm 0": 1})
        covered += found.lower <= 0.1 <= found.upper
    assert abs(covered / 200 - 0.95) < 0.025 + 3 * (0.95 * 0.05 / 200) ** 0.5


def test_other_seeds_cannot_be_set_against_each_other() -> None:
    generator = np.random.default_rng(0)
    one, other = (cells(simulate((0.8,), STRUCTURES["LL"], n, 10, 10, generator)) for n in (3, 4))
    with pytest.raises(InputError, match="not the same seeds"):
        independent_difference(one, other, {"arm 0": 1})


def test_shifts_of_the_same_patients_are_paired(tmp_path: Path) -> None:
    runs = [write_scored(tmp_path, 2.0, seed) for seed in range(5)]
    for seed, run in enumerate(runs):
        write_evaluation(run, "shift-low_dose", scores(0.5, seed))
        write_evaluation(run, "shift-prevalence", scores(2.0, seed, truth=TRUTH[::-1]), ceiling=None)
        write_evaluation(run, "same", read_predictions(run).query("split == 'test'"))
        (run / "evaluations" / "broken").mkdir()
    problems: list[str] = []
    (arm,) = Study.load(tmp_path).arms
    same, low, other = sorted(shifts_of(tmp_path, arm, problems), key=lambda shift: shift.name)
    assert (low.name, same.name) == ("shift-low_dose", "same")
    assert (same.drop.value, same.drop.se) == pytest.approx((0, 0)), "images in common cancel out"
    assert other.drop.se > 0.02
    assert low.drop.value < -0.1
    assert low.ceiling == 0.9
    assert np.isnan(other.ceiling)
    assert len(problems) == 5


def test_other_images_need_every_target_and_what_lacks_them_costs_itself_alone(tmp_path: Path) -> None:
    data = {"targets": ["multilabel", *TARGETS]}
    for seed in range(2):
        frame = labelled(1.0, seed)
        run = write_scored(tmp_path, 1.0, seed, predictions=frame, data=data, threshold=[0.5] * 3)
        write_evaluation(run, "same", frame, None)
        write_evaluation(run, "fewer", frame[frame["target"] != "mass"], None)
        write_evaluation(run, "one class", frame.assign(truth=0), None)
    (arm,) = Study.load(tmp_path).arms
    problems: list[str] = []
    (same,) = shifts_of(tmp_path, arm, problems)
    assert (same.name, same.drop.value, same.drop.se) == ("same", 0, 0)
    text = "\n".join(problems)
    assert "on fewer: these images do not have all of effusion, mass, nodule" in text
    assert "on one class: the table, target effusion has 0 positive cases" in text


def test_more_images_narrow_an_interval_down_to_what_seeds_leave(tmp_path: Path) -> None:
    estimate = mrmc(simulate((0.85,), STRUCTURES["LH"], 6, 150, 150, np.random.default_rng(3))).arms["arm 0"]
    widths = [interval_width(estimate, cases).half for cases in (200, 300, 2000, 10**9)]
    assert widths == sorted(widths, reverse=True)
    assert widths[1] == pytest.approx(estimate.upper - estimate.value, rel=1e-6)
    assert widths[3] == pytest.approx(2.571 * (estimate.components.own / 6) ** 0.5, rel=0.01)  # t, 5 df
