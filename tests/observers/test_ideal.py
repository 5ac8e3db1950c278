"""The ideal observer against theory: closed form, identities of a likelihood ratio, calibration, a leak."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, ndtr
from torch import Tensor

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.acquisition import Acquisition
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.data.synthetic.scene import Scene
from xray_tl.observers.ideal import IdealObserver
from xray_tl.observers.ideal_scores import observed_logit
from xray_tl.statistics.bounds import bounds, weighted_auroc

SMALL = {"image_size": 32, "finding": "nodule", "radii": [10.0, 14.0]}
MILD = {"finding": "opacity", "d0": 3.0, "mild_probability": 0.4, "mild_contrasts": [0.5, 1.0]}
KINDS: dict[str, dict[str, Any]] = {
    "iso": {"d0": 3.0},
    "physical": {"contrast": "physical", "attenuation": 0.15},
    "severities under both hypotheses": MILD,
}
SIGMAS = 4  # one false alarm in 16 000 checks


def source(**options: object) -> SyntheticRadiographs:
    config = replace(replace(SyntheticDataConfig(), **SMALL), **options)
    return SyntheticRadiographs(config, split="test", seed=3)


def score(drawn: SyntheticRadiographs, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The log-likelihood ratio and the presence of the first images."""
    indices = torch.arange(images)
    ratio = IdealObserver(drawn).log_likelihood_ratio(indices)
    assert ratio.dtype == torch.float64
    return ratio.numpy(), drawn.labels(indices)[0].numpy()


