"""Synthetic chest radiographs: rendering of an image by index, with its label and everything known about it.

    y(x) = g(x) + a b(x - x0) m(x) / m(x0) + m(x) e(x),        image = display(y)

g is the anatomy's log exposure, e stationary noise, m its modulation, b the finding's template, a its
amplitude. H is whether the image is positive: then a > 0; else a = 0, or small if mild findings are allowed
in negative images. In this model the likelihood ratio of H, and with it the best possible classifier, can be
computed exactly: anatomy, exposure control and scatter do not depend on H, the noise is circulant, and the
finding never wraps around the border.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from xray_tl.config import AcquisitionConfig, AnatomyConfig, SyntheticDataConfig
from xray_tl.data.synthetic.acquisition import Acquisition
from xray_tl.data.synthetic.anatomy import Anatomy, draw_parameters
from xray_tl.data.synthetic.arithmetic import exact_arithmetic
from xray_tl.data.synthetic.findings import resolve_finding
from xray_tl.data.synthetic.generator_options import validate
from xray_tl.data.synthetic.marker import stamp
from xray_tl.data.synthetic.rng import SPLITS, Stream, stream_keys, uniform
from xray_tl.data.synthetic.scene import Radiographs, Scene, Simulation
from xray_tl.data.synthetic.templates import (
    EDGE,
    Placement,
    Strength,
    admissible,
    build_bank,
    draw_centre,
    draw_finding,
)
from xray_tl.errors import InputError

__all__ = ["GENERATOR", "Radiographs", "Scene", "Simulation", "SyntheticRadiographs", "validate"]

GENERATOR = 1
"""Version of the generator: increase it whenever a change alters an image or a label."""

CHUNK_PIXELS = 8 * 224**2
"""Number of pixels rendered at a time: it fits into the CPU's caches and limits memory."""


