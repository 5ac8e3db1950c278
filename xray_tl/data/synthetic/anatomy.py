"""Thorax of a random patient: from anatomical parameters in real units to the attenuation along each ray.

Coordinates are mm from the image centre, rows downwards; image left is the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from xray_tl.config import AnatomyConfig
from xray_tl.data.synthetic.organs import Frame, Lungs, Parameters, body_outline, hump, join, midline, step
from xray_tl.data.synthetic.rng import uniform


class Normal(NamedTuple):
    """Approximately normal distribution (sum of three uniforms), at most 3 SD from the mean."""

    mean: float
    sd: float


class Uniform(NamedTuple):
    """Uniform distribution between two values."""

    low: float
    high: float


# A parameter's position in this table selects its three random numbers: append, never insert.
POPULATION: dict[str, Normal | Uniform] = {
    "scale": Normal(1.0, 0.045),  # magnification of everything
    "shift_x": Normal(0, 5),  # mm
    "shift_y": Normal(4, 7),  # mm
    "tilt": Normal(0, 0.018),  # shear, mm/mm
    "yaw": Normal(0, 4),  # rotation about the long axis, as mm of midline shift
    "fat": Normal(1.0, 0.10),  # body thickness, 1 is average
    "breast": Uniform(0, 1),  # none below 0.45, full above 0.55
    "vertebra_pitch": Normal(25, 1.2),  # mm
    "vertebra_phase": Uniform(0, 1),
    "scoliosis": Normal(0, 3),  # mm
    "spine_half_width": Normal(19, 1.2),  # mm
    "trachea_half_width": Normal(8.5, 0.7),  # mm
    "chest_half_width": Normal(137, 7),  # mm
    "apex": Normal(-148, 6),  # row of the lung apices, mm
    "diaphragm": Normal(103, 10),  # row of the right dome, mm
    "diaphragm_asymmetry": Normal(0, 4),  # mm, beyond the usual 9 mm
    "heart_right": Normal(40, 4),  # mm from the midline
    "heart_left": Normal(82, 8),  # mm from the midline
    "heart_row": Normal(52, 7),  # mm
    "dome_centre": Normal(62, 5),  # mm from the midline
    "dome_curvature": Normal(1.0, 0.07),
    "lung_depth": Normal(154, 8),  # mm
    "rib_pitch": Normal(26.5, 1.0),  # mm
    "rib_phase": Uniform(0, 1),
    "rib_slope": Normal(0.20, 0.05),
    "clavicle_row": Normal(-106, 5),  # mm
    "clavicle_asymmetry": Normal(0, 3),  # mm
    "clavicle_slope": Normal(24, 4),  # mm per 100 mm
    "scapula": Normal(148, 5),  # mm from the midline
    "vessel_phase_0": Uniform(0, 1),
    "vessel_phase_1": Uniform(0, 1),
    "vessel_phase_2": Uniform(0, 1),
    "gas_row": Normal(150, 8),  # mm
    "gas_depth": Uniform(0, 62),  # mm
    "lung_density": Normal(0.27, 0.025),  # of soft tissue
}
POSE = ("scale", "shift_x", "shift_y", "tilt", "yaw")


@dataclass(frozen=True)
class Thorax:
    """Attenuation along the rays through a batch of patients, and the depth of each pixel in the lung.

    Attributes:
        path: Attenuation along each ray [B, H, W], Np.
        clearance: Depth of a pixel within the unobscured lung [B, H, W], mm: distance from mediastinum and
            diaphragm; 0 outside the lung and within `organs.WALL` of the chest wall.
    """

    path: Tensor
    clearance: Tensor


def draw_parameters(keys: Tensor, config: AnatomyConfig) -> Parameters:
    """Draw the anatomical parameters of a batch from its keys [B, 2]."""
    numbers = uniform(keys, 3 * len(POPULATION)).view(-1, len(POPULATION), 3)
    standard = (numbers[..., 0] + numbers[..., 1] + numbers[..., 2] - 1.5) * 2
    drawn = {}
    for i, (name, law) in enumerate(POPULATION.items()):
        if isinstance(law, Uniform):
            drawn[name] = numbers[:, i, 0] * (law.high - law.low) + law.low
        else:
            drawn[name] = standard[:, i] * (law.sd * (config.pose if name in POSE else 1.0)) + law.mean
    drawn["fat"] = drawn["fat"] * config.body_scale
    return drawn


class Anatomy:
    """Renderer of thoraces on a pixel grid of one size.

    Args:
        config: Scales of the population.
        size: Pixels per side.
        pitch: Pixel pitch, mm.
        device: Device to render on.
    """

    def __init__(self, config: AnatomyConfig, size: int, pitch: float, device: torch.device) -> None:
        self.config = config
        axis = (torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2) * pitch
        self._columns, self._rows = axis.view(1, 1, size), axis.view(1, size, 1)
        self._side = torch.tensor([0.0, 1.0], device=device).view(1, 2, 1, 1)

    def draw(self, parameters: Parameters, soft: float, bone: float) -> Thorax:
        """Return the total attenuation of all organs.

        Args:
            parameters: The patients.
            soft: Linear attenuation of soft tissue, 1/mm.
            bone: Linear attenuation of bone beyond that of the tissue that it displaces, 1/mm.
        """
        p = {name: value.view(-1, 1, 1) for name, value in parameters.items()}
        q = {name: value.view(-1, 1, 1, 1) for name, value in parameters.items()}
        frame = self.frame(p)
        body = body_outline(p, frame)
        spine, trachea = midline(p, frame)
        lungs = Lungs(q, frame)
        tissue = body - join(lungs.depth()) * (1 - p["lung_density"])
        tissue += join(lungs.vessels() * self.config.vessel_scale)
        tissue += self._breasts(p, frame)
        tissue -= trachea
        tissue -= self._gas(p, frame)
        skeleton = join(lungs.ribs() * self.config.rib_scale + lungs.shoulder()) + spine
        skeleton *= (body * (1 / 25)).clamp_(max=1)
        tissue.clamp_(min=0)  # at small body scales the lungs may be thicker than the body
        return Thorax(tissue.mul_(soft).add_(skeleton.mul_(bone)), join(lungs.clearance))

    def frame(self, p: Parameters) -> Frame:
        """Return the coordinates in the patients' frame, from parameters as columns [B, 1, 1]."""
        y = (self._rows - p["shift_y"]) / p["scale"]
        x = (self._columns - p["shift_x"] - p["tilt"] * self._rows) / p["scale"]
        half = x.shape[-1] // 2
        lateral = torch.stack((-x[..., :half], x[..., half:]), dim=1)
        return Frame(x, y, lateral, y.unsqueeze(1), self._side)

    def _breasts(self, p: Parameters, frame: Frame) -> Tensor:
        across = hump(self._columns.abs() - 88, 44)
        return step((p["breast"] - 0.45) / 0.1) * 36 * p["fat"] * p["fat"] * across * hump(frame.y - 62, 36)

    def _gas(self, p: Parameters, frame: Frame) -> Tensor:
        return hump(self._columns - 72, 26) * (hump(frame.y - p["gas_row"], 15) * p["gas_depth"])
