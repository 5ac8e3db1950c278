"""Style of the project's figures: one palette, text stored as text, colours that a page can replace."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xray_tl.store.files import atomic_path, write_text

INK, SOFT, FAINT = "#1b1d20", "#6b7178", "#d5d8dc"
FLOOR, CEILING = "#8a8a8b", "#b3261e"
ARMS = ("#0060a8", "#c45500", "#1a7f4f", "#8e44ad", "#a87900", "#0f8b8d", "#c2185b", "#5d6d1e")
"""Colours of arms, in order; distinguishable also with red-green colour blindness."""
_TURNED = {INK: "var(--ink)", SOFT: "var(--soft)", FAINT: "var(--faint)", CEILING: "var(--ceiling)"}
_TURNED |= {color: f"var(--arm-{place})" for place, color in enumerate(ARMS)}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the project's style."""
    own: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.5,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "text.parse_math": False,  # a $ in a name starts no formula
        "figure.facecolor": "white",
    }
    with mpl.rc_context(own):
        yield


def inline_svg(figure: Figure, name: str) -> str:
    """Return a figure as SVG for use in a page, with the page's colours and without a background.

    Args:
        figure: The figure.
        name: Unique name in the page; identifiers in the SVG depend on it.
    """
    text = _svg(figure, name, transparent=True)
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color, variable in _TURNED.items():
        text = text.replace(color, variable)
    return text


def write_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and SVG."""
    with atomic_path(folder / f"{name}.png") as partial, mpl.rc_context({"text.parse_math": False}):
        figure.savefig(partial, format="png", dpi=200)
    write_text(folder / f"{name}.svg", _svg(figure, name, transparent=False))


def _svg(figure: Figure, name: str, *, transparent: bool) -> str:
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "text.parse_math": False}):
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=transparent)
    return stream.getvalue()


def legend_below(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Add a legend of the axes' lines below a figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)
