"""A sweep's folder as arms and readers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.study.sweeps import TRUTH, labelled, scores, write_folds, write_scored, write_study
from xray_tl.errors import InputError
from xray_tl.statistics.covariance import ACCURACY
from xray_tl.statistics.mrmc import cells
from xray_tl.store.records import PREDICTIONS, SCHEMA, write_record
from xray_tl.study.arm_readings import readings
from xray_tl.study.study_folder import Study


def test_arms_are_found_with_their_seeds(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    assert sorted(arm.label for arm in study.arms) == [
        "resnet18 finetune random",
        "resnet18 frozen random",
        "vgg16 finetune random",
        "vgg16 frozen random",
    ]
    assert all([run.reader for run in arm.runs] == ["0", "1", "2", "3", "4"] for arm in study.arms)
    assert not study.problems
    assert set(study.runs["label"]) == {arm.label for arm in study.arms}
    laid_out = readings(list(study.arms))
    assert laid_out.rating.shape == (4, 5, 60)
    assert laid_out.truth.sum() == TRUTH.sum()


def test_arms_of_one_name_are_told_apart_by_the_options_that_differ(tmp_path: Path) -> None:
    for n_train in (100, 200):
        for decay in (0.0, 0.1):
            write_scored(tmp_path, 1.0, 0, options={"data.n_train": n_train, "optim.weight_decay": decay})
    labels = sorted(arm.label for arm in Study.load(tmp_path).arms)
    assert labels[0] == "resnet18 finetune random, n_train=100, weight_decay=0.0"
    assert len(set(labels)) == 4


def test_an_arm_like_most_of_its_twins_has_the_plain_name(tmp_path: Path) -> None:
    """As in a study of remedies: one base, and arms that each change something."""
    write_scored(tmp_path, 1.0, 0)
    for options in (
        {"data.n_train": 200},
        {"optim.weight_decay": 0.1},
        {"augment.name": "light", "augment.degrees": 5},
    ):
        write_scored(tmp_path, 1.0, 0, options=options)
    assert sorted(arm.label for arm in Study.load(tmp_path).arms) == [
        "resnet18 finetune random",
        "resnet18 finetune random, augment=light",
        "resnet18 finetune random, n_train=200",
        "resnet18 finetune random, weight_decay=0.1",
    ]


def test_other_weights_or_precision_are_another_arm(tmp_path: Path) -> None:
    published = {"source": "imagenet", "name": "V1", "sha256": "one"}
    write_scored(tmp_path, 1.0, 0, weights=published)
    write_scored(tmp_path, 1.0, 1, weights=published | {"sha256": "other"})
    write_scored(tmp_path, 1.0, 2, weights=published, environment={"precision": "bf16-mixed"})
    study = Study.load(tmp_path)
    assert [len(arm.runs) for arm in study.arms] == [1, 1, 1]
    assert len({arm.label for arm in study.arms}) == 3


def test_seeds_tested_on_other_images_are_another_arm(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    other = write_scored(tmp_path, 1.0, 1)
    scores(1, 1)[:-2].to_csv(other / PREDICTIONS, index=False)
    assert [len(arm.runs) for arm in Study.load(tmp_path).arms] == [1, 1]


def _on_another_machine(run: Path) -> None:
    """Let a run's ideal observer round its scores differently."""
    frame = pd.read_csv(run / PREDICTIONS)
    frame.assign(ideal_logit=frame["ideal_logit"] * (1 + 3e-5)).to_csv(run / PREDICTIONS, index=False)


def test_seeds_of_two_kinds_of_machine_are_one_arm(tmp_path: Path) -> None:
    runs = [write_scored(tmp_path, 1.0, seed, data={"test_set": "generated alike"}) for seed in range(4)]
    for run in runs[:2]:
        _on_another_machine(run)
    study = Study.load(tmp_path)
    assert [len(arm.runs) for arm in study.arms] == [4]
    assert len(study.test_sets) == 1
    write_scored(tmp_path, 1.0, 4, data={"test_set": "another d0"})
    assert len(Study.load(tmp_path).test_sets) == 2, "as many cases with the same truths"


def test_a_run_of_an_earlier_version_makes_no_second_test_set(tmp_path: Path) -> None:
    """Its record does not say what generated its test images: then no run's goes by it."""
    for seed in range(3):
        write_scored(tmp_path, 1.0, seed, data={"test_set": "generated alike"} if seed else {})
    write_scored(tmp_path, 1.0, 3, status="failed", error="RunError: it broke")
    assert [len(arm.runs) for arm in Study.load(tmp_path).arms] == [3]


def test_predictions_that_lack_images_are_no_run_on_the_test_set(tmp_path: Path) -> None:
    runs = [write_scored(tmp_path, 1.0, seed, data={"test_set": "generated alike"}) for seed in range(3)]
    frame = pd.read_csv(runs[1] / PREDICTIONS)
    frame[:-2].to_csv(runs[1] / PREDICTIONS, index=False)
    assert sorted(len(arm.runs) for arm in Study.load(tmp_path).arms) == [1, 2]


