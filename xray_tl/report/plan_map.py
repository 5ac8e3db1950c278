"""Map of a plan: which numbers of readers and images decide what, one panel a question; no torch."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from xray_tl.report.style import ARMS, FAINT, figure_style
from xray_tl.statistics.planning import COUNTS, fixed
from xray_tl.statistics.verdict import POWER
from xray_tl.study.pilot import Known, Pilot

KINDS = ("neither", "equality", "the effect", "both")
COLOURS = (FAINT, ARMS[4], ARMS[0], ARMS[2])
WIDEST = 3
"""Largest number of panels side by side."""


def decided(contrasts: list[Known], images: list[int], effect: float, margin: float) -> np.ndarray:
    """Return what is decided for every contrast in 80 % of studies: a place in `KINDS` [readers, images]."""
    kinds = np.zeros((len(COUNTS), len(images)), dtype=int)
    for column, count in enumerate(images):
        told, same = (
            np.min([_rates(known, count, true, margin) for known in contrasts], axis=0)
            for true in (effect, 0.0)
        )
        kinds[:, column] = (same >= POWER) + 2 * (told >= POWER)
    return kinds


def _rates(known: Known, images: int, true: float, margin: float) -> np.ndarray:
    found = fixed(known.estimate, images, true, margin, known.family)
    return found.better if true else found.same


def draw_map(earlier: Pilot, images: int, effect: float, margin: float) -> Figure:
    """Draw, for each question, what readers and images decide.

    Args:
        earlier: The earlier sweep.
        images: Number of test images of the study, which is marked.
        effect: True difference that is to be told.
        margin: Largest difference that counts as equivalent.
    """
    questions = earlier.questions
    counts = [max(4, round(images * 2.0**power)) for power in (-2, -1, 0, 1, 2, 3)]
    columns = min(len(questions), WIDEST)
    lines = -(-len(questions) // columns)
    with figure_style():
        figure = Figure(figsize=(1.2 + 3.1 * columns, 0.9 + 3.0 * lines), layout="constrained")
        panels = np.atleast_1d(figure.subplots(lines, columns, sharey=True, squeeze=False)).ravel()
        edges = np.geomspace(counts[0] / np.sqrt(2), counts[-1] * np.sqrt(2), len(counts) + 1)
        norm = BoundaryNorm(np.arange(len(KINDS) + 1) - 0.5, len(KINDS))
        for axes, (question, contrasts) in zip(panels, questions.items(), strict=False):
            kinds = decided(contrasts, counts, effect, margin)
            heights = np.append(np.array(COUNTS) - 0.5, COUNTS[-1] + 2)
            axes.pcolormesh(edges, heights, kinds, cmap=ListedColormap(COLOURS), norm=norm, edgecolors="none")
            axes.set_xscale("log")
            axes.set_xticks(counts, list(map(str, counts)), rotation=45, fontsize=8)
            axes.minorticks_off()
            axes.axvline(images, color="white", linewidth=1, linestyle=":")
            axes.set_title(question.replace("_", " "))
            axes.set_xlabel("test images")
        for axes in panels[:: columns or 1]:
            axes.set_ylabel(f"{earlier.reader}s")
        for axes in panels[len(questions) :]:
            axes.set_axis_off()
        patches = [Patch(color=colour, label=kind) for kind, colour in zip(KINDS, COLOURS, strict=True)]
        title = f"told in {100 * POWER:g} % of studies (effect {effect:g}, margin {margin:g})"
        figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=8, title=title)
    return figure
