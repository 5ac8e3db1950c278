"""The source task: radiographs for pretraining, with several findings at once under varied acquisition.

None of its findings is that of a target task, and no target task may use its data seeds. A network predicts
which findings an image has, the patient's anatomy, and the parameters of the acquisition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xray_tl.config import AcquisitionConfig, SyntheticDataConfig
from xray_tl.data.synthetic.anatomy import POPULATION, Normal
from xray_tl.data.synthetic.arithmetic import exact_arithmetic
from xray_tl.data.synthetic.generator_options import RESERVED_SEEDS
from xray_tl.data.synthetic.radiograph import CHUNK_PIXELS, SyntheticRadiographs
from xray_tl.data.synthetic.rng import Stream, stream_keys, uniform

SOURCE = 1
"""Version of the task: increase it whenever a change alters an image or its targets."""

FINDINGS = ("cavity", "cluster", "mass", "streak")
D0 = 60.0
"""Detectability at a known location: so high that thousands of images are enough for learning."""

ACQUISITIONS = tuple(
    AcquisitionConfig(kvp=kvp, kerma=kerma, scatter_weight=scatter, texture_rms=texture)
    for kvp, kerma, scatter, texture in (
        (120.0, 2.5, 0.7, 0.045),
        (120.0, 0.6, 0.5, 0.030),
        (120.0, 10.0, 1.5, 0.060),
        (90.0, 2.5, 0.5, 0.060),
        (90.0, 0.6, 1.5, 0.045),
        (90.0, 10.0, 0.7, 0.030),
        (70.0, 5.0, 0.7, 0.060),
        (140.0, 5.0, 0.5, 0.030),
    )
)
"""The acquisition of patient p is number p modulo the length of this list."""

_OFF_CENTRE = 0.6
"""Width of the range of a finding's place about the middle of its window, in sides of the window."""

_NORMAL = {name: law for name, law in POPULATION.items() if isinstance(law, Normal)}
PARAMETERS = (*_NORMAL, "kvp", "log kerma", "scatter weight", "texture")


@dataclass(frozen=True)
class SourceImages:
    """A rendered batch of the source task.

    Attributes:
        image: Grey images [B, 1, H, W], float32 in [0, 1].
        findings: Which of `FINDINGS` have their centre in each image [B, F], 0 or 1.
        parameters: `PARAMETERS` of patient and acquisition [B, R], with about zero mean and unit variance.
    """

    image: Tensor
    findings: Tensor
    parameters: Tensor


class SourceTask:
    """The images of the source task, rendered by index.

    Images 2 p and 2 p + 1 show the same patient with the same noise: the first with the findings drawn for
    the patient, the second with all the other findings. In a batch with both, findings can be distinguished
    from anatomy and noise.

    In a window, objects have the size in pixels that they have on a film of the full size, at the cost of a
    small image. Four in five windows lie around the place of a finding, the others anywhere.

    Args:
        image_size: Side of a film, pixels.
        device: Device to render on.
        window: Side of the part of each film that an image shows, pixels; `None`: all of it.
    """

    def __init__(
        self, image_size: int, device: torch.device | str = "cpu", window: int | None = None
    ) -> None:
        self._window = window or image_size
        base = SyntheticDataConfig(finding=FINDINGS[0], image_size=image_size, d0=D0)
        seeds = RESERVED_SEEDS[1:]
        # Each finding has its own seed: presence and place are independent between findings.
        self._films = [
            [
                SyntheticRadiographs(
                    replace(base, finding=name, acquisition=acquisition),
                    split="train",
                    seed=seed,
                    device=device,
                )
                for name, seed in zip(FINDINGS, seeds, strict=False)
            ]
            for acquisition in ACQUISITIONS
        ]
        self._taken = _standardise(
            torch.tensor([[a.kvp, a.kerma, a.scatter_weight, a.texture_rms] for a in ACQUISITIONS])
        )

    @exact_arithmetic()
    @torch.no_grad()
    def render(self, indices: Tensor) -> SourceImages:
        """Render images by index [B], int64, in the order given."""
        size = self._films[0][0].config.image_size
        step = max(1, CHUNK_PIXELS // size**2)
        film_of = indices // 2 % len(self._films)
        groups = [
            (film, part)
            for film in range(len(self._films))
            for part in torch.split((film_of == film).nonzero()[:, 0], step)
            if len(part)
        ]
        back = torch.argsort(torch.cat([part for _, part in groups]))
        parts = [self._film(film, indices[part]) for film, part in groups]
        columns = zip(*((part.image, part.findings, part.parameters) for part in parts), strict=True)
        return SourceImages(*(torch.cat(column)[back] for column in columns))

    def _film(self, film: int, indices: Tensor) -> SourceImages:
        patients, others = indices // 2, indices % 2 == 1
        layers = self._films[film]
        first = layers[0]
        scene = first.scene(patients)
        field = first.noise(patients)
        held, places = [], []
        for layer in layers:
            held.append(layer.labels(patients)[0] ^ others.to(field.device))
            place = layer.add_finding(field, patients, scene, held[-1])
            places.append(torch.stack((place.row, place.column), 1))
        log_exposure = field.mul_(scene.noise_modulation).add_(scene.log_exposure)
        anatomy = [(scene.parameters[name] - law.mean) / law.sd for name, law in _NORMAL.items()]
        taken = self._taken[film].to(log_exposure.device).expand(len(indices), -1)
        corner, within = self._windows(first, patients, torch.stack(places, 1))
        return SourceImages(
            _cut_out(first.acquisition.display(log_exposure), corner, self._window),
            (torch.stack(held, 1) & within).float(),
            torch.cat((torch.stack(anatomy, 1), taken), 1),
        )

    def _windows(self, film: SyntheticRadiographs, patients: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the upper left corner of each patient's window [B, 2]; tell what is centred in it [B, F].

        Args:
            film: Any of the layers of findings.
            patients: The patients [B].
            places: Row and column of each finding, or of where it would be [B, F, 2].
        """
        spare = film.config.image_size - self._window
        number = uniform(stream_keys(film.seed, "train", Stream.WINDOW, patients), 3).to(places.device)
        around = (number[:, 0] * (len(FINDINGS) + 1)).long()
        centre = places[torch.arange(len(places)), around.clamp(max=len(FINDINGS) - 1)]
        near = centre - self._window / 2 + _OFF_CENTRE * self._window * (number[:, 1:] - 0.5)
        corner = torch.where((around == len(FINDINGS))[:, None], spare * number[:, 1:], near)
        corner = corner.clamp(0, spare).long()
        inside = places - corner[:, None]
        return corner, ((inside >= 0) & (inside < self._window)).all(2)


def _cut_out(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """Return a window of each image [B, H, W] as [B, 1, side, side]."""
    cells = torch.arange(side, device=images.device)
    rows, columns = (corner[:, k, None] + cells for k in (0, 1))
    image = torch.arange(len(images), device=images.device)
    return images[image[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]


def _standardise(values: Tensor) -> Tensor:
    values = torch.cat((values[:, :1], values[:, 1:2].log(), values[:, 2:]), 1)
    return (values - values.mean(0)) / values.std(0, correction=0)
