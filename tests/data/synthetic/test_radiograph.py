"""The generator as a whole: determinism, labels, geometry, the observation model, and no cheap clues."""

import contextlib
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from xray_tl.config import AcquisitionConfig, AnatomyConfig, MarkerConfig, SyntheticDataConfig
from xray_tl.data.synthetic import radiograph as synthetic
from xray_tl.data.synthetic.arithmetic import exact_arithmetic
from xray_tl.data.synthetic.findings import finding_names
from xray_tl.data.synthetic.radiograph import Radiographs, SyntheticRadiographs
from xray_tl.errors import InputError

FIELDS = ("image", "label", "present", "mask", "centre", "radius", "template", "contrast", "marked")


def source(split: str = "train", seed: int = 0, **options: object) -> SyntheticRadiographs:
    return SyntheticRadiographs(replace(SyntheticDataConfig(), **options), split=split, seed=seed)


def equal(a: Radiographs, b: Radiographs, order: Tensor | None = None) -> bool:
    rows = slice(None) if order is None else order
    same = [torch.equal(getattr(a, name)[rows], getattr(b, name)) for name in FIELDS]
    return all(same) and all(torch.equal(a.anatomy[name][rows], b.anatomy[name]) for name in a.anatomy)


def stack(parts: list[Radiographs]) -> Radiographs:
    anatomy = {name: torch.cat([part.anatomy[name] for part in parts]) for name in parts[0].anatomy}
    fields = {name: torch.cat([getattr(part, name) for part in parts]) for name in FIELDS}
    return Radiographs(**fields, anatomy=anatomy)


@pytest.mark.parametrize("size", [32, 48, 112, 224])
def test_bitwise_the_same_in_any_batch_order_and_number_of_threads(size: int) -> None:
    drawn = source(image_size=size)
    count = 7
    reference = drawn.render(torch.arange(count))
    before = torch.get_num_threads()
    try:
        for threads, batch in ((1, 1), (1, 3), (2, 2), (3, 5), (4, 7)):
            torch.set_num_threads(threads)
            order = torch.randperm(count, generator=torch.Generator().manual_seed(batch))
            parts = stack([drawn.render(part) for part in torch.split(order, batch)])
            assert torch.get_num_threads() == threads
            assert equal(reference, parts, order), (threads, batch)
    finally:
        torch.set_num_threads(before)


def test_bitwise_the_same_in_chunks_and_after_pickling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = source(image_size=32)
    reference = drawn.render(torch.arange(12))
    assert equal(reference, pickle.loads(pickle.dumps(drawn)).render(torch.arange(12)))
    monkeypatch.setattr(synthetic, "CHUNK_PIXELS", 5 * 32**2)
    assert equal(reference, drawn.render(torch.arange(12)))


def test_rendering_uses_one_thread_and_full_products_and_restores_both() -> None:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        with contextlib.suppress(KeyError), exact_arithmetic():
            assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (1, "highest")
            raise KeyError
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "medium")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def test_splits_and_seeds_share_nothing() -> None:
    indices = torch.arange(6)
    pairs = (("train", 0), ("val", 0), ("test", 0), ("train", 1), ("test", 1))
    fields = [source(split, seed, image_size=32) for split, seed in pairs]
    noise = []
    for drawn in fields:
        simulation = drawn.simulate(indices)
        scene = simulation.scene
        residual = (simulation.log_exposure - scene.log_exposure) / scene.noise_modulation
        whitened = torch.fft.rfft2(residual) / drawn.acquisition.noise_spectrum.sqrt()
        noise.append(torch.fft.irfft2(whitened, s=(32, 32)).flatten())
        noise[-1] = noise[-1] / noise[-1].norm()
    gram = torch.stack(noise) @ torch.stack(noise).T - torch.eye(len(noise))
    assert float(gram.abs().max()) < 5 / math.sqrt(noise[0].numel())
    scales = torch.stack([drawn.render(indices).anatomy["scale"] for drawn in fields]).flatten()
    assert len(scales.unique()) == len(scales)


def test_open_gives_each_split_its_seed() -> None:
    config = SyntheticDataConfig(image_size=32, seed=3, train_seed=9)
    assert [SyntheticRadiographs.open(config, split).seed for split in ("train", "val", "test")] == [9, 9, 3]
    assert SyntheticRadiographs.open(SyntheticDataConfig(image_size=32, seed=3), "train").seed == 3
    with pytest.raises(InputError, match="split=holdout is unknown: choose from train, val, test"):
        SyntheticRadiographs.open(config, "holdout")


