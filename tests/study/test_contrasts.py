"""Declared contrasts of other metrics, on other images, and between two sets of images."""

from pathlib import Path

import numpy as np
import pytest

from tests.study.sweeps import (
    TARGETS,
    labelled,
    scores,
    write_evaluation,
    write_folds,
    write_planned,
    write_scored,
)
from xray_tl.config.planned import Declared, parse_families
from xray_tl.errors import InputError
from xray_tl.statistics.covariance import SENSITIVITY
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.mrmc import cells
from xray_tl.study.analysis import analyse
from xray_tl.study.arm_readings import readings
from xray_tl.study.contrasts import estimated_contrast
from xray_tl.study.study_folder import Study

A, B, C, D = (f"{model} {mode} random" for model in ("resnet18", "vgg16") for mode in ("finetune", "frozen"))
WEIGHTS = {A: 1.0, B: -1.0}


def _declared(on: str = "test", metric: str = "auroc", contrast: str = "a - b") -> Declared:
    return parse_families({"q": [{"contrast": contrast, "on": on, "metric": metric}]})["q"][0]


def _estimate(folder: Path, asked: Declared, weights: dict[str, float]) -> Estimate:
    arms = [arm for arm in Study.load(folder).arms if arm.label in weights]
    arms.sort(key=lambda arm: list(weights).index(arm.label))
    return estimated_contrast(folder, asked, weights, arms)


def _same(one: Estimate, other: Estimate) -> bool:
    return all(
        np.isclose(getattr(one, key), getattr(other, key), rtol=1e-9)
        for key in ("value", "se", "lower", "upper", "p")
    )


def test_interaction_and_gap_equal_what_the_analysis_computes(tmp_path: Path) -> None:
    asked = ["resnet18_finetune - resnet18_frozen - vgg16_finetune + vgg16_frozen"]
    gap = {"contrast": "vgg16_frozen", "on": "train - test"}
    done = analyse(write_planned(tmp_path, {"q": [*asked, gap]}))
    interaction, overfitting = (found.contrast for found in done.comparison.families[0].judged)
    assert interaction.estimate is not None
    assert overfitting.estimate is not None
    assert _same(interaction.estimate, done.interactions[0].estimate)
    assert interaction.name == f"({A} - {B}) - ({C} - {D})"
    assert _same(overfitting.estimate, done.overfitting[D])


def test_gains_equal_those_of_a_pair(tmp_path: Path) -> None:
    write_planned(tmp_path)
    study = Study.load(tmp_path)
    expected = cells(readings(study.arms, column="decision"), SENSITIVITY).contrast(WEIGHTS)
    assert _same(_estimate(tmp_path, _declared(metric="sensitivity"), WEIGHTS), expected)


def test_a_difference_of_gaps_is_the_difference_of_the_gaps(tmp_path: Path) -> None:
    write_planned(tmp_path)
    asked = _declared("train - test")
    both = _estimate(tmp_path, asked, WEIGHTS)
    one, other = (
        _estimate(tmp_path, _declared("train - test", contrast="a"), {name: 1.0}) for name in (A, B)
    )
    assert both.value == pytest.approx(one.value - other.value)
    assert both.readers == 5


def _write_shift(folder: Path, seeds: range) -> None:
    for mode, strength in (("finetune", 2.0), ("frozen", 1.0)):
        for seed in range(5):
            run = write_scored(folder, strength, seed, mode=mode)
            if seed in seeds:
                write_evaluation(run, "shift=low_dose", scores(strength - 0.5, 50 + seed))


def test_a_shift_alone_and_its_drop(tmp_path: Path) -> None:
    _write_shift(tmp_path, range(5))
    alone, dropped = (_estimate(tmp_path, _declared(on), WEIGHTS) for on in ("low_dose", "low_dose - test"))
    on_test = analyse(tmp_path).comparison.computed.contrast(WEIGHTS)
    assert alone.value == pytest.approx(dropped.value + on_test.value)
    of_one = _estimate(tmp_path, _declared("low_dose - test", contrast="a"), {A: 1.0})
    (shift,) = analyse(tmp_path).shifts[A]
    assert _same(of_one, shift.drop), "paired by image, as the report has it"


def test_only_runs_that_were_tested_on_a_shift_count(tmp_path: Path) -> None:
    _write_shift(tmp_path, range(3))
    found = _estimate(tmp_path, _declared("low_dose - test"), WEIGHTS)
    assert found.readers == 3
    assert found.cases == 60, "and are paired with their own test images"
    with pytest.raises(InputError, match=f"{A} was not tested on blur"):
        _estimate(tmp_path, _declared("blur"), WEIGHTS)


def test_gaps_that_have_no_error_are_refused(tmp_path: Path) -> None:
    gap = _declared("train - test", contrast="a")
    for seed in range(5):
        write_scored(tmp_path / "sets", 1.0, seed, train_seed=seed)
        write_folds(tmp_path / "folds", 1.0, seed)
    with pytest.raises(InputError, match="its training sets differ by seed"):
        _estimate(tmp_path / "sets", gap, {A: 1.0})
    with pytest.raises(InputError, match="the folds train on each other's test images"):
        _estimate(tmp_path / "folds", gap, {A: 1.0})


def test_of_several_classes_the_largest_probability_decides_on_a_shift_too(tmp_path: Path) -> None:
    strengths, right = {"finetune": 3.0, "frozen": 0.5}, {}
    for mode, strength in strengths.items():
        targets = {"targets": ["multiclass", *TARGETS]}
        own, other = labelled(strength, 1), labelled(strength, 2)
        run = write_scored(tmp_path, 1.0, 0, mode=mode, predictions=own, data=targets, threshold=[0.5] * 3)
        write_evaluation(run, "shift=blur", other)
        wide = other.pivot_table(index="case", columns="target", values=["probability", "truth"])
        hit = wide["probability"].idxmax(axis=1) == wide["truth"].idxmax(axis=1)
        right[mode] = float(hit.mean())
    found = _estimate(tmp_path, _declared("blur", "accuracy"), WEIGHTS)
    assert found.value == pytest.approx(right["finetune"] - right["frozen"])
    assert found.cases == 60
