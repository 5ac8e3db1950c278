"""Folds within the training images: drawn from the data alone, no patient divided, classes spread evenly."""

from typing import Literal

import numpy as np
import pytest

from xray_tl.training.patient_folds import OUTSIDE, patient_folds

NAMES = [f"patient {i // 3}" for i in range(300)]


def _truth(rows: int, columns: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return (np.random.default_rng(0).random((rows, columns)) < 0.3).astype(float)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_the_order_of_images_changes_nothing(kind: Literal["binary", "multiclass", "multilabel"]) -> None:
    truth = np.eye(3)[np.arange(300) % 3] if kind == "multiclass" else _truth(300, 1 + (kind == "multilabel"))
    order = np.random.default_rng(1).permutation(300)
    folds = patient_folds(truth, NAMES, kind)
    again = patient_folds(truth[order], [NAMES[i] for i in order], kind)
    assert folds is not None
    assert again is not None
    assert (folds[order] == again).all()


def test_no_patient_is_divided() -> None:
    folds = patient_folds(_truth(300), NAMES, "binary")
    assert folds is not None
    assert all(len(set(folds[k : k + 3])) == 1 for k in range(0, 300, 3))


@pytest.mark.parametrize("positives", [5, 17, 150])
def test_each_class_is_spread_evenly(positives: int) -> None:
    truth = (np.arange(301)[:, None] < positives).astype(float)
    folds = patient_folds(truth, [str(i) for i in range(301)], "binary")
    assert folds is not None
    for chosen in (folds[:positives], folds[positives:], folds):
        sizes = np.bincount(chosen, minlength=5)
        assert sizes.max() - sizes.min() <= 1


def test_unknown_truth_is_a_class_of_its_own() -> None:
    truth = _truth(300, 2)
    truth[:50, 1] = np.nan
    folds = patient_folds(truth, [str(i) for i in range(300)], "multilabel")
    assert folds is not None
    assert np.bincount(folds[:50, 1]).tolist() == [10] * 5
    sizes = np.bincount(folds[50:, 1][truth[50:, 1] == 1])
    assert sizes.max() - sizes.min() <= 1


def test_folds_do_not_follow_the_names() -> None:
    """Names may be sorted by date: neighbours must not take turns."""
    truth = np.arange(200, dtype=np.float64)[:, None] % 2
    folds = patient_folds(truth, [f"{i:04}" for i in range(200)], "binary")
    assert folds is not None
    assert len({tuple(folds[k : k + 10]) for k in range(0, 200, 10)}) > 10


def test_a_rare_class_makes_for_fewer_folds() -> None:
    truth = (np.arange(60)[:, None] < 3).astype(float)
    folds = patient_folds(truth, [str(i) for i in range(60)], "binary")
    assert folds is not None
    assert set(folds) == {0, 1, 2}
    assert set(folds[:3]) == {0, 1, 2}


def test_where_no_folds_are_possible() -> None:
    one = (np.arange(60)[:, None] < 1).astype(float)
    names = [str(i) for i in range(60)]
    assert patient_folds(one, names, "binary") is None
    assert patient_folds(np.zeros((60, 1)), names, "binary") is None
    assert patient_folds(np.full((60, 1), np.nan), names, "binary") is None
    two = patient_folds(np.hstack((one, _truth(60))), names, "multilabel")
    assert two is not None
    assert (two[:, 0] == OUTSIDE).all()
    assert set(two[:, 1]) == {0, 1, 2, 3, 4}
