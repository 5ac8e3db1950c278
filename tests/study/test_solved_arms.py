"""Arms with solved heads in a study: no seed is their reader, and pairs of them are judged over images."""

from pathlib import Path

import pytest

from tests.study.sweeps import scores, write_evaluation, write_scored
from xray_tl.report.answer import scope
from xray_tl.report.page import write_report
from xray_tl.statistics.readings import NO_READER
from xray_tl.study.analysis import StudyAnalysis, analyse

SOLVED = {"kind": "solved", "penalty": [1.0]}
STRONG, WEAK, TRAINED = "resnet18 frozen random", "vgg16 frozen random", "resnet18 finetune random"


def write_solved(folder: Path, seed: int = 0) -> None:
    """Write a strong and a weak arm, each solved."""
    for model, strength in (("resnet18", 2.5), ("vgg16", 0.3)):
        run = write_scored(folder, strength, seed, model=model, mode="frozen", head=SOLVED)
        write_evaluation(run, "shift=low_dose", scores(strength / 2, seed))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> StudyAnalysis:
    """Write and analyse two solved arms and one that trained with five seeds."""
    place = tmp_path_factory.mktemp("study")
    write_solved(place)
    for seed in range(5):
        write_scored(place, 2.4, seed, head={"kind": "trained", "start": "random"})
    return analyse(place)


def test_a_solved_arm_has_no_seed_for_a_reader(done: StudyAnalysis) -> None:
    readers = {arm.label: arm.readers for arm in done.arms}
    assert readers == {STRONG: [NO_READER], WEAK: [NO_READER], TRAINED: ["0", "1", "2", "3", "4"]}
    assert not done.problems, "nothing is missing, and no seed is alone"


def test_two_solved_arms_are_compared_over_images(done: StudyAnalysis) -> None:
    estimate = done.comparison.analysis.pairs[STRONG, WEAK]
    assert (estimate.readers, estimate.random_readers, estimate.readerless) == (1, False, True)
    assert done.comparison.verdicts[STRONG, WEAK].better == STRONG


def test_a_solved_arm_meets_every_seed_of_one_that_trained(done: StudyAnalysis) -> None:
    (pair,) = [pair for pair in done.comparison.analysis.pairs if set(pair) == {WEAK, TRAINED}]
    estimate = done.comparison.analysis.pairs[pair]
    assert (estimate.readers, estimate.random_readers, estimate.readerless) == (5, True, False)
    assert done.comparison.verdicts[pair].better == TRAINED


def test_its_gap_and_its_drop_on_shifted_images_are_estimated(done: StudyAnalysis) -> None:
    for label in (STRONG, WEAK):
        assert done.overfitting[label].readerless
        (shift,) = done.shifts[label]
        assert shift.drop.readerless
    assert not done.overfitting[TRAINED].readerless
    assert done.overfitting[WEAK].value > 0.2, "its training scores are drawn that much better"


def test_the_report_says_so(done: StudyAnalysis, tmp_path: Path) -> None:
    assert scope(done) == (
        "new seeds and new images, on this training set, for these 2 sets of random weights alone (resnet18: "
        "seed 0, sha sha-re; vgg16: seed 0, sha sha-vg)"
    )
    write_solved(tmp_path)
    page = write_report(tmp_path).read_text()
    assert f"{STRONG} is better than {WEAK}: AUROC by" in page
    assert "Neither depends on a seed: this is judged over images alone." in page
    assert "This holds for new images, on this training set, for these 2 sets of random weights alone" in page
    assert "one seed" not in page
    assert "of at least 5 seeds" not in page


def test_a_solved_run_of_another_seed_is_a_copy(tmp_path: Path) -> None:
    """As a sweep leaves it whose folders are named by other things than the run."""
    for seed in (0, 1):
        write_scored(tmp_path, 1.0, seed, mode="frozen", head=SOLVED, predictions=scores(1.0, 7))
    write_scored(tmp_path, 1.0, 0)
    done = analyse(tmp_path)
    assert [len(arm.runs) for arm in done.arms] == [1, 1]
    (said,) = [text for text in done.problems if "left out" in text]
    assert ": the same run as " in said


def test_a_solved_run_is_the_reader_of_its_training_set_whatever_seed_made_it(tmp_path: Path) -> None:
    for number in range(5):
        write_scored(tmp_path, 2.5, 9, mode="frozen", head=SOLVED, train_seed=number)
        write_scored(tmp_path, 0.3, number + 1, train_seed=number)
    (pair,) = analyse(tmp_path).comparison.analysis.pairs.values()
    assert (pair.readers, pair.random_readers) == (5, True)


def test_where_training_sets_vary_each_is_a_reader(tmp_path: Path) -> None:
    for number in range(5):
        write_scored(tmp_path, 2.5, 0, mode="frozen", head=SOLVED, train_seed=number)
        write_scored(tmp_path, 0.3, 0, train_seed=number)
    done = analyse(tmp_path)
    assert {tuple(arm.readers) for arm in done.arms} == {("0", "1", "2", "3", "4")}
    (pair,) = done.comparison.analysis.pairs.values()
    assert (pair.readers, pair.random_readers) == (5, True)
