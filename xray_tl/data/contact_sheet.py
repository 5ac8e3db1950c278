"""Contact sheets with captions: positive images above negative ones, or files regardless of their labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xray_tl.data.films.names import printable
from xray_tl.data.films.reading import MODES, Read, Reading, try_reading
from xray_tl.data.splits import Source, Targets
from xray_tl.data.synthetic.radiograph import Radiographs, SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.store.files import atomic_path

log = logging.getLogger(__name__)

LARGEST = 200
"""Largest number of images of one kind on a sheet."""

_STEP, _LAST = 1024, 2**20  # labels examined at once, and in total
_DPI = 100
_TILE, _CAPTION, _TITLE = 224, 20, 34  # pixels: least side of an image, strip below it, strip above a part
_LINE = 13  # height of every further line of a caption, pixels
_OUTLINE = "#ffb000"


def pick(source: SyntheticRadiographs, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices [count] of the first images with the finding, and of the first without.

    Raises:
        InputError: One kind is too rare.
    """
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for start in range(0, _LAST, _STEP):
        indices = torch.arange(start, start + _STEP)
        present = source.labels(indices)[0].cpu()
        for kind, parts in found.items():
            parts.append(indices[present == kind])
        if all(sum(map(len, parts)) >= count for parts in found.values()):
            return torch.cat(found[True])[:count], torch.cat(found[False])[:count]
    raise InputError(
        f"data.prevalence={source.config.prevalence:g} leaves too few images of one kind to show"
    )


@dataclass(frozen=True)
class Part:
    """A part of a sheet: images with a common title.

    Attributes:
        title: What its images have in common.
        images: In [0, 1] [N, 1, S, S].
        captions: One per image.
        masks: Regions to outline [N, S, S]; `None`: none.
    """

    title: str
    images: Tensor
    captions: Sequence[str]
    masks: Tensor | None = None


def generated(source: SyntheticRadiographs, count: int, *, outlines: bool = False) -> list[Part]:
    """Return generated images with the finding, and as many without.

    Args:
        source: The data set.
        count: Number of images of each kind.
        outlines: Whether to outline the finding.

    Raises:
        InputError: One kind is too rare.
    """
    parts = []
    for kind, indices in zip(("positive", "negative"), pick(source, count), strict=True):
        drawn = source.render(indices)
        captions = [_caption(int(index), drawn, place) for place, index in enumerate(indices)]
        masks = drawn.mask if outlines else None
        parts.append(Part(f"{source.finding.name}: {kind}", drawn.image, captions, masks))
    return parts


def collected(source: Source, targets: Targets, count: int) -> list[Part]:
    """Return the first real radiographs with and without the first target, with their names as captions.

    Args:
        source: A split.
        targets: The targets of the data set.
        count: Largest number of images of each kind.
    """
    names = source.names or ()
    truth = source.truth(torch.arange(len(names)))[:, 0]
    parts = []
    for kind, chosen in (("positive", truth == 1), ("negative", truth == 0)):
        indices = chosen.nonzero()[:count, 0]
        captions = [_short(names[index]) for index in indices.tolist()]
        parts.append(Part(f"{targets.names[0]}: {kind}", source.images(indices), captions))
    return parts


def read(paths: Sequence[Path], reading: Reading, count: int) -> list[Part]:
    """Return the first files that can be read, with their size, bits and kind as captions.

    Args:
        paths: Radiographs.
        reading: How they are read.
        count: Largest number of images.

    Raises:
        InputError: No file can be read.
    """
    shown: list[tuple[str, Read]] = []
    for path in paths:
        film = try_reading(str(path), reading)
        if isinstance(film, str):
            log.warning("%s cannot be used: %s", printable(str(path)), film)
            continue
        shown.append((printable(path.name), film))
        if len(shown) == count:
            break
    if not shown:
        raise InputError("none of the files of input can be used")
    captions = [
        f"{_short(path)}\n{film.shape[1]} x {film.shape[0]}, {film.bits} bits, {MODES[film.mode]}"
        for path, film in shown
    ]
    images = torch.from_numpy(np.stack([film.image for _, film in shown]))[:, None]
    return [Part(f"{len(shown)} of {len(paths)} files", images, captions)]


def draw_sheet(parts: Sequence[Part], rows: int, columns: int) -> Figure:
    """Draw parts of a sheet, one above the other.

    Args:
        parts: Parts with at most `rows` x `columns` images each.
        rows: Rows of each part.
        columns: Images per row.
    """
    size = parts[0].images.shape[-1]
    zoom = -(-_TILE // size)
    side = size * zoom
    lines = max((caption.count("\n") for part in parts for caption in part.captions), default=0) + 1
    strip = _CAPTION + (lines - 1) * _LINE
    width, height = columns * side, _TITLE + rows * (side + strip)
    figure = Figure(figsize=(width / _DPI, len(parts) * height / _DPI), dpi=_DPI, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = np.zeros((len(parts) * height, width), dtype=np.float32)
    for top, part in zip(range(0, len(sheet), height), parts, strict=True):
        axes.text(8, top + _TITLE / 2, part.title, color="white", fontsize=13, va="center", parse_math=False)
        for place, image in enumerate(part.images):
            y, x = top + _TITLE + place // columns * (side + strip), place % columns * side
            sheet[y : y + side, x : x + side] = _enlarge(image[0], zoom)
            text = part.captions[place]
            axes.text(
                x + 6, y + side + strip / 2, text, color="0.8", fontsize=8, va="center", parse_math=False
            )
            if part.masks is not None and bool(part.masks[place].any()):
                mask = _enlarge(part.masks[place].float(), zoom)
                at = (np.arange(side) + x, np.arange(side) + y)
                axes.contour(*at, mask, levels=[0.5], colors=_OUTLINE, linewidths=1.0)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    return figure


def check_sheet(rows: int, columns: int) -> None:
    """Check the number of images on a sheet.

    Raises:
        InputError: There is no image, or there are too many.
    """
    if rows < 1 or columns < 1 or rows * columns > LARGEST:
        raise InputError(f"rows={rows} columns={columns}: choose at least 1 and at most {LARGEST} in all")


def write_sheet(figure: Figure, path: Path) -> Path:
    """Write a sheet as a PNG file, atomically.

    Raises:
        InputError: The path does not end in `.png`, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"output={path} must end in .png")
    try:
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", dpi=_DPI, facecolor="black")
    except OSError as error:
        raise InputError(f"output={path} cannot be written: {error.strerror or error}") from error
    return path


def _enlarge(image: Tensor, zoom: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return image.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1).cpu().numpy().astype(np.float32)


def _caption(index: int, drawn: Radiographs, place: int) -> str:
    parts = [f"#{index}"]
    if drawn.contrast[place] > 0:
        parts.append(f"{float(drawn.radius[place]):g} mm, x{float(drawn.contrast[place]):g}")
    if int(drawn.label[place]) != int(drawn.present[place]):
        parts.append("label flipped")
    return ", ".join(parts)


def _short(name: str, longest: int = 30) -> str:
    """Shorten a file's name from the left: the end of the name distinguishes images."""
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
