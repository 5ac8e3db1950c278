"""Templates of the finding in pixels, the places where it may be, and its amplitude."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.acquisition import Acquisition
from xray_tl.data.synthetic.findings import Finding, Shape
from xray_tl.data.synthetic.rng import uniform
from xray_tl.errors import InputError

EDGE = 0.2
"""The edge of a finding is where its template falls to this share of its maximum."""

LARGEST_REACH = 0.27
"""Largest extent of a finding from its centre, as a share of the field of view: a larger finding, kept away
from the border, would have too little lung for its centre."""

CANDIDATES = 160
TISSUE_OVER_LUNG = 0.73
"""Attenuation of tissue minus that of the aerated lung (density 0.27) it displaces, relative to tissue."""


@dataclass(frozen=True)
class TemplateBank:
    """The finding's templates: every shape at every radius, sampled on one pixel grid.

    Attributes:
        templates: b [T, 2 R + 1, 2 R + 1], blurred by the detector; before blurring the peak is 1.
        radii: Radius of each template [T], mm.
        margin: R, pixels: least distance of centres from the border. No template then wraps around, and all
            positions are equally detectable.
        energies: E = b' K^-1 b [T], float64, on the CPU: squared detectability at unit contrast.
    """

    templates: Tensor
    radii: Tensor
    margin: int
    energies: Tensor

    def spectra(self, size: int) -> Tensor:
        """Return the templates' transforms [T, size, size // 2 + 1], centred on pixel (0, 0), on the CPU."""
        canvas = torch.zeros(len(self.templates), size, size, dtype=torch.float64)
        extent = 2 * self.margin + 1
        canvas[:, :extent, :extent] = self.templates.double().cpu()
        return torch.fft.rfft2(torch.roll(canvas, (-self.margin, -self.margin), (1, 2)))


@dataclass(frozen=True)
class Placement:
    """Place, template and contrast of the finding that an image has, or would have; drawn for every image.

    Attributes:
        row: Centre [B], pixel index.
        column: Centre [B], pixel index.
        template: Index into the bank [B].
        contrast: Contrast multiplier of the finding [B]; 0 if the image has none.
    """

    row: Tensor
    column: Tensor
    template: Tensor
    contrast: Tensor


