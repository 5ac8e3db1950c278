"""Ideal observer: the exact likelihood ratio of a synthetic radiograph, given its anatomy.

With w = (y - g) / m an image is stationary noise plus, perhaps, alpha b(x - x0). A placement (template t,
centre x0, contrast kappa) has the log-likelihood ratio against the empty image

    l = alpha u_t(x0) - alpha^2 E_t / 2,      u_t = IFFT[FFT(w) conj(B_t) / N],      alpha = a / m(x0)

and the likelihood of either hypothesis is the mean of exp(l) over its possible placements: any template, any
centre in Omega, any of its contrasts. Anatomy is independent of the hypothesis, so no classifier of the
displayed image can have a better ROC than this ratio (Barrett & Myers 2004, chapter 13).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from xray_tl.data.synthetic.arithmetic import exact_arithmetic
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.data.synthetic.scene import Simulation

OBSERVER = 1
"""Version of the observer; raise it whenever a code change alters a likelihood ratio."""

SIMULATED_AT_ONCE = 8


class IdealObserver:
    """Scores the images of a split by their exact likelihood ratio.

    Args:
        source: The split. The observer works in float64, on the source's device.
    """

    def __init__(self, source: SyntheticRadiographs) -> None:
        if source.device.type == "mps":  # has no float64
            source = SyntheticRadiographs(source.config, split=source.split, seed=source.seed)
        self.source = source
        bank, device = source.bank, source.device
        spectrum = source.acquisition.noise_spectrum
        self._filters = (bank.spectra(source.config.image_size).conj() / spectrum).to(device)
        self._energies = bank.energies.to(device)
        finding = source.finding
        mild = finding.mild_contrasts if finding.mild_probability else ()
        self._contrasts = sorted({*finding.contrasts, *mild})

    @torch.no_grad()
    def log_likelihood_ratio(self, indices: Tensor) -> Tensor:
        """Return ln p(image | positive, anatomy) - ln p(image | negative, anatomy) [B], float64, on the CPU.

        Args:
            indices: Images [B], int64.
        """
        parts = []
        for part in torch.split(indices, SIMULATED_AT_ONCE):
            simulation = self.source.simulate(part)
            omega = self.source.omega(simulation.scene)
            parts += [self._score(simulation, omega, image) for image in range(len(part))]
        return torch.stack(parts).cpu()

    def _score(self, simulation: Simulation, omega: Tensor, image: int) -> Tensor:
        """Return the log-likelihood ratio of one image, float64."""
        by_contrast = dict(zip(self._contrasts, self._log_means(simulation, omega, image), strict=True))
        finding = self.source.finding
        positive = _log_mean([by_contrast[kappa] for kappa in finding.contrasts])
        if not finding.mild_probability:
            return positive
        mild = _log_mean([by_contrast[kappa] for kappa in finding.mild_contrasts])
        share = finding.mild_probability
        empty = torch.full_like(mild, math.log1p(-share) if share < 1 else -math.inf)
        return positive - torch.logaddexp(empty, mild + math.log(share))

    @exact_arithmetic()
    def _log_means(self, simulation: Simulation, omega: Tensor, image: int) -> list[Tensor]:
        """Return, for each contrast, ln of the mean of exp(l) over templates and centres."""
        scene, size = simulation.scene, self.source.config.image_size
        modulation = scene.noise_modulation[image].double()
        whitened = (simulation.log_exposure[image].double() - scene.log_exposure[image].double()) / modulation
        matched = torch.fft.irfft2(torch.fft.rfft2(whitened) * self._filters, s=(size, size))
        centres = omega[image].flatten().nonzero()[:, 0]
        response = matched.flatten(1)[:, centres]  # u [T, P]
        unit = self._unit_amplitude(scene.noise_modulation[image], scene.primary_fraction[image], centres)
        gain, loss = unit * response, unit**2 * (self._energies[:, None] / 2)
        return [
            torch.logsumexp(torch.sub(kappa * gain, loss, alpha=kappa**2).flatten(), 0)
            - math.log(response.numel())
            for kappa in self._contrasts
        ]

    def _unit_amplitude(self, modulation: Tensor, primary_fraction: Tensor, centres: Tensor) -> Tensor:
        """Return alpha at a contrast multiplier of 1: [T, P], or [T, 1] where it is the same everywhere."""
        at = centres if self.source.strength.physical else centres[:1]
        template = torch.arange(len(self._energies), device=at.device)[:, None]
        fields = (modulation, primary_fraction)
        m, primary = (field.flatten()[at].expand(len(template), -1) for field in fields)
        return self.source.strength.over_modulation(template, torch.ones_like(m), m, primary).double()


def _log_mean(values: list[Tensor]) -> Tensor:
    return torch.logsumexp(torch.stack(values), 0) - math.log(len(values))
