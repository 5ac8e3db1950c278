"""Contact sheet: positive images above, negative ones below, captioned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xray_tl.data.synthetic import Radiographs, SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.files import atomic_path

LARGEST = 200
"""Images of one kind on a sheet, at most."""

_STEP, _LAST = 1024, 2**20  # labels looked at in one go, and at all
_DPI = 100
_TILE, _CAPTION, _TITLE = 224, 20, 34  # least side of an image, strip below it, strip above each half, pixels
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


def draw_sheet(source: SyntheticRadiographs, rows: int, columns: int, *, outlines: bool = False) -> Figure:
    """Draw `rows` rows of images with the finding and as many without.

    Args:
        source: The data set.
        rows: Rows of each kind.
        columns: Images a row.
        outlines: Draw the outline of the finding.

    Raises:
        InputError: No image, or too many, or one kind is too rare.
    """
    if rows < 1 or columns < 1 or rows * columns > LARGEST:
        raise InputError(f"rows={rows} columns={columns}: choose at least 1 and at most {LARGEST} in all")
    zoom = -(-_TILE // source.config.image_size)
    side = source.config.image_size * zoom
    width, half = columns * side, _TITLE + rows * (side + _CAPTION)
    figure = Figure(figsize=(width / _DPI, 2 * half / _DPI), dpi=_DPI, facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    sheet = np.zeros((2 * half, width), dtype=np.float32)
    titles = (f"{source.finding.name}: positive", f"{source.finding.name}: negative")
    for top, title, indices in zip((0, half), titles, pick(source, rows * columns), strict=True):
        axes.text(8, top + _TITLE / 2, title, color="white", fontsize=13, va="center")
        drawn = source.render(indices)
        for place in range(len(indices)):
            y, x = top + _TITLE + place // columns * (side + _CAPTION), place % columns * side
            sheet[y : y + side, x : x + side] = _enlarge(drawn.image[place, 0], zoom)
            text = _caption(int(indices[place]), drawn, place)
            axes.text(x + 6, y + side + _CAPTION / 2, text, color="0.8", fontsize=8, va="center")
            if outlines and bool(drawn.contrast[place] > 0):
                mask = _enlarge(drawn.mask[place].float(), zoom)
                at = (np.arange(side) + x, np.arange(side) + y)
                axes.contour(*at, mask, levels=[0.5], colors=_OUTLINE, linewidths=1.0)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    return figure


def write_sheet(figure: Figure, path: Path) -> Path:
    """Write a sheet as PNG, whole or not at all.

    Raises:
        InputError: The path is no PNG file or cannot be written.
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
