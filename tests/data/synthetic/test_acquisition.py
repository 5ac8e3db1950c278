"""Beam, scatter, detector, noise spectrum and display against closed forms."""

import itertools
import math

import pytest
import torch

from xray_tl.config import AcquisitionConfig
from xray_tl.data.synthetic.acquisition import (
    CORTICAL_BONE,
    ENERGY_KEV,
    WATER,
    Acquisition,
    attenuation_per_mm,
    effective_energy,
    interpolate_attenuation,
    texture_density,
)
from xray_tl.data.synthetic.rng import Stream, stream_keys

CPU = torch.device("cpu")


def acquisition(size: int = 64, **options: float) -> Acquisition:
    return Acquisition(AcquisitionConfig(**options), size, CPU)


@pytest.mark.parametrize("table", [WATER, CORTICAL_BONE])
def test_attenuation_interpolates_the_table_and_falls_with_energy(table: tuple[float, ...]) -> None:
    for energy, value in zip(ENERGY_KEV, table, strict=True):
        assert interpolate_attenuation(table, energy) == pytest.approx(value)
    fine = [interpolate_attenuation(table, 30 + 0.5 * i) for i in range(141)]
    assert all(high > low for high, low in itertools.pairwise(fine))


def test_attenuation_follows_tube_voltage() -> None:
    assert effective_energy(120) == pytest.approx(63)
    soft, bone = zip(*(attenuation_per_mm(kvp) for kvp in (60, 80, 100, 120, 140)), strict=True)
    assert list(soft) == sorted(soft, reverse=True)
    assert list(bone) == sorted(bone, reverse=True)
    contrast = [b / s for b, s in zip(bone, soft, strict=True)]
    assert contrast == sorted(contrast, reverse=True), "bone stands out more at low voltage"


def test_texture_has_the_stated_variance() -> None:
    config = AcquisitionConfig(texture_rms=0.05, texture_beta=2.8)
    f = torch.logspace(-7, 4, 200_001, dtype=torch.float64)
    ring = 2 * math.pi * f * texture_density(config, f**2)
    assert float(torch.trapezoid(ring, f)) == pytest.approx(0.05**2, rel=1e-3)


def test_slow_noise_is_the_same_per_mm_at_every_image_size() -> None:
    sizes = (32, 64, 224)
    spectra = [acquisition(size, mtf_sigma=0, electronic_noise=1e-9) for size in sizes]
    per_mm = [a.noise_spectrum[:16, :16] * a.pitch**2 for a in spectra]
    for other in per_mm[1:]:
        torch.testing.assert_close(other, per_mm[0], rtol=1e-9, atol=0)


def test_noise_spectrum_never_vanishes() -> None:
    for size in (32, 224):
        spectrum = acquisition(size, mtf_sigma=0.7, electronic_noise=0.002).noise_spectrum
        assert float(spectrum.min()) >= 0.002**2
        assert float(spectrum[0, 0]) == float(spectrum.max()), "zero frequency must not leak the label"


def test_quantum_noise_follows_dose_and_pixel_area() -> None:
    base = acquisition(64)
    assert base.quanta == pytest.approx(2.5 * 30_000 * 0.6 * base.pitch**2)
    assert acquisition(64, kerma=0.25).quanta == pytest.approx(base.quanta / 10)
    assert acquisition(32).quanta == pytest.approx(base.quanta * 4)


def test_noise_has_its_spectrum() -> None:
    a, size, images = acquisition(48), 48, 300
    field = a.noise(stream_keys(0, "test", Stream.NOISE, torch.arange(images))).double()
    power = (torch.fft.rfft2(field).abs() ** 2).mean(0) / size**2 / a.noise_spectrum
    inner = power[
        :, 1 : size // 2
    ]  # its modes are independent; each ratio is chi-square_2n / 2n: SD 1 / sqrt(n)
    assert abs(float(inner.mean()) - 1) < 4 / math.sqrt(images * inner.numel())
    assert float((inner - 1).abs().max()) < 6 / math.sqrt(images)
    spread = float(inner.var() * images)
    assert abs(spread - 1) < 5 * math.sqrt(2 / inner.numel())
    assert float(power[0, 0]) == pytest.approx(1, abs=5 * math.sqrt(2 / images))


def test_detector_blur_has_its_transfer_function() -> None:
    a = acquisition(48, mtf_sigma=0.6)
    point = torch.zeros(1, 48, 48, dtype=torch.float64)
    point[0, 20, 20] = 1
    ratio = torch.fft.rfft2(a.blur(point))[0] / torch.fft.rfft2(point)[0]
    torch.testing.assert_close(ratio.real, a.transfer())
    flat = torch.full((1, 48, 48), 2.0)
    torch.testing.assert_close(a.blur(flat), flat)
    assert torch.equal(acquisition(48, mtf_sigma=0).blur(point), point)


@pytest.mark.parametrize("size", [32, 48, 112])
def test_uniform_slab(size: int) -> None:
    exposure = acquisition(size, scatter_weight=0.7).expose(torch.full((2, size, size), 2.0))
    ones = torch.ones(2, size, size)
    torch.testing.assert_close(exposure.log_exposure, 0 * ones, atol=1e-4, rtol=0)
    torch.testing.assert_close(exposure.noise_modulation, ones, atol=1e-4, rtol=0)
    torch.testing.assert_close(exposure.primary_fraction, ones / 1.7, atol=1e-4, rtol=0)


def test_noise_grows_where_exposure_falls() -> None:
    path = torch.full((1, 64, 64), 2.0)
    path[:, :, 40:] = 4.0
    g, m = (lambda e: (e.log_exposure, e.noise_modulation))(acquisition(64, gamma=0.5).expose(path))
    assert float(m[0, 32, 60]) > 1.5 * float(m[0, 32, 10])
    assert float(g[0, 32, 60]) > float(g[0, 32, 10])
    assert torch.equal(acquisition(64, gamma=0).expose(path).noise_modulation, torch.ones(1, 64, 64))


def test_display_is_an_increasing_map_into_the_unit_interval() -> None:
    a = acquisition(64)
    y = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0)) * 3
    image, brighter = a.display(y), a.display(y + 0.1)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert bool((brighter >= image).all())
