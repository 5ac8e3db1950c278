"""Registry, template bank, detectability, placement and strength of findings."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from xray_tl.config import AcquisitionConfig, SyntheticDataConfig
from xray_tl.data.synthetic import findings
from xray_tl.data.synthetic.acquisition import Acquisition, attenuation_per_mm
from xray_tl.data.synthetic.findings import (
    Bump,
    Finding,
    finding_names,
    get_finding,
    register_finding,
    resolve_finding,
)
from xray_tl.data.synthetic.generator_options import MAX_TEMPLATES
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.data.synthetic.rng import Stream, stream_keys
from xray_tl.data.synthetic.templates import (
    Strength,
    TemplateBank,
    admissible,
    build_bank,
    draw_centre,
    draw_finding,
    normalise,
    profile,
)
from xray_tl.errors import InputError

CPU = torch.device("cpu")


@pytest.fixture
def registry() -> Iterator[dict[str, Finding]]:
    kept = dict(findings._FINDINGS)
    yield findings._FINDINGS
    findings._FINDINGS.clear()
    findings._FINDINGS.update(kept)


def bank_of(finding: Finding, size: int, **options: float) -> tuple[TemplateBank, Acquisition]:
    acquisition = Acquisition(AcquisitionConfig(**options), size, CPU)
    return build_bank(finding, acquisition, CPU), acquisition


def test_a_new_finding_takes_a_few_lines(registry: dict[str, Finding]) -> None:
    @register_finding
    def one_of_this_test() -> Finding:
        """Round mass of 30-60 mm."""
        return Finding(radii=(15.0, 30.0), contrasts=(1.0,), d0=10.0, shapes=((Bump(0, 0, 1),),))

    assert "one_of_this_test" in finding_names()
    source = SyntheticRadiographs(
        SyntheticDataConfig(finding="one_of_this_test", image_size=48), split="train", seed=0
    )
    drawn = source.render(torch.arange(20))
    assert set(drawn.radius.tolist()) == {15.0, 30.0}
    assert bool(drawn.mask.any())


def test_a_name_is_registered_once(registry: dict[str, Finding]) -> None:
    with pytest.raises(ValueError, match="'nodule' is already registered"):

        @register_finding
        def nodule() -> Finding:
            """Return another nodule."""
            return get_finding("opacity")


def test_a_miss_names_option_and_choices() -> None:
    choices = ", ".join(
        sorted({"cavity", "cluster", "mass", "nodule", "opacity", "streak", *finding_names()})
    )
    with pytest.raises(InputError, match=rf"^data\.finding=tumour is unknown: choose from {choices}$"):
        get_finding("tumour")


def test_the_configuration_overrides_the_findings_own_values() -> None:
    own = resolve_finding(SyntheticDataConfig(finding="opacity"))
    assert own == get_finding("opacity")
    changed = resolve_finding(
        SyntheticDataConfig(
            finding="opacity", radii=[12], contrasts=[2], d0=7, flip_negative=0, flip_positive=0.1
        )
    )
    assert (changed.radii, changed.contrasts, changed.d0) == ((12.0,), (2.0,), 7.0)
    assert (changed.flip_negative, changed.flip_positive, changed.shapes) == (0.0, 0.1, own.shapes)


@pytest.mark.parametrize("name", finding_names())
def test_every_bank_is_small_compact_and_scaled(name: str) -> None:
    finding = get_finding(name)
    assert len(finding.shapes) * len(finding.radii) <= MAX_TEMPLATES
    bank, acquisition = bank_of(finding, 224)
    assert len(bank.templates) == len(bank.radii) == len(bank.energies)
    edge = torch.cat([bank.templates[:, (0, -1)].flatten(), bank.templates[:, :, (0, -1)].flatten()])
    assert float(edge.abs().max()) == 0
    assert float(bank.templates.min()) >= 0
    assert float(bank.templates.max()) <= 1
    for template, radius in zip(bank.templates, bank.radii, strict=True):
        area = float((template > 0.2 * template.max()).sum()) * acquisition.pitch**2
        boundary = 2 * math.pi * float(radius) * acquisition.pitch  # a pixel along the edge
        assert area == pytest.approx(math.pi * float(radius) ** 2, abs=0.7 * boundary)


def test_nodule_profile_is_the_stated_formula() -> None:
    shape = get_finding("nodule").shapes[0]
    peak, scale, extent = normalise(shape)
    assert (peak, scale, extent) == pytest.approx((1, 1.345, 1.345), rel=1e-3)
    rho = torch.linspace(0, 2, 50, dtype=torch.float64)
    expected = (1 - (rho / 1.345) ** 2).clamp(min=0) ** 2
    torch.testing.assert_close(profile(shape, 0 * rho, rho / 1.345), expected)


def test_detectability_is_the_quadratic_form_of_the_covariance() -> None:
    size = 32
    bank, acquisition = bank_of(get_finding("nodule"), size)
    noise = acquisition.noise_spectrum
    kernel = torch.fft.irfft2(noise, s=(size, size))
    at = torch.arange(size * size)
    rows, columns = at // size, at % size
    covariance = kernel[(rows[:, None] - rows) % size, (columns[:, None] - columns) % size]
    for corner in ((3, 5), (14, 11)):
        canvas = torch.zeros(len(bank.templates), size, size, dtype=torch.float64)
        extent = 2 * bank.margin + 1
        canvas[:, corner[0] : corner[0] + extent, corner[1] : corner[1] + extent] = bank.templates.double()
        b = canvas.flatten(1)
        direct = (b * torch.linalg.solve(covariance, b.T).T).sum(1)
        torch.testing.assert_close(direct, bank.energies, rtol=1e-6, atol=0)


def test_omega_keeps_clear_of_borders_and_is_never_empty() -> None:
    clearance = torch.zeros(3, 32, 32)
    clearance[0, 2:30, 2:30] = 9.0
    clearance[1, 16, 16] = 3.0
    omega = admissible(clearance, least=7.0, margin=6)
    inner = torch.zeros(32, 32, dtype=torch.bool)
    inner[6:26, 6:26] = True
    assert torch.equal(omega[0], inner)
    assert omega[1].nonzero().tolist() == [[16, 16]]
    assert torch.equal(omega[2], inner)


@pytest.mark.parametrize("pixels", [40, 3], ids=["candidates", "rank"])
def test_centres_are_uniform_over_omega(pixels: int) -> None:
    # 40 of 256 pixels: candidates always hit. 3 of 65 536: hardly ever, so the draw by rank decides.
    size, draws = (16, 20_000) if pixels == 40 else (256, 1_500)
    omega = torch.zeros(size, size, dtype=torch.bool)
    spread = torch.randperm(size * size, generator=torch.Generator().manual_seed(1))[:pixels]
    omega.view(-1)[spread] = True
    keys = stream_keys(2, "train", Stream.PLACEMENT, torch.arange(draws))
    row, column = draw_centre(omega.expand(draws, -1, -1), keys)
    counts = torch.bincount(row * size + column, minlength=size * size)
    assert int(counts[spread].sum()) == draws
    assert chi_squared_excess(counts[spread], torch.full((pixels,), 1 / pixels)) < 5


def chi_squared_excess(counts: Tensor, shares: Tensor) -> float:
    """How many standard deviations the chi-squared statistic lies above its mean."""
    expected = counts.sum() * shares
    freedom = len(counts) - 1
    return (float(((counts - expected) ** 2 / expected).sum()) - freedom) / math.sqrt(2 * freedom)


def test_templates_and_contrasts_have_their_shares() -> None:
    finding = replace(get_finding("opacity"), mild_probability=0.3, mild_contrasts=(0.2, 0.5))
    present = torch.arange(40_000) % 2 == 0
    template, contrast = draw_finding(
        stream_keys(2, "train", Stream.FINDING, torch.arange(40_000)), present, finding
    )
    assert chi_squared_excess(torch.bincount(template), torch.full((18,), 1 / 18)) < 5
    for drawn, values, shares in (
        (contrast[present], (0.8, 1.0, 1.25), (1 / 3, 1 / 3, 1 / 3)),
        (contrast[~present], (0.0, 0.2, 0.5), (0.7, 0.15, 0.15)),
    ):
        counts = torch.tensor([int((drawn == torch.tensor(value)).sum()) for value in values])
        assert int(counts.sum()) == len(drawn), "no other value"
        assert chi_squared_excess(counts, torch.tensor(shares)) < 5


def strength(contrast: str, **options: float) -> float:
    config = SyntheticDataConfig(
        finding="nodule", contrast=contrast, acquisition=AcquisitionConfig(**options)
    )
    finding = resolve_finding(config)
    bank, acquisition = bank_of(finding, 64, **options)
    flat = acquisition.expose(torch.full((1, 64, 64), 2.0))
    unit = Strength(config, finding, bank, acquisition)
    index = torch.tensor([1])
    m, primary = flat.noise_modulation[:, 32, 32], flat.primary_fraction[:, 32, 32]
    return float(unit.over_modulation(index, torch.ones(1), m, primary))


def test_physical_contrast_follows_beam_and_scatter() -> None:
    falling = [strength("physical", kvp=kvp) for kvp in (60, 80, 100, 120, 140)]
    assert falling == sorted(falling, reverse=True)
    assert strength("physical", scatter_weight=2.0) < strength("physical", scatter_weight=0.7)
    assert strength("physical", kerma=0.25) == pytest.approx(strength("physical"), rel=1e-5)
    expected = 0.5 * 0.73 * attenuation_per_mm(120)[0] * 2 * 7.5 / 1.7
    assert strength("physical") == pytest.approx(expected, rel=1e-3)


def test_iso_contrast_holds_detectability_at_any_dose() -> None:
    assert strength("iso", kerma=0.1) > strength("iso"), "less dose, more contrast for the same d0"
    for options in ({}, {"kerma": 0.1}, {"texture_rms": 0.08}):
        bank, _ = bank_of(get_finding("nodule"), 64, **options)
        assert strength("iso", **options) * math.sqrt(float(bank.energies[1])) == pytest.approx(4.5)


def test_a_finding_too_large_for_the_field_is_refused() -> None:
    config = SyntheticDataConfig(radii=[50], acquisition=AcquisitionConfig(field_of_view=300))
    with pytest.raises(InputError, match=r"^data\.radii=\[50\.0\]: the largest finding spans"):
        SyntheticRadiographs(config, split="train", seed=0)
