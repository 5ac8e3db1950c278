"""Beam, scatter, exposure control, detector and display of the synthetic radiograph.

All quantities are defined per mm, not per pixel: every image size shows the same patient. Only detector blur
and electronic noise are defined per pixel, as their options say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xray_tl.config import AcquisitionConfig
from xray_tl.data.synthetic.rng import normal

# Mass attenuation coefficients, cm^2/g: NIST XCOM / Hubbell & Seltzer 1995 (NISTIR 5632), liquid water and
# ICRU-44 cortical bone.
ENERGY_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0)
WATER = (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707)
CORTICAL_BONE = (1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855)
SOFT_TISSUE_DENSITY, RIB_DENSITY = 1.04, 1.35  # g/cm^3; ribs and vertebrae are mostly spongy

# Approximate: IEC 62220-1 states 30 174 /(mm^2 uGy) for its chest-like beam quality RQA 5.
PHOTONS_PER_MM2_UGY = 30_000.0

GRID = 32
"""Cells per side of the coarse grid for scatter, exposure and display (11.9 mm by default)."""


@dataclass(frozen=True)
class Exposure:
    """Exposure of the detector without the finding, per image.

    Attributes:
        log_exposure: g = -ln(exposure / reference) [B, H, W], Np; air is dark (low), bone bright (high).
        noise_modulation: m = (local exposure / reference)^-gamma [B, H, W].
        primary_fraction: Unscattered share of the exposure [B, H, W].
    """

    log_exposure: Tensor
    noise_modulation: Tensor
    primary_fraction: Tensor


def effective_energy(kvp: float) -> float:
    """Return the effective photon energy behind a patient, keV: a linear rule, 63 keV at 120 kVp."""
    return min(max(15 + 0.4 * kvp, ENERGY_KEV[0]), ENERGY_KEV[-1])


def interpolate_attenuation(table: tuple[float, ...], energy: float) -> float:
    """Return a mass attenuation coefficient, cm^2/g, between table rows: linear in log-log."""
    upper = next(i for i in range(1, len(ENERGY_KEV)) if energy <= ENERGY_KEV[i])
    low, high = ENERGY_KEV[upper - 1], ENERGY_KEV[upper]
    share = math.log(energy / low) / math.log(high / low)
    return math.exp((1 - share) * math.log(table[upper - 1]) + share * math.log(table[upper]))


def attenuation_per_mm(kvp: float) -> tuple[float, float]:
    """Return the linear attenuation of soft tissue and of rib bone, 1/mm."""
    energy = effective_energy(kvp)
    soft = interpolate_attenuation(WATER, energy) * SOFT_TISSUE_DENSITY / 10
    return soft, interpolate_attenuation(CORTICAL_BONE, energy) * RIB_DENSITY / 10


def texture_density(config: AcquisitionConfig, frequency_squared: Tensor) -> Tensor:
    """Return the power spectral density of the anatomical texture, Np^2 mm^2, at f^2 in 1/mm^2.

    It integrates to `texture_rms`^2 over the whole frequency plane, so it is the same function for every
    image size: larger pixels show the same coarse texture and less fine texture.
    """
    beta, corner = config.texture_beta, config.texture_f0
    scale = config.texture_rms**2 * (beta - 2) * corner ** (beta - 2) / (2 * math.pi)
    return scale * (frequency_squared + corner**2) ** (-beta / 2)


class Acquisition:
    """Model of beam and detector at one image size: converts path lengths to log exposure, and draws noise.

    Attributes:
        pitch: Pixel pitch, mm.
        soft: Linear attenuation of soft tissue, 1/mm.
        bone: Linear attenuation of bone beyond the soft tissue that it displaces, 1/mm.
        quanta: Detected quanta per pixel behind the lung.
        noise_spectrum: N [H, W // 2 + 1], float64, on the CPU: with e = IFFT(FFT(white) sqrt(N)), the mean of
            N over all modes is the variance of a pixel, Np^2. Never zero: if it were zero at zero frequency,
            the image mean would reveal the label.
    """

    def __init__(self, config: AcquisitionConfig, size: int, device: torch.device) -> None:
        self.config, self.size = config, size
        self.pitch = config.field_of_view / size
        self.soft, bone = attenuation_per_mm(config.kvp)
        self.bone = bone - 0.8 * self.soft
        self.quanta = config.kerma * PHOTONS_PER_MM2_UGY * config.dqe * self.pitch**2
        self._tap = config.mtf_sigma**2 / 2
        self.noise_spectrum = self._noise_spectrum()
        self._noise_amplitude = self.noise_spectrum.sqrt().float().to(device)

        cell = config.field_of_view / GRID
        centres = (torch.arange(GRID, dtype=torch.float64) - (GRID - 1) / 2) * cell
        pool = _pooling(size)
        up = _interpolation(size)
        scatter = _gaussian(centres, config.scatter_sigma) * math.sqrt(config.scatter_weight)
        row, column = ((-(((c) / w) ** 2)).exp() for c, w in ((centres + 5, 30), (centres.abs() - 78, 18)))
        chambers = row[:, None] * column[None]
        as_operator = {
            "pool": pool,
            "up": up,
            "scatter": scatter,
            "local": _gaussian(centres, 10.0),
            "display": _gaussian(centres, 20.0) @ pool,
            "chambers": chambers / chambers.sum(),
        }
        self._operators = {name: matrix.float().to(device) for name, matrix in as_operator.items()}

    def _noise_spectrum(self) -> Tensor:
        rows = torch.fft.fftfreq(self.size, dtype=torch.float64)
        columns = torch.fft.rfftfreq(self.size, dtype=torch.float64)
        frequency_squared = (rows[:, None] ** 2 + columns[None] ** 2) / self.pitch**2
        texture = texture_density(self.config, frequency_squared) / self.pitch**2
        return (1 / self.quanta + texture) * self.transfer() ** 2 + self.config.electronic_noise**2

    def transfer(self) -> Tensor:
        """Return the transfer function of the detector blur [H, W // 2 + 1], float64, on the CPU."""
        rows = torch.fft.fftfreq(self.size, dtype=torch.float64)
        columns = torch.fft.rfftfreq(self.size, dtype=torch.float64)
        tap = self._tap
        along_rows, along_columns = (1 - 2 * tap + 2 * tap * (2 * math.pi * f).cos() for f in (rows, columns))
        return along_rows[:, None] * along_columns[None]

    def blur(self, image: Tensor) -> Tensor:
        """Apply the detector blur to [B, H, W]: three taps along rows and columns, edges repeated."""
        tap = self._tap
        if tap == 0:
            return image
        for dim in (1, 2):
            last = image.shape[dim] - 1
            wide = image * (1 - 2 * tap)
            side = image * tap
            wide.narrow(dim, 0, last).add_(side.narrow(dim, 1, last))
            wide.narrow(dim, 1, last).add_(side.narrow(dim, 0, last))
            wide.narrow(dim, 0, 1).add_(side.narrow(dim, 0, 1))
            wide.narrow(dim, last, 1).add_(side.narrow(dim, last, 1))
            image = wide
        return image

    def expose(self, path: Tensor) -> Exposure:
        """Expose the detector: Beer-Lambert, scatter, exposure control, blur.

        Args:
            path: Attenuation along each ray [B, H, W], Np.
        """
        primary = path.neg().exp_()
        # Unattenuated air would dominate scatter and exposure control: a collimator removes it.
        pooled = self._apply("pool", primary.clamp(max=0.25))
        scattered = self._apply("scatter", pooled)
        total = pooled + scattered
        reference = (total * self._operators["chambers"]).sum((1, 2), keepdim=True)
        local = self._apply("local", total) / reference
        modulation = self._apply("up", local.clamp_(0.02, 4).pow_(-self.config.gamma))
        exposure = self.blur((primary / reference).add_(self._apply("up", scattered / reference)))
        return Exposure(exposure.log_().neg_(), modulation, self._apply("up", pooled / total))

    def noise(self, keys: Tensor) -> Tensor:
        """Draw stationary noise e [B, H, W], Np, with spectrum `noise_spectrum`.

        One image at a time, since FFT libraries choose their algorithm, and thus the rounding, by batch size.
        """
        size = (self.size, self.size)
        white = normal(keys, self.size**2).view(-1, *size)
        spectra = (torch.fft.rfft2(image).mul_(self._noise_amplitude) for image in white)
        return torch.stack([torch.fft.irfft2(spectrum, s=size) for spectrum in spectra])

    def display(self, log_exposure: Tensor) -> Tensor:
        """Convert log exposure [B, H, W], Np, to a grey image in [0, 1].

        60 % of the slow variation is removed (dynamic-range compression), then a sigmoid curve is applied.
        """
        slow = self._apply("up", self._apply("display", log_exposure))
        return log_exposure.sub(slow.mul_(0.6)).sub_(0.24).mul_(1 / 0.34).sigmoid_()

    def _apply(self, name: str, image: Tensor) -> Tensor:
        """Apply a one-dimensional operator along rows and columns of [B, H, W].

        It uses `bmm`, since `matmul` would compute one product whose rounding depends on the batch size.
        """
        operator = self._operators[name].expand(len(image), -1, -1)
        return torch.bmm(torch.bmm(operator, image), operator.transpose(1, 2))


def _pooling(size: int) -> Tensor:
    """Return the operator [GRID, size] that averages pixels over coarse cells, weighted by overlap."""
    edge = torch.arange(GRID, dtype=torch.float64)[:, None] * (size / GRID)
    pixel = torch.arange(size, dtype=torch.float64)[None]
    overlap = torch.minimum(edge + size / GRID, pixel + 1) - torch.maximum(edge, pixel)
    return overlap.clamp(min=0) * (GRID / size)


def _interpolation(size: int) -> Tensor:
    """Return the operator [size, GRID] that interpolates linearly between cell centres."""
    position = ((torch.arange(size, dtype=torch.float64) + 0.5) * (GRID / size) - 0.5).clamp(0, GRID - 1)
    return (1 - (position[:, None] - torch.arange(GRID, dtype=torch.float64)[None]).abs()).clamp(min=0)


def _gaussian(centres: Tensor, sigma: float) -> Tensor:
    """Return a Gaussian blur [GRID, GRID] with rows that sum to one; `sigma` in mm."""
    weights = (-0.5 * ((centres[:, None] - centres[None]) / sigma) ** 2).exp()
    return weights / weights.sum(dim=1, keepdim=True)
