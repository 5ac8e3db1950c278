"""Two patients are far apart, copies of one film near."""

import numpy as np
import pytest

from tests.data.films.radiograph_files import films
from xray_tl.data.films.decode import fit_film
from xray_tl.data.quality.near_copies import NEAR, near_pairs, thumbnails


@pytest.mark.parametrize("border", [0, 6])
def test_different_patients_are_far_apart_and_copies_near(border: int) -> None:
    count = 400
    grey = films(count, 64)[0][:, :, border : 64 - border or None]
    shapes = np.tile(grey.shape[1:], (count, 1))
    padded = np.stack([fit_film(one, 64, "pad", "range") for one in grey])
    prints = thumbnails(padded, shapes)
    apart = np.arange(4 * count).reshape(count, 4)
    _, distance = near_pairs(prints, apart, np.array(["train"] * count), below=2.0)
    assert distance.min() > 2 * NEAR, "no two of 400 patients come near the limit"
    generator = np.random.default_rng(0)
    noisy = np.clip(padded + generator.normal(0, 0.01, padded.shape), 0, 1).astype(np.float32)
    own = 1 - (thumbnails(noisy, shapes) * prints).sum(1)
    assert own.max() < NEAR / 2


def test_pairs_across_splits_are_listed_before_nearer_ones_within() -> None:
    prints = np.eye(6, dtype=np.float32)
    prints[1], prints[3] = prints[0], 0.97 * prints[2] + 0.24 * prints[5]
    prints[4] = prints[0]
    contents = np.arange(24).reshape(6, 4)
    contents[4] = contents[0]
    split = np.array(["train", "train", "train", "test", "train", "val"])
    pairs, _ = near_pairs(prints, contents, split)
    assert pairs.tolist() == [[2, 3], [0, 1], [1, 4]], "0 and 4 are exact copies"
