"""What images give away without learned features."""

import numpy as np
import pytest
from scipy import stats

from xray_tl.statistics.floors import BINS, image_features, logistic_regression, majority
from xray_tl.statistics.metrics import auroc

RNG = np.random.default_rng
SPLITS = {"train": 200, "val": 100, "test": 400}


def test_statistics_are_histogram_and_moments() -> None:
    image = RNG(0).beta(2, 5, (3, 32, 48)).astype(np.float32)
    image[0, 0, 0] = 1.0  # the upper edge belongs to the last bin
    features = image_features(image)["image_statistics"]
    for row, pixels in zip(features, image.reshape(3, -1), strict=True):
        counts, _ = np.histogram(pixels, BINS, (0, 1))
        assert row[:BINS] == pytest.approx(counts / pixels.size, abs=1e-6)
        moments = [pixels.mean(), pixels.std(), stats.skew(pixels), stats.kurtosis(pixels, fisher=False)]
        assert row[BINS:] == pytest.approx(moments, rel=1e-3)


def test_statistics_do_not_see_where_a_pixel_is_and_pooled_pixels_do() -> None:
    image = RNG(1).random((2, 32, 32), dtype=np.float32)
    shuffled = RNG(2).permutation(image.reshape(2, -1), axis=1).reshape(image.shape)
    before, after = image_features(image), image_features(shuffled)
    np.testing.assert_allclose(before["image_statistics"], after["image_statistics"], rtol=1e-4)
    assert not np.allclose(before["pooled_pixels"], after["pooled_pixels"], rtol=0.01)
    assert before["pooled_pixels"][1, 17] == pytest.approx(image[1, 2:4, 2:4].mean())


def test_a_uniform_image_has_finite_features() -> None:
    for features in image_features(np.full((1, 32, 32), 0.5, np.float32)).values():
        assert np.isfinite(features).all()


def test_majority_ranks_nothing_and_decides_by_the_training_share() -> None:
    truth = {name: (RNG(3).random((size, 2)) < (0.7, 0.2)).astype(float) for name, size in SPLITS.items()}
    scores = majority(truth)
    assert auroc(truth["test"], scores["test"]) == 0.5
    share = truth["train"].mean(0)
    assert 1 / (1 + np.exp(-scores["val"])) == pytest.approx(np.broadcast_to(share, (100, 2)))


def drawn(signal: float, seed: int = 4) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Features of which the third tells the first target, on an odd scale; nothing tells the second."""
    rng = RNG(seed)
    truth = {name: (rng.random((size, 2)) < 0.5).astype(float) for name, size in SPLITS.items()}
    features = {name: rng.normal(size=(size, 20)).astype(np.float32) for name, size in SPLITS.items()}
    for name, values in features.items():
        values[:, 2] = 1e3 * (values[:, 2] + signal * truth[name][:, 0]) + 5e4
    return features, truth


def test_regression_finds_what_is_there_and_nothing_else() -> None:
    features, truth = drawn(signal=2.0)
    scores = logistic_regression(features, truth)
    found, chance = (auroc(truth["test"][:, [k]], scores["test"][:, [k]]) for k in (0, 1))
    bound = stats.norm.cdf(2 / np.sqrt(2))  # .921, of a signal of two standard deviations
    assert found == pytest.approx(bound, abs=0.05)
    assert chance == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 * (1 / 200 + 1 / 200)))


def test_the_test_split_has_no_say() -> None:
    features, truth = drawn(signal=0.5)
    before = logistic_regression(features, truth)
    features["test"] = np.concatenate((features["test"][:50], 9 * features["test"][50:]))
    after = logistic_regression(features, {**truth, "test": 1 - truth["test"]})
    for split, rows in (("val", 100), ("test", 50)):
        np.testing.assert_array_equal(before[split][:rows], after[split][:rows])


def test_validation_chooses_the_penalty() -> None:
    features, truth = drawn(signal=0.0)
    scores = logistic_regression(features, truth)
    turned = logistic_regression(features, {**truth, "val": 1 - truth["val"]})
    assert not np.allclose(scores["test"], turned["test"])