class SyntheticRadiographs:
    """The synthetic radiographs of a split, rendered by index in any order, bitwise the same on one device.

    Args:
        config: The data set; checked by `validate`.
        split: `train`, `val` or `test`; they share no random numbers.
        seed: Seed of the data set.
        device: Device to render on.

    Attributes:
        finding: The finding, with its values resolved from the configuration.
        acquisition: Beam and detector, with the noise spectrum.
        bank: The finding's templates, with their detectability.
        strength: Amplitude of the finding.
    """

    def __init__(
        self,
        config: SyntheticDataConfig,
        *,
        split: str,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        validate(config)
        if config.target_auroc is not None:
            raise ValueError("target_auroc is to be resolved into d0 first: observers.difficulty does it")
        if split not in SPLITS:
            raise InputError(f"split={split} is unknown: choose from {', '.join(SPLITS)}")
        self.config, self.split, self.seed, self.device = config, split, seed, torch.device(device)
        self.finding = resolve_finding(config)
        self.acquisition = Acquisition(config.acquisition, config.image_size, self.device)
        self._anatomy = Anatomy(config.anatomy, config.image_size, self.acquisition.pitch, self.device)
        self.bank = build_bank(self.finding, self.acquisition, self.device)
        self.strength = Strength(config, self.finding, self.bank, self.acquisition)

    @classmethod
    def open(
        cls, config: SyntheticDataConfig, split: str, device: torch.device | str = "cpu"
    ) -> SyntheticRadiographs:
        """Open a split with its seed: `train_seed` for training and validation images if it is set."""
        own = config.seed if split == "test" or config.train_seed is None else config.train_seed
        return cls(config, split=split, seed=own, device=device)

    names = None
    """The index of an image is its name."""

    def images(self, indices: Tensor) -> Tensor:
        """Render images [B, 1, H, W] in [0, 1]."""
        return self.render(indices).image

    def truth(self, indices: Tensor) -> Tensor:
        """Return the observed label of images [B, 1]."""
        return self.labels(indices)[1][:, None].float()

    def labels(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether the finding is present [B], bool, and the observed label [B], int64."""
        present = uniform(self._keys(Stream.PRESENCE, indices), 1)[:, 0] < self.config.prevalence
        number = uniform(self._keys(Stream.FLIP, indices), 1)[:, 0]
        flip = torch.where(present, number < self.finding.flip_positive, number < self.finding.flip_negative)
        return present, (present ^ flip).long()

    @property
    def marker_correlation(self) -> float | None:
        """Correlation of the marker with the observed label in this split; `None`: no marker."""
        return self.config.marker.test if self.split == "test" else self.config.marker.train

    def marked(self, indices: Tensor) -> Tensor:
        """Return which images have the marker in their corner [B], bool."""
        label = self.labels(indices)[1]
        if self.marker_correlation is None:
            return torch.zeros_like(label, dtype=torch.bool)
        number = uniform(self._keys(Stream.MARKER, indices), 1)[:, 0]
        return number < 0.5 * (1 + self.marker_correlation * (2 * label - 1))

    @exact_arithmetic()
    @torch.no_grad()
    def render(self, indices: Tensor) -> Radiographs:
        """Render images by index [B], int64."""
        chunk = max(1, CHUNK_PIXELS // self.config.image_size**2)
        parts = [self._render_chunk(part) for part in torch.split(indices, chunk)]
        joined: dict[str, Any] = {
            field.name: torch.cat([getattr(part, field.name) for part in parts])
            for field in fields(Radiographs)
            if field.name != "anatomy"
        }
        anatomy = {name: torch.cat([part.anatomy[name] for part in parts]) for name in parts[0].anatomy}
        return Radiographs(**joined, anatomy=anatomy)

    def _render_chunk(self, indices: Tensor) -> Radiographs:
        simulation = self.simulate(indices)
        placement = simulation.placement
        marked = self.marked(indices)
        size, pitch = self.config.image_size, self.acquisition.pitch
        position = torch.stack((placement.row, placement.column), dim=1).float()
        return Radiographs(
            image=stamp(self.acquisition.display(simulation.log_exposure), marked)[:, None],
            label=self.labels(indices)[1],
            marked=marked,
            present=simulation.present,
            mask=self._footprint(placement),
            centre=(position - (size - 1) / 2) * pitch,
            radius=self.bank.radii[placement.template],
            template=placement.template,
            contrast=placement.contrast,
            anatomy=simulation.scene.parameters,
        )

    @exact_arithmetic()
    @torch.no_grad()
    def simulate(self, indices: Tensor) -> Simulation:
        """Simulate images before display; memory grows with the batch, so pass few images at a time."""
        scene = self.scene(indices)
        present = self.labels(indices)[0]
        field = self.noise(indices)
        placement = self.add_finding(field, indices, scene, present)
        observed = field.mul_(scene.noise_modulation).add_(scene.log_exposure)
        return Simulation(observed, scene, placement, present)

    def noise(self, indices: Tensor) -> Tensor:
        """Draw the normalised noise e [B, H, W], Np."""
        return self.acquisition.noise(self._keys(Stream.NOISE, indices))

    def add_finding(self, field: Tensor, indices: Tensor, scene: Scene, present: Tensor) -> Placement:
        """Add each image's finding, if any, to the normalised images w = (y - g) / m [B, H, W], in place.

        Args:
            field: w [B, H, W], Np.
            indices: Images [B], int64.
            scene: Their anatomy.
            present: Which of them are positive [B], bool.
        """
        placement = self.placement(indices, scene, present)
        image = torch.arange(len(field), device=self.device)
        centre = (image, placement.row, placement.column)
        amplitude = self.strength.over_modulation(
            placement.template,
            placement.contrast,
            scene.noise_modulation[centre],
            scene.primary_fraction[centre],
        )
        field[self._patch(placement)] += amplitude[:, None, None] * self.bank.templates[placement.template]
        return placement

    @exact_arithmetic()
    @torch.no_grad()
    def scene(self, indices: Tensor) -> Scene:
        """Draw the patients and simulate their exposure, without finding and noise."""
        parameters = draw_parameters(self._keys(Stream.ANATOMY, indices), self.config.anatomy)
        thorax = self._anatomy.draw(parameters, self.acquisition.soft, self.acquisition.bone)
        exposure = self.acquisition.expose(thorax.path)
        return Scene(
            log_exposure=exposure.log_exposure,
            noise_modulation=exposure.noise_modulation,
            primary_fraction=exposure.primary_fraction,
            lung_clearance=thorax.clearance,
            parameters=parameters,
        )

    def omega(self, scene: Scene) -> Tensor:
        """Return the set Omega of possible centres of the finding [B, H, W], bool."""
        return admissible(scene.lung_clearance, self.finding.clearance, self.bank.margin)

    def placement(self, indices: Tensor, scene: Scene, present: Tensor) -> Placement:
        """Draw place, template and contrast of the finding that each image has, or would have."""
        row, column = draw_centre(self.omega(scene), self._keys(Stream.PLACEMENT, indices))
        template, contrast = draw_finding(self._keys(Stream.FINDING, indices), present, self.finding)
        return Placement(row, column, template, contrast)

    def mixed(self, size: int) -> list[int]:
        """Return the indices in order: classes are mixed, since each image's label is drawn independently."""
        return list(range(size))

    def identity(self) -> dict[str, Any]:
        """Return everything that changes an image or a label, as plain values for a hash.

        The device is left out. Images rendered on another kind of device differ in the last bits, so a cache
        of pixels adds the device to its key.
        """
        finding = asdict(self.finding)
        finding["d0" if self.config.contrast == "physical" else "attenuation"] = None  # not used
        if not self.finding.mild_probability:
            finding["mild_contrasts"] = None
        acquisition, anatomy = self.config.acquisition, self.config.anatomy
        identity = {
            "generator": GENERATOR,
            "split": self.split,
            "seed": self.seed,
            "image_size": self.config.image_size,
            "prevalence": float(self.config.prevalence),
            "contrast": self.config.contrast,
            "finding": finding,
            "acquisition": {f.name: float(getattr(acquisition, f.name)) for f in fields(AcquisitionConfig)},
            "marker": self.marker_correlation,
            "anatomy": {f.name: float(getattr(anatomy, f.name)) for f in fields(AnatomyConfig)},
        }
        # converted through JSON, to equal a copy read from a file: tuples become lists
        plain: dict[str, Any] = json.loads(json.dumps(identity))
        return plain

    def _keys(self, stream: Stream, indices: Tensor) -> Tensor:
        return stream_keys(self.seed, self.split, stream, indices).to(self.device)

    def _patch(self, placement: Placement) -> tuple[Tensor, Tensor, Tensor]:
        """Return indices (image, row, column) of the pixels that each template covers."""
        margin = self.bank.margin
        offset = torch.arange(-margin, margin + 1, device=self.device)
        image = torch.arange(len(placement.row), device=self.device)[:, None, None]
        rows = (placement.row[:, None] + offset)[:, :, None]
        return image, rows, (placement.column[:, None] + offset)[:, None, :]

    def _footprint(self, placement: Placement) -> Tensor:
        size, there = self.config.image_size, placement.contrast > 0
        mask = torch.zeros(len(there), size, size, dtype=torch.bool, device=self.device)
        templates = self.bank.templates[placement.template]
        above = templates > EDGE * templates.amax((1, 2), keepdim=True)
        mask[self._patch(placement)] = above & there[:, None, None]
        return mask
