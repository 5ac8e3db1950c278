"""What runs drew, and which of them are one reader."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.study.sweeps import METRICS, scores, write_scored
from xray_tl.report.answer import scope
from xray_tl.report.page import write_report
from xray_tl.report.tables import pairs_table
from xray_tl.statistics.readings import NO_READER
from xray_tl.store.records import PREDICTIONS, RECORD
from xray_tl.study.analysis import analyse
from xray_tl.study.draws import Draw, Varied, readers
from xray_tl.study.study_folder import Study

ONLY_WEIGHTS = Varied(weights=True)
BOTH = Varied(weights=True, training_sets=True)


def write_set(folder: Path, number: int, sha256: str = "", seed: int = 0, mode: str = "finetune") -> Path:
    """Write a run on one set of source weights; a fine-tuned arm beats a frozen one by far."""
    weights = {"source": "source", "name": f"budget small, seed {number}", "sha256": sha256 or f"sha{number}"}
    predictions = scores(
        3.0 if mode == "finetune" else 0.5, 100 * number + seed + 10 * len(mode) + len(sha256)
    )
    run = write_scored(
        folder, 1.0, seed, mode=mode, weights=weights, weights_seed=number, predictions=predictions
    )
    return run.rename(run.with_name(f"{run.name}-w{number}{sha256}"))


def drawn(seed: int | None, weights: str | None, training_set: int = 0) -> Draw:
    return Draw(seed, training_set, weights)


def test_where_nothing_else_varies_a_reader_is_a_seed() -> None:
    draws = [drawn(0, "0"), drawn(1, "0"), drawn(None, "0")]
    assert readers(["a", "a", "b"], draws, Varied()) == ["0", "1", NO_READER]


def test_runs_that_share_a_set_of_weights_are_one_reader() -> None:
    draws = [drawn(0, "0"), drawn(1, "0"), drawn(0, "1"), drawn(None, "1")]
    assert readers(list("aaab"), draws, ONLY_WEIGHTS) == ["0", "0", "1", "1"]


def test_what_hangs_together_over_weights_and_training_sets_is_one_reader() -> None:
    """0 and 1 share a training set, 1 and 2 another; 3 has both of its own."""
    draws = [
        drawn(0, "0", 0),
        drawn(1, "1", 0),
        drawn(2, "1", 1),
        drawn(3, "2", 1),
        drawn(4, "3", 3),
        drawn(None, None, 3),
    ]
    assert readers(list("aaaaab"), draws, BOTH) == ["0,1,2/0,1"] * 4 + ["3/3"] * 2


def test_an_arm_without_what_varies_has_its_seeds_paired_with_the_others() -> None:
    sets = [drawn(0, name) for name in ("3", "10", "4")]
    published = [drawn(seed, None) for seed in (0, 1, 2, 3)]
    found = readers([*"aaa", *"bbbb"], [*sets, *published], ONLY_WEIGHTS)
    assert found == ["3", "10", "4", "3", "4", "10", "seed 3"], "in order, those beyond are none of them"
    by_name = readers([*"aaa", *"bb"], [*sets, drawn(4, None), drawn(10, None)], ONLY_WEIGHTS)
    assert by_name[3:] == ["4", "10"]
    assert readers(list("ab"), [drawn(0, "0"), drawn(None, None)], ONLY_WEIGHTS)[1] == NO_READER


def test_seeds_of_a_set_are_averaged_and_the_verdict_is_for_new_sets(tmp_path: Path) -> None:
    for number in range(5):
        for seed in range(2):
            for mode in ("finetune", "frozen"):
                write_set(tmp_path, number, seed=seed + 2 * number, mode=mode)
    done = analyse(tmp_path)
    assert [len(arm.runs) for arm in done.arms] == [10, 10]
    assert not [text for text in done.problems if "no gap" not in text]
    (estimate,) = done.comparison.analysis.pairs.values()
    assert (estimate.readers, estimate.enough_readers) == (5, True)
    assert scope(done) == "new pretrainings, new seeds and new images, on this training set"
    (row,) = pairs_table(done).to_dict("records")
    assert (row["verdict"], row["holds_for_new"]) == ("better", "pretrainings, seeds, images")


def test_the_best_arm_is_that_of_the_best_mean_over_readers(tmp_path: Path) -> None:
    """One good set with many seeds does not make an arm the best."""
    for number, (area, seeds) in enumerate([(0.9, 6), (0.6, 1)]):
        for seed in range(seeds):
            run = write_set(tmp_path, number, seed=seed)
            record = json.loads((run / RECORD).read_text()) | {"metrics": {"test": METRICS | {"auroc": area}}}
            (run / RECORD).write_text(json.dumps(record))
    for number in range(2):
        write_set(tmp_path, number, mode="frozen")
    arms = Study.load(tmp_path).arms
    assert [(arm.name["mode"], arm.mean("test_auroc")) for arm in arms] == [
        ("frozen", 0.8),
        ("finetune", 0.75),
    ]


def test_readers_that_share_seeds_do_not_hold_for_new_ones(tmp_path: Path) -> None:
    for number in range(5):
        for mode in ("finetune", "frozen"):
            write_set(tmp_path, number, seed=7, mode=mode)
    done = analyse(tmp_path)
    assert scope(done) == "new pretrainings and new images, on this training set, with seed 7 alone"


def test_seeds_that_only_other_arms_have_are_no_shared_ones(tmp_path: Path) -> None:
    for number in range(5):
        for seed in range(2):
            write_set(tmp_path, number, seed=2 * number + seed)
        write_set(tmp_path, number, seed=number, mode="partial")
    assert scope(analyse(tmp_path)).startswith("new pretrainings, new seeds and new images")


def test_two_readers_that_share_a_set_never_hold_for_new_sets(tmp_path: Path) -> None:
    """Six training sets, each used with both of two sets of weights but one: one reader, and no verdict."""
    for number in range(6):
        for weights in (0, 1) if number else (0,):
            run = write_set(tmp_path, weights, seed=number)
            record = json.loads((run / RECORD).read_text()) | {
                "train_seed": number,
                "data_hash": f"d{number}",
            }
            (run / RECORD).write_text(json.dumps(record))
            run.rename(run.with_name(f"{run.name}-t{number}"))
    done = analyse(tmp_path)
    assert [arm.readers for arm in done.arms] == [["0,1/0,1,2,3,4,5"]]
    (said,) = [text for text in done.problems if "crossed" in text]
    assert "nothing can be said of new ones" in said
    assert "new pretrainings" not in scope(done)
    assert not any("says nothing about" in text for text in done.problems)


def test_sets_of_two_machines_under_one_seed_are_two_readers(tmp_path: Path) -> None:
    for mode in ("finetune", "frozen"):
        for seed in range(3):
            write_set(tmp_path, 0, "aaaaaaaa", seed=seed, mode=mode)
        for seed in range(3, 5 if mode == "finetune" else 8):
            write_set(tmp_path, 0, "bbbbbbbb", seed=seed, mode=mode)
    study = Study.load(tmp_path)
    found = {arm.name["mode"]: arm.readers for arm in study.arms}
    assert found == {mode: ["0 (aaaaaa)", "0"] for mode in ("finetune", "frozen")}, "b is used more"
    for arm in study.arms:
        shas = {(run.reader, run.row["weights_sha256"]) for run in arm.runs}
        assert shas == {("0 (aaaaaa)", "aaaaaaaa"), ("0", "bbbbbbbb")}
    assert scope(analyse(tmp_path)).startswith("new images alone, with 2 of at least 5 pretrainings")


def test_seeds_that_gave_the_same_images_are_one_training_set(tmp_path: Path) -> None:
    for number in range(5):
        write_scored(tmp_path, 1.0, number, train_seed=number, data_hash="all the same")
    done = analyse(tmp_path)
    assert done.terms.reader == "seed"
    assert scope(done).startswith("new seeds and new images, on this training set")


def test_few_sets_give_no_verdict_and_say_how_many(tmp_path: Path) -> None:
    for number in range(3):
        for seed in range(5):
            for mode in ("finetune", "frozen"):
                write_set(tmp_path, number, seed=seed, mode=mode)
    done = analyse(tmp_path)
    (verdict,) = done.comparison.verdicts.values()
    assert (verdict.kind, verdict.reason) == ("undecided", "few readers")
    page = write_report(tmp_path).read_text()
    assert "3 of at least 5 pretrainings" in page
    assert "too few pretrainings for a verdict, which takes 5" in page
    assert set(pairs_table(done)["holds_for_new"]) == {"images"}


def test_one_set_is_named_with_its_hash(tmp_path: Path) -> None:
    for seed in range(5):
        write_set(tmp_path, 0, "d51f01ab", seed=seed)
    assert scope(analyse(tmp_path)) == (
        "new seeds and new images, on this training set, for this set of source weights (seed 0, sha d51f01) "
        "alone"
    )


def test_published_weights_are_said_to_be(tmp_path: Path) -> None:
    published = {"source": "imagenet", "name": "V1", "sha256": "published"}
    for seed in range(5):
        write_scored(tmp_path, 1.0, seed, weights=published, weights_seed=None)
    assert scope(analyse(tmp_path)).endswith("on this training set, for these weights as published")
    for number in range(5):
        write_set(tmp_path, number, seed=number, mode="frozen")
    done = analyse(tmp_path)
    (estimate,) = done.comparison.analysis.pairs.values()
    assert estimate.readers == 5
    assert scope(done) == (
        "new pretrainings, new seeds and new images, on this training set, for published weights as they are"
    )


def test_one_set_of_a_backbone_beside_several_of_another_leaves_its_seeds_readers(tmp_path: Path) -> None:
    for seed in range(5):
        for model, number in (("resnet50", seed), ("vgg16", 0)):
            for mode, strength in (("finetune", 4.0), ("frozen", 0.5)):
                weights = {"source": "source", "name": f"seed {number}", "sha256": f"{model[:3]}{number}"}
                write_scored(tmp_path, strength, seed, model, mode, weights=weights, weights_seed=number)
    done = analyse(tmp_path)
    assert {tuple(arm.readers) for arm in done.arms} == {tuple("01234")}
    assert scope(done) == (
        "new pretrainings, new seeds and new images, on this training set, for this set of source weights "
        "(vgg16: seed 0, sha vgg0) alone"
    )
    new = {
        frozenset((row["first"].split()[0], row["second"].split()[0])): row["holds_for_new"]
        for row in pairs_table(done).to_dict("records")
    }
    assert new == {
        frozenset(["vgg16"]): "seeds, images",
        frozenset(["resnet50"]): "pretrainings, seeds, images",
        frozenset(["resnet50", "vgg16"]): "pretrainings, seeds, images",
    }


def test_an_arm_with_one_reader_takes_nothing_from_what_the_others_hold_for(tmp_path: Path) -> None:
    for number in range(5):
        for mode in ("finetune", "frozen"):
            write_set(tmp_path, number, seed=number, mode=mode)
    write_set(tmp_path, 0, seed=0, mode="partial")
    assert scope(analyse(tmp_path)) == (
        "new pretrainings, new seeds and new images, on this training set (of an arm with one pretraining, "
        "for that pretraining alone)"
    )


def test_training_sets_of_other_test_images_do_not_vary(tmp_path: Path) -> None:
    """data.seed=0,1: each test set has one training set, so that its readers are seeds."""
    for data_seed in range(2):
        for seed in range(5 - data_seed):
            for mode in ("finetune", "frozen"):
                drawn_ = scores(3.0 if mode == "finetune" else 0.5, 50 * data_seed + seed + 7 * len(mode))
                changes = {
                    "predictions": drawn_.assign(case=drawn_["case"] + 1000 * data_seed),
                    "data": {"test_set": f"t{data_seed}", "targets": ["binary", "opacity"]},
                    "data_seed": data_seed,
                    "train_seed": data_seed,
                }
                write_scored(tmp_path, 1.0, seed, mode=mode, **changes)
    done = analyse(tmp_path)
    assert done.terms.reader == "seed"
    assert {tuple(arm.readers) for arm in done.arms} == {tuple("01234")}
    assert set(pairs_table(done)["holds_for_new"]) == {"seeds, images"}


def test_random_weights_that_vary_are_initialisations(tmp_path: Path) -> None:
    for number in range(5):
        weights = {"source": "random", "name": f"seed {number}", "sha256": f"sha{number}"}
        write_scored(tmp_path, 1.0, number, weights=weights, weights_seed=number)
    done = analyse(tmp_path)
    assert scope(done).startswith("new initialisations, new seeds and new images")
    assert done.terms.reader == "initialisation"


def test_a_copy_is_what_drew_the_same(tmp_path: Path) -> None:
    """Published weights asked for with another seed of weights: the result is the same."""
    for number in range(2):
        weights = {"source": "imagenet", "name": "V1", "sha256": "published"}
        run = write_scored(tmp_path, 1.0, 0, weights=weights, weights_seed=None)
        run.rename(run.with_name(f"{run.name}-{number}"))
    done = analyse(tmp_path)
    assert [len(arm.runs) for arm in done.arms] == [1]
    assert [text for text in done.problems if "the same run as" in text]


def test_the_gap_of_an_arm_whose_readers_have_several_runs_is_theirs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        for seed in range(2):
            run = write_set(tmp_path, number, seed=seed)
            train = scores(5.0, int(rng.integers(1000)), "train", np.arange(80) % 2)
            both = pd.concat([pd.read_csv(run / PREDICTIONS), train])
            both.to_csv(run / PREDICTIONS, index=False)
    done = analyse(tmp_path)
    label = done.arms[0].label
    gap = done.overfitting[label]
    areas = [
        roc_auc_score(own["truth"], own["logit"])
        for run in done.arms[0].runs
        for own in [run.scores[run.scores["split"] == "train"]]
    ]
    assert (len(areas), gap.readers) == (6, 3)
    assert gap.value == pytest.approx(np.mean(areas) - done.comparison.analysis.arms[label].value)
