"""Figures of a sweep, drawn from its table of runs; no torch."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from xray_tl.evaluation.collect import APART, ARM, floor_rows
from xray_tl.files import atomic_path

AUROC = "auroc.png"

_FLOOR, _ARM, _CEILING = "#8a8a8a", "#1f5fa8", "#b3261e"


def draw_auroc(runs: pd.DataFrame) -> Figure:
    """Draw floors, arms and ceiling of a sweep on one axis: test AUROC.

    One row a floor (square) and an arm: a dot a seed, a stroke at their mean, a bar over its t interval
    (95 %). The ceiling of a row's own test images is a line across it, two standard errors wide either side.
    """
    complete = runs[runs["status"] == "complete"]
    floors = floor_rows(complete)
    arms = complete.groupby([*ARM, *APART], dropna=False, sort=False)
    ordered = sorted(arms, key=lambda pair: float(pair[1]["test_auroc"].mean()))
    rows = len(floors) + len(ordered)
    figure = Figure(figsize=(7.5, 1.3 + 0.38 * rows), layout="constrained", dpi=150)
    axes = figure.subplots()
    labels: list[str] = []
    several = complete["data_hash"].nunique() > 1

    def named(data_hash: str) -> str:
        return f", data {data_hash[:6]}" if several else ""

    for floor in floors.to_dict("records"):
        axes.plot(floor["test_auroc"], len(labels), "s", color=_FLOOR, markersize=6)
        _draw_ceiling(axes, len(labels), floor["ceiling_auroc"], floor["ceiling_auroc_se"])
        labels.append(floor["model"].replace("_", " ") + named(floor["data_hash"]))
    for key, seeds in ordered:
        _draw_arm(axes, len(labels), seeds)
        labels.append(_label(key, len(seeds)) + named(seeds["data_hash"].iloc[0]))
    if len(floors) and ordered:
        axes.axhline(len(floors) - 0.5, color="#d0d0d0", linewidth=0.8)
    axes.axvline(0.5, color=_FLOOR, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(rows), labels)
    axes.set_ylim(-0.6, rows - 0.4)
    axes.set_xlabel("test AUROC")
    axes.spines[["top", "right"]].set_visible(False)
    if complete["ceiling_auroc"].notna().any():
        axes.plot([], [], color=_CEILING, label="best possible (ideal observer)")
        figure.legend(loc="outside upper right", frameon=False, fontsize="small")
    return figure


def write_auroc(runs: pd.DataFrame, folder: Path) -> Path:
    """Write `auroc.png` into a sweep's folder and return its path."""
    path = folder / AUROC
    with atomic_path(path) as partial:
        draw_auroc(runs).savefig(partial, format="png")
    return path


def _draw_arm(axes: Axes, row: int, seeds: pd.DataFrame) -> None:
    values = seeds["test_auroc"].to_numpy(dtype=float)
    mean = values.mean()
    if len(values) > 1:
        half = student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        axes.plot([mean - half, mean + half], [row, row], color=_ARM, linewidth=5, alpha=0.25)
    axes.plot(values, np.full(len(values), row), "o", color=_ARM, markersize=4, alpha=0.8)
    axes.plot([mean, mean], [row - 0.22, row + 0.22], color=_ARM, linewidth=1.6)
    _draw_ceiling(axes, row, seeds["ceiling_auroc"].mean(), seeds["ceiling_auroc_se"].mean())


def _draw_ceiling(axes: Axes, row: int, ceiling: float, error: float) -> None:
    if pd.notna(ceiling):
        axes.fill_betweenx(
            [row - 0.5, row + 0.5], ceiling - 2 * error, ceiling + 2 * error, color=_CEILING, alpha=0.15, lw=0
        )
        axes.plot([ceiling, ceiling], [row - 0.5, row + 0.5], color=_CEILING, linewidth=1.2)


def _label(key: Hashable, seeds: int) -> str:
    assert isinstance(key, tuple)
    model, mode, weights = key[: len(ARM)]
    return f"{model}, {mode}, {weights} ({seeds})"
