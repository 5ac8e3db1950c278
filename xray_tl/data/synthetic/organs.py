"""Path lengths (mm) through the organs of the thorax, as closed-form functions of position.

Images must be bitwise the same in any batch. Therefore only sums, products and quotients are used on [B]
tensors, since a transcendental function rounds differently in vector code and in the scalar code for the last
elements; all other tensors have a multiple of 16 elements per image. Square roots of zero and exponentials
that underflow are avoided: they are 7 and 20 times slower on some CPUs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
"""Anatomy of a batch: name -> [B], in the units of `anatomy.POPULATION`; functions of organs take them as
columns that broadcast over pixels."""

WALL = 24.0
"""Width, mm, of the strip along the chest wall where ribs run along the ray and the lung is thin."""


@dataclass(frozen=True)
class Frame:
    """Coordinates of a batch in the patient's own frame, mm.

    The two image halves are stacked, and one formula draws both lungs: index 0 is image left. The seam
    between them is hidden by the mediastinum.

    Attributes:
        x: Distance from the midline, to the right [B, H, W].
        y: Distance downwards [B, H, 1].
        lateral: Distance from the midline, outwards [B, 2, H, W / 2].
        row: `y` as [B, 1, H, 1].
        side: 0 on image left, 1 on image right [1, 2, 1, 1].
    """

    x: Tensor
    y: Tensor
    lateral: Tensor
    row: Tensor
    side: Tensor


def body_outline(p: Parameters, frame: Frame) -> Tensor:
    """Return the thickness of the body [B, H, W], mm: elliptic sections of neck, shoulders and trunk."""
    y, fat = frame.y, p["fat"]
    neck = 60 * fat
    half_width = neck + (245 - neck) * step((y + 196) / 58)
    trunk = p["chest_half_width"] + 34 * fat
    half_width = half_width - (245 - trunk) * step((y + 115) / 110) + 6 * step((y - 60) / 120)
    depth = 125 + (212 * fat - 125) * step((y + 175) / 120) + 18 * step((y - 90) / 60)
    return _chord(frame.x / half_width) * depth


def midline(p: Parameters, frame: Frame) -> tuple[Tensor, Tensor]:
    """Return the thickness of the spine and of the trachea, each [B, H, W], mm."""
    y = frame.y
    turns = y / p["vertebra_pitch"] + p["vertebra_phase"]
    bend = p["scoliosis"] * torch.sin(math.pi * ((y + 200) / 200 + 0.2)) + 0.15 * p["yaw"]
    x = frame.x - bend
    disc = 0.66 + 0.34 * step(2.6 * (torch.cos(2 * math.pi * turns) + 0.72))
    spine = _chord(x / p["spine_half_width"]) * (22 * disc * step((y + 215) / 40))
    process = 9 * step(3 * torch.cos(2 * math.pi * (turns + 0.35)) - 1.2)
    spine += (1 - (x * 0.2).square_()).clamp_(min=0).mul_(process)
    trachea = _chord((x - (0.4 * p["yaw"] + 2)) / p["trachea_half_width"])
    return spine, trachea * (34 * step((y + 205) / 10) * step((-34 - y) / 14))


class Lungs:
    """Both lungs, with their vessels, the ribs and the shoulders, on stacked image halves [B, 2, H, W / 2].

    Attributes:
        clearance: See `anatomy.Thorax.clearance`.
    """

    def __init__(self, q: Parameters, frame: Frame) -> None:
        self._q, self._u, self._v, self._side = q, frame.lateral, frame.row, frame.side
        u, v, side = self._u, self._v, self._side
        self._base = q["diaphragm"] + side * 9 + q["diaphragm_asymmetry"] * (side - 0.5)
        self._wall = self._chest_wall()
        self._hilum = hump(v + 8 - 6 * side, 24)
        self._mediastinum = self._mediastinal_border()
        dome = ((u - q["dome_centre"]) * q["dome_curvature"]).square_().mul_(1 / 260)
        self._above = (dome + self._base).sub_(v)  # mm above the diaphragm
        self._from_wall = self._wall - u
        self._lateral = (self._from_wall * (1 / 46)).clamp_(1e-4, 1).sqrt_()
        self._medial = ((u - self._mediastinum) * (1 / 9)).clamp_(0, 1)
        inside = torch.minimum(u - self._mediastinum, self._above).clamp_(min=0)
        self.clearance = inside.mul_(self._from_wall > WALL)

    def _chest_wall(self) -> Tensor:
        """Return the distance of the lateral lung border from the midline [B, 2, H, 1], mm."""
        q, v, side = self._q, self._v, self._side
        half_width = q["chest_half_width"] + (2 * side - 1) * q["yaw"] * 0.6
        down = ((v - q["apex"]) / (self._base + 60 - q["apex"])).clamp(0, 1)
        # (1 - (1 - t)^2.3)^0.52, powers by exp and log to round alike at any length
        rise = (-((1 - down).clamp(min=1e-6).log() * 2.3).exp() + 1).clamp(min=1e-6)
        return 38 + (half_width - 38) * (rise.log() * 0.52).exp() - 7 * step((v - 60) / 90)

    def _mediastinal_border(self) -> Tensor:
        """Return the distance of the border of heart and great vessels from the midline [B, 2, H, 1], mm."""
        q, v, side = self._q, self._v, self._side
        vessels = 21 + 5 * step((v + 95) / 60) + (1 - side) * 5 * hump(v + 48, 40)
        vessels = vessels + side * (13 * hump(v + 62, 17) + 7 * hump(v + 32, 17))
        below = v - q["heart_row"]
        right = (q["heart_right"] - 24) * hump(below - 4, 44)
        left = (q["heart_left"] - 27) * hump(below - 10, 62) / (1 + (-(below + 30) / 12).exp())
        heart = (1 - side) * right + side * left
        return vessels + 11 * self._hilum * 0.6 + heart + (2 * side - 1) * q["yaw"]

    def depth(self) -> Tensor:
        """Return the lungs' thickness, mm; part of it lies behind heart and diaphragm."""
        q, u, v = self._q, self._u, self._v
        behind_heart = 0.26 * step((v - 5) / 40) + 0.12
        medial = self._medial * (1 - behind_heart)
        medial += ((u - 17) * (1 / 14)).clamp_(0, 1).mul_(behind_heart)
        above = (self._above * (1 / 7)).clamp_(0, 1).mul_(0.80)
        above += ((self._above + 34) * (1 / 30)).clamp_(0, 1).mul_(0.20)
        depth = q["lung_depth"] * (0.7 + 0.3 * q["fat"]) * (0.40 + 0.60 * step((v - q["apex"]) / 90))
        depth = depth * (1 - 0.12 * step((v - 20) / 120)) * step((v - q["apex"] + 8) / 16)
        return medial.mul_(above).mul_(self._lateral).mul_(depth)

    def ribs(self) -> Tensor:
        """Return the thickness of the ribs, mm: one periodic function for posterior, one for anterior."""
        q, u, v = self._q, self._u, self._v
        arc = u * 0.01
        cage = ((self._from_wall + 5) * 0.2).clamp_(0, 1)
        # near the wall a ray runs along the rib
        tangential = 2.3 - (self._from_wall * (1 / 20)).clamp_(0, 1) * 1.3
        slope = q["rib_slope"]
        turns = (v - arc * (14 - 60 * slope) - arc * arc * (21 * (1 + slope))) / q["rib_pitch"]
        posterior = _rib(turns + q["rib_phase"], q["rib_pitch"] / 6.8)
        posterior *= ((u - 12) * (1 / 14)).clamp_(0, 1)
        posterior *= tangential
        posterior *= 8.2 * step((v + 165) / 20) * step((150 - v) / 30)
        pitch = q["rib_pitch"] * 1.12
        turns = (v + arc * 44 + arc * arc * 8) / pitch
        anterior = _rib(turns + (q["rib_phase"] * 1.7 + 0.3), pitch / 7.6)
        anterior *= ((u - 62) * (1 / 40)).clamp_(0, 1)
        anterior *= 4.6 * step((v + 105) / 30) * step((110 - v) / 30)
        return posterior.add_(anterior).mul_(cage)

    def shoulder(self) -> Tensor:
        """Return the thickness of clavicles and scapulae, mm."""
        q, u, v = self._q, self._u, self._v
        arc = u * 0.01
        bow = arc - 0.75
        row = q["clavicle_row"] + self._side * q["clavicle_asymmetry"] - arc * q["clavicle_slope"]
        row = row - 27.3 * bow * (bow * bow - 0.5625)
        clavicle = _tube((v - row) / (5.6 + 1.2 * arc))
        clavicle *= ((u - 8) * (1 / 8)).clamp_(0, 1)
        clavicle *= ((178 - u) * (1 / 10)).clamp_(0, 1)
        across, down = u - q["scapula"] - v * 0.22, (v + 62) / 62
        blade = step(3.0 - (across * (1 / 19.05)).square_() - 3.0 * down * down)
        return clavicle.mul_(13).add_(blade.mul_(4))

    def vessels(self) -> Tensor:
        """Return the thickness of the pulmonary vessels, mm: a star of tapering branches at each hilum."""
        u, v, side = self._u, self._v, self._side
        right, down = u - 33 - 5.5 * self._hilum, v - 2 - 5 * side
        distance = (right * right + down * down).clamp_(min=1e-4).sqrt_()
        angle = torch.atan2(down.expand_as(right), right)
        total = _compact((u - 28) * (1 / 34)).mul_(16 * hump(v + 2 - 5 * side, 26))
        phases = [self._q[f"vessel_phase_{i}"] for i in range(3)]
        for i, (branches, bending, wave, width) in enumerate(_VESSEL_ORDERS):
            bend = _sine(distance * (1 / (2 * math.pi * wave)) + (phases[i - 1] + 0.16 * i)).mul_(bending)
            turns = angle * (branches * 0.8 / math.pi) + (phases[i] * 5 + side * 2.3) + bend
            branch = turns.round()
            offset = (turns - branch).abs_().mul_(distance).mul_(math.pi / 0.8 / branches)
            taper = (1 - distance * (1 / 118)).clamp_(min=0.16).mul_(width)
            length = (branch.mul_(0.6180339) + phases[i] * 7.3).frac_().abs_().mul_(0.0115).add_(0.0105)
            gate = (1.35 - length.mul_(distance)).clamp_(0, 1)
            total += _chord(offset / taper).mul_(taper).mul_(gate).mul_(2.1)
        return total.mul_(self._lateral).mul_(self._medial * 0.75 + 0.25)