@pytest.mark.parametrize("d0", [1.0, 2.0])
def test_a_known_location_gives_the_closed_form(d0: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # One template, one contrast, one possible centre: ln L is normal with mean +-d^2 / 2 and variance d^2.
    drawn = source(d0=d0, radii=[10.0], contrasts=[1.0])
    monkeypatch.setattr(drawn, "omega", centre_alone)
    ratio, present = score(drawn, 1200)
    auroc, error = weighted_auroc(present.astype(float), ratio)
    assert abs(auroc - ndtr(d0 / math.sqrt(2))) < SIGMAS * error
    for hypothesis, sign in ((present, 1), (~present, -1)):
        normal = (ratio[hypothesis] - sign * d0**2 / 2) / d0
        assert abs(normal.mean()) < SIGMAS / math.sqrt(len(normal))
        assert abs(normal.var() - 1) < SIGMAS * math.sqrt(2 / len(normal))


def centre_alone(scene: Scene) -> Tensor:
    omega = torch.zeros(scene.log_exposure.shape, dtype=torch.bool)
    omega[:, 16, 16] = True
    return omega


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_is_the_sum_over_every_placement(kind: str) -> None:
    # Pixel by pixel: each placement's signal is pasted into the image, K^-1 is applied by full transforms.
    drawn = source(**({"finding": "opacity", "radii": [20.0]} | KINDS[kind]))
    ratio, _ = score(drawn, 2)
    simulation = drawn.simulate(torch.arange(2))
    omega, scene, bank = drawn.omega(simulation.scene), simulation.scene, drawn.bank
    half = drawn.acquisition.noise_spectrum.numpy()
    whole = np.concatenate((half, half[-np.arange(32) % 32, 1:-1][:, ::-1]), axis=1)
    finding, reach = drawn.finding, np.arange(-bank.margin, bank.margin + 1)
    for image in range(2):
        m, g, y = (
            field[image].double().numpy()
            for field in (scene.noise_modulation, scene.log_exposure, simulation.log_exposure)
        )
        prewhitened = np.fft.ifft2(np.fft.fft2((y - g) / m) / whole).real
        likelihood = {}
        for kappa in {*finding.contrasts, *finding.mild_contrasts}:
            logs = []
            centres, templates = omega[image].nonzero().tolist(), range(len(bank.templates))
            for (row, column), template in product(centres, templates):
                alpha = drawn.strength.over_modulation(
                    torch.tensor([template]),
                    torch.tensor([kappa]),
                    scene.noise_modulation[image, row, column][None],
                    scene.primary_fraction[image, row, column][None],
                )
                patch = float(alpha) * bank.templates[template].double().numpy()
                at = np.ix_(row + reach, column + reach)
                logs.append((prewhitened[at] * patch).sum() - float(alpha) ** 2 * bank.energies[template] / 2)
            likelihood[kappa] = np.exp(logs).mean()
        positive = np.mean([likelihood[kappa] for kappa in finding.contrasts])
        negative = 1.0
        if finding.mild_probability:
            mild = np.mean([likelihood[kappa] for kappa in finding.mild_contrasts])
            negative = 1 - finding.mild_probability + finding.mild_probability * mild
        assert ratio[image] == pytest.approx(np.log(positive / negative), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_1_over_the_ratio_is_1_among_positives(kind: str) -> None:
    ratio, present = score(source(prevalence=0.999, **KINDS[kind]), 1000)
    inverse = np.exp(-ratio[present])
    assert abs(inverse.mean() - 1) < SIGMAS * inverse.std() / math.sqrt(len(inverse))
    assert inverse.std() < 5, "else the check above could not fail"


@pytest.mark.parametrize("kind", KINDS)
def test_the_posterior_is_calibrated_and_soft_and_hard_areas_agree(kind: str) -> None:
    drawn = source(prevalence=0.3, flip_negative=0.05, flip_positive=0.1, **KINDS[kind])
    ratio, _ = score(drawn, 1200)
    logit = observed_logit(drawn, ratio)
    label = drawn.labels(torch.arange(1200))[1].numpy()
    posterior = expit(logit)
    for part in np.array_split(np.argsort(logit), 6):
        error = math.sqrt((posterior[part] * (1 - posterior[part])).sum())
        assert abs((label[part] - posterior[part]).sum()) < SIGMAS * error
    hard, hard_error = weighted_auroc(label.astype(float), logit)
    best = bounds(logit)
    assert abs(hard - best["auroc"]) < SIGMAS * hard_error
    assert best["auroc_se"] < hard_error
    assert abs(((posterior > 0.5) == label).mean() - best["accuracy"]) < SIGMAS * 0.5 / math.sqrt(1200)


def test_flips_move_the_area_as_the_formula_says() -> None:
    # AUC_observed = 1/2 + (1 - a - b)(AUC - 1/2), a and b the impurities of observed positives and negatives.
    flips = {"flip_negative": 0.1, "flip_positive": 0.2}
    drawn = source(d0=4.0, prevalence=0.4, **flips)
    ratio, _ = score(drawn, 1000)
    presence = bounds(ratio + math.log(0.4 / 0.6))
    observed = bounds(observed_logit(drawn, ratio))
    positive = 0.4 * 0.8 + 0.6 * 0.1
    impurities = 0.6 * 0.1 / positive + 0.4 * 0.2 / (1 - positive)
    expected = 0.5 + (1 - impurities) * (presence["auroc"] - 0.5)
    # both from the same images: what differs is the share of positives that they happen to hold
    assert observed["auroc"] == pytest.approx(expected, abs=SIGMAS * presence["auroc_se"])


def test_a_noise_free_mean_is_caught_as_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = bounds(score(source(d0=3.0), 400)[0])
    whole = Acquisition._noise_spectrum

    def without_mean(self: Acquisition) -> Tensor:
        spectrum = whole(self)
        spectrum[0, 0] = 1e-3 * spectrum[-1, -1]
        return spectrum

    monkeypatch.setattr(Acquisition, "_noise_spectrum", without_mean)
    leaky = bounds(score(source(d0=3.0), 400)[0])
    assert leaky["auroc"] > sound["auroc"] + 0.1, "no search any more: the mean tells"


def test_scores_depend_on_neither_batch_nor_order() -> None:
    observer = IdealObserver(source())
    whole = observer.log_likelihood_ratio(torch.arange(20))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for part in torch.split(order, 7):
        torch.testing.assert_close(observer.log_likelihood_ratio(part), whole[part], rtol=1e-12, atol=1e-12)
