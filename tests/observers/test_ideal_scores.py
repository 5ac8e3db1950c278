"""Log-odds of the observed label: flips, prevalence, marker, and one computation a data set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from xray_tl.config import MarkerConfig, SyntheticDataConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.observers import ideal_scores as scores
from xray_tl.observers.ideal import IdealObserver
from xray_tl.observers.ideal_scores import ideal_logit, observed_logit
from xray_tl.statistics.bounds import bounds


def source(split: str = "test", **options: object) -> SyntheticRadiographs:
    small = SyntheticDataConfig(image_size=32, finding="nodule", radii=[10.0], seed=4)
    return SyntheticRadiographs.open(replace(small, **options), split)


def test_flips_and_prevalence_by_bayes_rule() -> None:
    drawn = source(prevalence=0.2, flip_negative=0.1, flip_positive=0.3)
    ratio = np.array([-2.0, 0.0, 3.0])
    present = 0.2 * np.exp(ratio) / (0.2 * np.exp(ratio) + 0.8)
    np.testing.assert_allclose(expit(observed_logit(drawn, ratio)), present * 0.7 + (1 - present) * 0.1)


def test_certainty_is_finite_with_flips_and_exact_without() -> None:
    certain = np.array([-5000.0, 5000.0])
    flipped = observed_logit(source(flip_negative=0.02, flip_positive=0.04), certain)
    np.testing.assert_allclose(expit(flipped), [0.02, 0.96])
    np.testing.assert_allclose(observed_logit(source(prevalence=0.5), certain), certain)


@pytest.mark.parametrize("correlation", [-0.6, 0.6])
def test_a_correlated_marker_raises_the_ceiling_as_its_own_evidence(correlation: float) -> None:
    # A finding that cannot be seen: only the marker speaks, and its own AUROC is (1 + |c|) / 2.
    drawn = source("train", d0=1e-3, marker=MarkerConfig(train=correlation, test=0.0))
    logit = ideal_logit(drawn, 600)
    best = bounds(logit)
    assert best["auroc"] == pytest.approx((1 + abs(correlation)) / 2, abs=4 * best["auroc_se"])
    label = drawn.labels(torch.arange(600))[1].numpy()
    marked = drawn.marked(torch.arange(600)).numpy()
    agreement = np.corrcoef(label, marked)[0, 1]
    assert agreement == pytest.approx(correlation, abs=4 * (1 - correlation**2) / np.sqrt(600))
    assert np.array_equal(logit > 0, marked == (correlation > 0))


def test_an_uncorrelated_marker_changes_nothing() -> None:
    plain, marked = source(), source(marker=MarkerConfig(train=1.0, test=0.0))
    assert bool(marked.marked(torch.arange(64)).any())
    np.testing.assert_array_equal(ideal_logit(plain, 64), ideal_logit(marked, 64))


def test_scored_once_for_each_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    whole = scores._score
    monkeypatch.setattr(scores, "_score", lambda drawn, n: counted.append(n) or whole(drawn, n))
    first = ideal_logit(source(seed=71), 20)
    np.testing.assert_array_equal(ideal_logit(source(seed=71, batch_size=7), 20), first)
    assert counted == [20]
    ideal_logit(source(seed=71), 21)
    ideal_logit(source(seed=72), 20)
    ideal_logit(source(seed=71, d0=4.0), 20)
    assert counted == [20, 21, 20, 20]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads: int) -> None:
    own = torch.get_num_threads()
    drawn = source(radii=None, finding="opacity")
    expected = IdealObserver(drawn).log_likelihood_ratio(torch.arange(70)).numpy()
    torch.set_num_threads(threads)
    try:
        found = scores._score(drawn, 70)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(own)
    assert np.array_equal(found, expected)


def test_no_operation_is_cut_among_threads_while_images_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(self: IdealObserver, indices: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return torch.zeros(len(indices), dtype=torch.float64)

    monkeypatch.setattr(IdealObserver, "log_likelihood_ratio", look)
    own = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        scores._score(source(), 40)
    finally:
        torch.set_num_threads(own)
    assert seen == [1, 1, 1]