def profile(shape: Shape, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the union of a shape's bumps, `1 - prod(1 - bump)`, in the shape's own units."""
    rest = torch.ones_like(rows * columns)
    for bump in shape:
        distance_squared = ((rows - bump.row) ** 2 + (columns - bump.column) ** 2) / bump.radius**2
        rest = rest * (1 - bump.weight * (1 - distance_squared).clamp(min=0) ** 2)
    return 1 - rest


@functools.cache
def normalise(shape: Shape) -> tuple[float, float, float]:
    """Return a shape's peak, the scale that gives it unit radius, and its extent at that scale.

    Unit radius: the part above `EDGE` of the peak has the area pi.
    """
    reach = max(math.hypot(bump.row, bump.column) + bump.radius for bump in shape)
    axis = ((torch.arange(400, dtype=torch.float64) + 0.5) / 200 - 1) * reach
    values = profile(shape, axis[:, None], axis[None])
    peak = float(values.max())
    area = float((values > EDGE * peak).double().mean()) * (2 * reach) ** 2
    scale = math.sqrt(math.pi / area)
    return peak, scale, reach * scale


def build_bank(finding: Finding, acquisition: Acquisition, device: torch.device) -> TemplateBank:
    """Sample a finding's templates, averaged over each pixel and blurred by the detector."""
    pitch, size = acquisition.pitch, acquisition.size
    normalised = [normalise(shape) for shape in finding.shapes]
    reach = max(extent for _, _, extent in normalised) * max(finding.radii)
    if reach > LARGEST_REACH * acquisition.config.field_of_view:
        raise InputError(
            f"data.radii={list(finding.radii)}: the largest finding spans {2 * reach:.0f} mm, too much for "
            f"data.acquisition.field_of_view={acquisition.config.field_of_view:g} mm"
        )
    margin = math.ceil(reach / pitch + 0.5) + 1  # half a pixel of averaging, one of blur
    inner = 5  # samples a side within a pixel
    axis = (torch.arange((2 * margin + 1) * inner, dtype=torch.float64) + 0.5) / inner - margin - 0.5
    templates = []
    for shape, (peak, scale, _) in zip(finding.shapes, normalised, strict=True):
        for radius in finding.radii:
            position = axis * (pitch / (radius * scale))
            fine = profile(shape, position[:, None], position[None]) / peak
            pixels = fine.view(2 * margin + 1, inner, 2 * margin + 1, inner).mean((1, 3))
            templates.append(acquisition.blur(pixels[None])[0])
    stack = torch.stack(templates)
    radii = torch.tensor(finding.radii, dtype=torch.float32).repeat(len(finding.shapes))
    bank = TemplateBank(stack, radii, margin, torch.empty(0))
    energies = detectability(bank.spectra(size), acquisition.noise_spectrum)
    return TemplateBank(stack.float().to(device), radii.to(device), margin, energies)


def detectability(spectra: Tensor, noise_spectrum: Tensor) -> Tensor:
    """Return E = (1 / n^2) sum |B|^2 / N [T] from half-plane spectra [T, n, n // 2 + 1]."""
    size = spectra.shape[1]
    multiplicity = torch.full((spectra.shape[2],), 2.0, dtype=torch.float64)
    multiplicity[0] = multiplicity[-1] = 1.0  # zero frequency and Nyquist have no mirror image
    return (spectra.abs() ** 2 / noise_spectrum * multiplicity).sum((1, 2)) / size**2


def admissible(clearance: Tensor, least: float, margin: int) -> Tensor:
    """Return the set Omega [B, H, W] of possible centres, bool; never empty.

    Args:
        clearance: Depth of a pixel within the unobscured lung [B, H, W], mm.
        least: Least clearance that the finding needs, mm. An image without such a pixel uses the pixels with
            the largest clearance.
        margin: Least distance of the centre from the border, pixels.
    """
    size = clearance.shape[-1]
    inner = clearance[:, margin : size - margin, margin : size - margin]
    threshold = inner.amax((1, 2), keepdim=True).clamp_(max=least)
    omega = torch.zeros(clearance.shape, dtype=torch.bool, device=clearance.device)
    omega[:, margin : size - margin, margin : size - margin] = inner >= threshold
    return omega


def draw_centre(omega: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Draw the centre uniformly over Omega: row [B] and column [B].

    Candidates are uniform over the field of view, and the first inside Omega is taken: this is exactly
    uniform over Omega, and gives the same place (to a pixel) at every image size. If no candidate is inside,
    a pixel of Omega is drawn by its rank, which is exactly uniform too.
    """
    batch, size = omega.shape[:2]
    numbers = uniform(keys, 2 * CANDIDATES + 1)
    cells = (numbers[:, : 2 * CANDIDATES] * size).long().view(batch, 2, CANDIDATES)
    image = torch.arange(batch, device=omega.device)
    accepted = omega[image[:, None], cells[:, 0], cells[:, 1]]
    first = accepted.int().argmax(1)
    row, column = cells[image, 0, first], cells[image, 1, first]
    for lost in (~accepted.any(1)).nonzero().flatten().tolist():
        pixels = omega[lost].nonzero()
        row[lost], column[lost] = pixels[int(float(numbers[lost, -1]) * len(pixels))]
    return row, column


def draw_finding(keys: Tensor, present: Tensor, finding: Finding) -> tuple[Tensor, Tensor]:
    """Draw the template [B] and the contrast multiplier [B] of the finding in each image.

    Args:
        keys: Keys of the stream `FINDING` [B, 2].
        present: Whether the image is positive [B], bool: its contrast is one of `contrasts`. A negative image
            has contrast 0 or, with `mild_probability`, one of `mild_contrasts`.
        finding: The finding, with its values resolved.
    """
    numbers = uniform(keys, 3)

    def pick(values: tuple[float, ...]) -> Tensor:
        choices = torch.tensor(values, device=keys.device)
        return choices[(numbers[:, 1] * len(choices)).long()]

    mild = torch.where(numbers[:, 2] < finding.mild_probability, pick(finding.mild_contrasts), 0.0)
    template = (numbers[:, 0] * len(finding.shapes) * len(finding.radii)).long()
    return template, torch.where(present, pick(finding.contrasts), mild)


class Strength:
    """Amplitude of the finding divided by the noise modulation, a / m.

    `iso`: kappa d0 / sqrt(E), the same at every place and dose. `physical`: kappa s dmu 2 r f / m, with s the
    finding's attenuation, dmu the attenuation of tissue minus that of aerated lung, f the primary fraction;
    kappa is the contrast multiplier, r the radius.

    Args:
        config: The data set.
        finding: The finding, with its values resolved.
        bank: Its templates.
        acquisition: Beam and detector.
    """

    def __init__(
        self, config: SyntheticDataConfig, finding: Finding, bank: TemplateBank, acquisition: Acquisition
    ) -> None:
        self.physical = config.contrast == "physical"
        if self.physical:
            path = bank.radii.cpu().double() * (2 * finding.attenuation * TISSUE_OVER_LUNG * acquisition.soft)
        else:
            path = finding.d0 / bank.energies.sqrt()
        self._unit = path.float().to(bank.templates.device)

    def over_modulation(
        self, template: Tensor, contrast: Tensor, modulation: Tensor, primary_fraction: Tensor
    ) -> Tensor:
        """Return a / m, with the shape of `modulation`.

        Args:
            template: Index into the bank, broadcastable.
            contrast: Contrast multiplier, broadcastable.
            modulation: m at the centre, or as a map.
            primary_fraction: 1 - scatter fraction, likewise.
        """
        unit = contrast * self._unit[template]
        return unit * primary_fraction / modulation if self.physical else unit.expand_as(modulation)