def test_labels_have_the_stated_prevalence_and_flips() -> None:
    count = 20_000
    drawn = source(image_size=32, prevalence=0.3, flip_negative=0.1, flip_positive=0.2)
    present, label = drawn.labels(torch.arange(count))
    assert (present.dtype, label.dtype) == (torch.bool, torch.int64)

    def within(share: Tensor, expected: float, trials: int) -> bool:
        return abs(float(share) - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)

    assert within(present.float().mean(), 0.3, count)
    assert within(label[~present].float().mean(), 0.1, int((~present).sum()))
    assert within(1 - label[present].float().mean(), 0.2, int(present.sum()))
    rendered = drawn.render(torch.arange(30))
    assert torch.equal(rendered.present, present[:30])
    assert torch.equal(rendered.label, label[:30])
    exact, observed = source(image_size=32, flip_negative=0, flip_positive=0).labels(torch.arange(1000))
    assert torch.equal(exact.long(), observed)


@pytest.mark.parametrize("finding", finding_names())
@pytest.mark.parametrize("size", [32, 80])
def test_every_finding_renders_at_any_size(finding: str, size: int) -> None:
    drawn = source(image_size=size, finding=finding).render(torch.arange(16))
    assert drawn.image.shape == (16, 1, size, size)
    assert drawn.image.dtype == torch.float32
    assert 0 <= float(drawn.image.min()) < 0.3 < 0.7 < float(drawn.image.max()) <= 1
    assert not bool(drawn.mask[~drawn.present].any())
    assert bool(drawn.mask[drawn.present].flatten(1).any(1).all())
    pitch = 380 / size
    for mask, centre, radius in zip(drawn.mask, drawn.centre, drawn.radius, strict=True):
        if mask.any():
            middle = (mask.nonzero().float().mean(0) - (size - 1) / 2) * pitch
            assert float((middle - centre).norm()) < 0.4 * float(radius) + pitch


@pytest.mark.parametrize("contrast", ["iso", "physical"])
def test_the_finding_is_added_as_the_model_says(contrast: str) -> None:
    options = {"image_size": 64, "contrast": contrast, "prevalence": 0.999}
    faint = {"d0": 1e-4} if contrast == "iso" else {"attenuation": 1e-6}
    drawn, without = source(**options), source(**options, **faint)
    indices = torch.arange(12)
    a, b = drawn.simulate(indices), without.simulate(indices)
    assert bool(a.present.all())
    signal = ((a.log_exposure - b.log_exposure) / a.scene.noise_modulation).double()
    power = torch.fft.fft2(signal).abs() ** 2
    noise = drawn.acquisition.noise_spectrum
    rows = torch.arange(64)
    full = torch.cat((noise, noise[-rows % 64][:, 1:-1].flip(1)), 1)  # N(-f) = N(f)
    measured = (power / full).sum((1, 2)).div(64**2).sqrt()
    at = (rows[:12], a.placement.row, a.placement.column)
    alpha = drawn.strength.over_modulation(
        a.placement.template,
        a.placement.contrast,
        a.scene.noise_modulation[at],
        a.scene.primary_fraction[at],
    )
    expected = alpha.double() * drawn.bank.energies[a.placement.template].sqrt()
    torch.testing.assert_close(measured, expected, rtol=2e-3, atol=0)
    if contrast == "iso":
        torch.testing.assert_close(expected, a.placement.contrast.double() * 20, rtol=1e-5, atol=0)


def test_centres_lie_in_omega() -> None:
    drawn = source(image_size=64, finding="nodule")
    indices = torch.arange(60)
    scene = drawn.scene(indices)
    omega, placed = drawn.omega(scene), drawn.placement(indices, scene, drawn.labels(indices)[0])
    assert bool(omega[indices, placed.row, placed.column].all())
    assert 0.05 < float(omega.float().mean()) < 0.35


def test_64_and_224_pixels_show_the_same_patient_and_finding() -> None:
    count = 48
    small, large = (source(image_size=size).render(torch.arange(count)) for size in (64, 224))
    for name in ("label", "present", "radius", "template", "contrast"):
        assert torch.equal(getattr(small, name), getattr(large, name))
    assert all(torch.equal(small.anatomy[name], large.anatomy[name]) for name in small.anatomy)
    # A candidate at the edge of the lung may be inside at one size alone: a few patients in a hundred.
    near = (small.centre - large.centre).abs().amax(1) < 380 / 64
    assert float(near.float().mean()) > 0.8
    shrunk = torch.nn.functional.interpolate(large.image, size=(64, 64), mode="area")
    for a, b in zip(shrunk[near], small.image[near], strict=True):
        assert float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]) > 0.95