def test_training_sets_vary_as_readers(tmp_path: Path) -> None:
    for train_seed in range(3):
        write_scored(tmp_path, 1.0, train_seed, train_seed=train_seed, data_hash=f"d{train_seed}")
    (arm,) = Study.load(tmp_path).arms
    assert arm.varies_training_sets
    assert [run.reader for run in arm.runs] == ["0", "1", "2"]


def test_what_cannot_be_analysed_is_named_and_the_rest_is_not_lost(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    (write_scored(tmp_path, 1.0, 1) / PREDICTIONS).unlink()
    one_class = write_scored(tmp_path, 1.0, 2)
    scores(1, 2, truth=TRUTH * 0).to_csv(one_class / PREDICTIONS, index=False)
    write_scored(tmp_path, 1.0, 3, status="failed", error="RunError: it broke")
    study = Study.load(tmp_path)
    assert [run.reader for run in study.arms[0].runs] == ["0"]
    text = "\n".join(study.problems)
    for part in (
        f"has no {PREDICTIONS}",
        "of one class only",
        "is failed: RunError: it broke",
    ):
        assert part in text
    write_record(tmp_path / "future", {"schema": 99})
    newer = (tmp_path / "future" / "record.json").read_text().replace('"schema": 99', '"schema": 98')
    (tmp_path / "future" / "record.json").write_text(newer)
    study = Study.load(tmp_path)
    assert len(study.arms) == 1
    assert f"has schema 98, newer than {SCHEMA}" in "\n".join(study.problems)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no run with a record\.json"):
        Study.load(tmp_path)


def test_several_targets_are_analysed_and_rare_ones_named(tmp_path: Path) -> None:
    frame = labelled(1.0, 0)
    rare = frame[frame["target"] == "mass"].assign(
        target="hernia", truth=lambda t: (t["case"] == 1).astype(int)
    )
    data = {"targets": ["multilabel", "effusion", "mass", "nodule", "hernia"]}
    both = pd.concat([frame, rare])
    write_scored(tmp_path, 1.0, 0, predictions=both, data=data, threshold=[0.5, 0.4, 0.3, 0.2])
    study = Study.load(tmp_path)
    (arm,) = study.arms
    assert arm.targets == ["effusion", "mass", "nodule"]
    assert "fewer than 2 test images or patients of a class: hernia" in "\n".join(study.problems)
    areas = [roc_auc_score(rows["truth"], rows["logit"]) for _, rows in frame.groupby("target", sort=False)]
    assert arm.mean("test_auroc") == pytest.approx(np.mean(areas)), (
        "of what is analysed, as the record's is not"
    )
    assert study.runs["test_auroc"].tolist() == [arm.mean("test_auroc")]
    laid_out = readings([arm])
    assert [len(rows) for rows in laid_out.strata] == [60, 60, 60]
    assert laid_out.cases == 60
    decision = readings([arm], column="decision").rating[0, 0]
    probability = readings([arm], column="probability").rating[0, 0]
    by_target = [set(np.round(probability[rows] - decision[rows], 9)) for rows in laid_out.strata]
    assert by_target == [{0.5}, {0.4}, {0.3}], "each target has its own threshold"


def test_of_several_classes_the_largest_probability_decides(tmp_path: Path) -> None:
    frame = labelled(1.0, 3)
    write_scored(
        tmp_path, 1.0, 0, predictions=frame, data={"targets": ["multiclass", "effusion", "mass", "nodule"]},
        threshold=[0.5, 0.5, 0.5],
    )  # fmt: skip
    wide = frame.pivot_table(index="case", columns="target", values=["probability", "truth"])
    right = wide["probability"].idxmax(axis=1) == wide["truth"].idxmax(axis=1)
    (arm,) = Study.load(tmp_path).arms
    found = cells(readings([arm], column="half"), ACCURACY).contrast({arm.label: 1})
    assert found.value == pytest.approx(right.mean())
    assert found.cases == 60
    without_one = [replace(run, scores=run.scores[run.scores["target"] != "mass"]) for run in arm.runs]
    found = cells(readings([replace(arm, runs=tuple(without_one))], column="half"), ACCURACY)
    assert found.contrast({arm.label: 1}).value == pytest.approx(right.mean()), "a class left out is a class"


def test_folds_are_one_arm_and_every_seed_needs_all(tmp_path: Path) -> None:
    for seed in range(3):
        write_folds(tmp_path, 1.0, seed)
    (arm,) = Study.load(tmp_path).arms
    assert (arm.readers, arm.folds, len(arm.runs)) == (["0", "1", "2"], 3, 9)
    laid_out = readings([arm])
    assert laid_out.rating.shape == (1, 3, 60)
    assert [len(rows) for rows in laid_out.strata] == [20, 20, 20]
    assert (laid_out.cases, laid_out.patients) == (60, 30)
    shutil.rmtree(tmp_path / str(arm.runs[4].row["run_dir"]))
    study = Study.load(tmp_path)
    assert study.arms[0].readers == ["0", "2"]
    assert "left out: resnet18 finetune random, seed 1: no run of fold 1" in study.problems
