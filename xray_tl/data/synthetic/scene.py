"""Dataclasses for a batch of synthetic radiographs: patients, simulated exposure, and rendered images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xray_tl.data.synthetic.organs import Parameters
from xray_tl.data.synthetic.templates import Placement


@dataclass(frozen=True)
class Scene:
    """A batch of patients in front of the detector, without finding and noise.

    Attributes:
        log_exposure: g [B, H, W], Np.
        noise_modulation: m [B, H, W].
        primary_fraction: Unscattered share of the exposure [B, H, W].
        lung_clearance: Depth of a pixel within the unobscured lung [B, H, W], mm.
        parameters: Anatomy: name -> [B], in the units of `anatomy.POPULATION`.
    """

    log_exposure: Tensor
    noise_modulation: Tensor
    primary_fraction: Tensor
    lung_clearance: Tensor
    parameters: Parameters


@dataclass(frozen=True)
class Simulation:
    """A batch before display: what the ideal observer sees, and the truth.

    Attributes:
        log_exposure: y [B, H, W], Np, with noise and, if present, the finding.
        scene: The patients.
        placement: The finding; place and template are drawn even if there is none.
        present: H, whether the image is positive [B], bool.
    """

    log_exposure: Tensor
    scene: Scene
    placement: Placement
    present: Tensor


@dataclass(frozen=True)
class Radiographs:
    """A rendered batch of radiographs.

    Attributes:
        image: Grey images [B, 1, H, W], float32 in [0, 1]; bone is bright.
        label: Observed label [B], int64: presence after label flips.
        marked: Whether the image has a lead marker in its corner [B], bool.
        present: Whether the image is positive [B], bool.
        mask: Footprint of the finding [B, H, W], bool; empty if the image has none.
        centre: Row and column of the finding from the image centre [B, 2], mm. Centre, radius and template
            are drawn even if there is no finding.
        radius: Radius of the finding [B], mm.
        template: Index into the bank of templates [B].
        contrast: Contrast multiplier of the finding [B]; 0 if there is none.
        anatomy: Name -> [B], in the units of `anatomy.POPULATION`.
    """

    image: Tensor
    label: Tensor
    marked: Tensor
    present: Tensor
    mask: Tensor
    centre: Tensor
    radius: Tensor
    template: Tensor
    contrast: Tensor
    anatomy: Parameters