def auc(score: Tensor, truth: Tensor) -> float:
    gap = score[truth][:, None] - score[~truth][None]
    return float((gap > 0).double().mean() + 0.5 * (gap == 0).double().mean())


def cross_validated_auc(features: Tensor) -> Callable[[Tensor], float]:
    """Return AUC as a function of truth: ridge regression, 5 folds, AUC averaged over folds."""
    x = features.double()
    x = torch.cat(((x - x.mean(0)) / (x.std(0) + 1e-12), torch.ones(len(x), 1)), 1)
    fold = torch.arange(len(x)) % 5
    hats = []
    for k in range(5):
        train = x[fold != k]
        gram = train.T @ train + 30 * torch.eye(x.shape[1])
        hats.append(x[fold == k] @ torch.linalg.solve(gram, train.T))

    def score(truth: Tensor) -> float:
        folds = [auc(hat @ truth[fold != k].double(), truth[fold == k]) for k, hat in enumerate(hats)]
        return sum(folds) / 5

    return score


def cheap_features(image: Tensor) -> dict[str, Tensor]:
    pixels = image.flatten(1)
    mean, spread = pixels.mean(1, keepdim=True), pixels.std(1, keepdim=True)
    z = (pixels - mean) / spread
    histogram = torch.stack([torch.histc(row, 24, 0, 1) for row in pixels])
    moments = torch.cat((mean, spread, (z**3).mean(1, keepdim=True), (z**4).mean(1, keepdim=True)), 1)
    pooled = torch.nn.functional.adaptive_avg_pool2d(image, 14).flatten(1)
    return {"mean": mean, "histogram": torch.cat((histogram, moments), 1), "pooled": pooled}


def test_cheap_features_do_not_give_the_nodule_away() -> None:
    count, permutations = 800, 200
    drawn = source(image_size=64, finding="nodule", seed=5).render(torch.arange(count))
    generator = torch.Generator().manual_seed(0)
    shuffled = [drawn.present[torch.randperm(count, generator=generator)] for _ in range(permutations)]
    leaky = drawn.image + 0.03 * drawn.present[:, None, None, None]
    for name, features in cheap_features(drawn.image).items():
        score = cross_validated_auc(features)
        null = torch.tensor([score(truth) for truth in shuffled])
        # one-sided: cross-validation puts the null a little below one half
        assert score(drawn.present) <= float(null.quantile(0.995)), name
        leak = cross_validated_auc(cheap_features(leaky)[name])
        assert leak(drawn.present) > float(null.max()) + 0.02, f"{name} would not notice a leak"


def test_identity_is_plain_and_holds_what_changes_the_data() -> None:
    base = source(image_size=32).identity()
    assert json.loads(json.dumps(base)) == base
    assert base["finding"]["radii"] == [20, 30, 40]
    changed: list[dict[str, Any]] = [
        {"image_size": 48},
        {"finding": "nodule"},
        {"prevalence": 0.4},
        {"contrast": "physical"},
        {"d0": 24.0},
        {"radii": [20.0]},
        {"contrasts": [1.0]},
        {"radius_scale": 0.9},
        {"mild_probability": 0.2, "mild_contrasts": [0.3]},
        {"marker": MarkerConfig(train=0.5)},
        {"flip_negative": 0.0},
        {"flip_positive": 0.0},
        {"acquisition": AcquisitionConfig(kvp=119)},
        {"anatomy": AnatomyConfig(rib_scale=1.1)},
    ]
    identities = [base, source("val", image_size=32).identity(), source(seed=1, image_size=32).identity()]
    identities += [source(**{"image_size": 32} | options).identity() for options in changed]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == len(identities)
    same = {"n_train": 5, "batch_size": 7, "num_workers": 2, "d0": 20.0, "attenuation": 0.3}
    assert source(image_size=32, **same).identity() == base
    physical = source(image_size=32, contrast="physical").identity()
    assert source(image_size=32, contrast="physical", d0=3.0).identity() == physical
    assert source(image_size=32, contrast="physical", attenuation=0.3).identity() != physical