# branches per turn, amplitude of their bending (turns), its wavelength (mm / 2 pi), width at the hilum (mm)
_VESSEL_ORDERS = ((7, 0.42, 47.0, 4.6), (12, 0.55, 30.0, 3.0), (19, 0.6, 21.0, 2.0))


def join(halves: Tensor) -> Tensor:
    """Join stacked image halves [B, 2, H, W / 2] side by side to [B, H, W]."""
    return torch.cat((halves[:, 0], halves[:, 1]), dim=-1)


def step(t: Tensor) -> Tensor:
    """Return a smooth step that rises from 0 at t <= 0 to 1 at t >= 1."""
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _chord(t: Tensor) -> Tensor:
    """Return the relative chord of an ellipse at distance t from its axis, 0.01 outside."""
    return (1 - t * t).clamp_(min=1e-4).sqrt_()


def hump(distance: Tensor, width: float) -> Tensor:
    """Return a Gaussian bump, limited to values that do not underflow."""
    return (-(distance / width).square_().clamp_(max=30)).exp_()


def _compact(t: Tensor) -> Tensor:
    """Return a bump that is zero beyond |t| = 1."""
    return (1 - t * t).clamp_(min=0).square_()


def _sine(t: Tensor) -> Tensor:
    """Return a parabolic approximation of a sine of period 1: faster, and the same on every machine."""
    t = t - t.round()
    return (8 - t.abs() * 16).mul_(t)


def _tube(t: Tensor) -> Tensor:
    """Return the relative thickness of a long bone at distance t from its axis: flat, with a steep cortex."""
    chord = _chord(t)
    return (1.45 - chord * 0.45).mul_(chord)


def _rib(turns: Tensor, sharpness: Tensor) -> Tensor:
    """Return the relative thickness of ribs, one rib per turn."""
    return _tube((turns - turns.round()).mul_(sharpness))
