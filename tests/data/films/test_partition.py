"""Splits that do not leak."""

import numpy as np
import pytest

from xray_tl.data.films.partition import folds_of, groups_of, partition
from xray_tl.errors import InputError

FRACTIONS = (0.15, 0.2)


def _set(patients: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw patients with one to six images each, a third of them positive."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), generator.integers(1, 7, patients))
    truth = (generator.random(patients) < 1 / 3)[groups].astype(np.float32)[:, None]
    return truth, groups


def test_patients_and_copies_share_a_group() -> None:
    contents = np.arange(24).reshape(6, 4)
    contents[5] = contents[0]
    groups = groups_of(["a", "a", "b", "", "", "c"], contents)
    assert groups[0] == groups[1] == groups[5], "two patients who share a film are one"
    assert len({groups[0], groups[2], groups[3], groups[4]}) == 4


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_divided_and_classes_keep_their_share(seed: int) -> None:
    truth, groups = _set(120, seed)
    split = np.array(partition(truth, groups, [""] * len(groups), FRACTIONS, (seed, seed)))
    for group in set(groups):
        assert len(set(split[groups == group])) == 1
    for name, share in (("val", 0.15), ("test", 0.2)):
        chosen = split == name
        # A group has at most six images: no count can be asked to be nearer to its target than that.
        assert abs(chosen.sum() - share * len(groups)) <= 6
        assert abs(truth[chosen].sum() - share * truth.sum()) <= 6


def test_patients_with_many_images_are_in_every_split() -> None:
    truth, groups = _set(600)
    split = np.array(partition(truth, groups, [""] * len(groups), FRACTIONS, (0, 0)))
    sizes = np.bincount(groups)
    spread = sizes.std(ddof=1)
    for name in ("train", "val", "test"):
        own = sizes[np.unique(groups[split == name])]
        assert abs(own.mean() - sizes.mean()) < 4 * spread / np.sqrt(len(own))


def test_seeds_draw_the_test_set_and_the_rest_apart() -> None:
    truth, groups = _set(60)
    free = [""] * len(groups)
    first, again, other, training = (
        np.array(partition(truth, groups, free, FRACTIONS, seeds))
        for seeds in ((0, 0), (0, 0), (1, 1), (0, 1))
    )
    assert (first == again).all()
    assert ((first == "test") != (other == "test")).any()
    assert ((first == "test") == (training == "test")).all()
    assert ((first == "val") != (training == "val")).any()


def test_a_given_split_is_kept() -> None:
    truth, groups = _set(40)
    whole = np.array(["train", "val", "test"])[groups % 3].tolist()
    assert partition(truth, groups, whole, FRACTIONS, (0, 0)) == whole
    half = np.where(groups % 3 == 2, "test", "train").tolist()
    found = np.array(partition(truth, groups, half, FRACTIONS, (0, 0)))
    assert ((found == "test") == (groups % 3 == 2)).all()
    assert (found == "val").any()
    for group in set(groups):
        assert len(set(found[groups == group])) == 1


def test_several_labels_with_unknown_ones_keep_their_shares() -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random((600, 3)) < (0.5, 0.2, 0.05)).astype(np.float32)
    truth[generator.random(truth.shape) < 0.2] = np.nan
    split = np.array(partition(truth, np.arange(600), [""] * 600, FRACTIONS, (0, 0)))
    for column in truth.T:
        assert abs(np.nansum(column[split == "test"]) - 0.2 * np.nansum(column)) <= 2


def test_too_few_patients_are_said() -> None:
    truth = np.array([[0], [1], [0], [1]], dtype=np.float32)
    with pytest.raises(InputError, match="of 1 patients"):
        partition(truth, np.zeros(4, dtype=np.int64), [""] * 4, FRACTIONS, (0, 0))


def test_everything_can_be_test() -> None:
    truth, groups = _set(10)
    for given in ("", "train"):
        assert set(partition(truth, groups, [given] * len(groups), (0.15, 1.0), (0, 0))) == {"test"}


@pytest.mark.parametrize("seed", range(3))
def test_folds_divide_no_patient_and_have_equal_sizes_and_classes(seed: int) -> None:
    truth, groups = _set(150, seed)
    fold = folds_of(truth, groups, 5, seed)
    for group in set(groups):
        assert len(set(fold[groups == group])) == 1
    # The last patients to come are small: no fold can be a patient's images, six, away from another.
    for k in range(5):
        assert abs((fold == k).sum() - len(groups) / 5) <= 6
        assert abs(truth[fold == k].sum() - truth.sum() / 5) <= 6
    assert (fold == folds_of(truth, groups, 5, seed)).all()
    assert (fold != folds_of(truth, groups, 5, seed + 1)).any()


def test_no_fold_is_empty_beside_a_patient_with_many_images() -> None:
    groups = np.repeat(np.arange(6), [60, 8, 8, 8, 8, 8])
    truth = (groups % 2).astype(np.float32)[:, None]
    for seed in range(20):  # in any order of patients
        fold = folds_of(truth, groups, 5, seed)
        assert set(fold) == set(range(5))
        assert (np.bincount(fold) == 60).sum() == 1, "the patient with many stands alone"


def test_more_folds_than_patients_are_refused() -> None:
    truth, groups = _set(4)
    with pytest.raises(InputError, match=r"data\.folds=5: the images are of 4 patients"):
        folds_of(truth, groups, 5, 0)


@pytest.mark.parametrize("source", ["train", "val"])
def test_a_test_split_drawn_from_a_part_takes_no_patient_of_another(source: str) -> None:
    truth, groups = _set(60)
    other = {"train": "val", "val": "train"}[source]
    given = [other if index % 3 == 0 else source for index in range(len(groups))]  # most patients straddle
    split = np.array(partition(truth, groups, given, FRACTIONS, (0, 0), source))
    tested = set(groups[split == "test"])
    assert tested
    assert not tested & set(groups[np.array(given) == other])
