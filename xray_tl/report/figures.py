"""Figures of a sweep, drawn from its runs and from intervals computed before; no torch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import t as student_t

from xray_tl.report.style import ARMS, CEILING, FAINT, FLOOR, SOFT, figure_style, legend_below
from xray_tl.statistics.estimates import Estimate
from xray_tl.store.files import atomic_path
from xray_tl.study.depths import AtDepth
from xray_tl.study.run_table import APART, ARM, by_seed, floor_rows

AUROC = "auroc.png"


class Bounds(NamedTuple):
    """What no learned feature reaches up to, and what nothing exceeds: test AUROC, NaN if not known."""

    floor: float
    ceiling: float


Array = NDArray[np.float64]
Intervals = Mapping[str, tuple[float, float]]


def draw_auroc(runs: pd.DataFrame, intervals: Intervals | None = None) -> Figure:
    """Draw floors, arms and ceiling of a sweep on one axis: test AUROC.

    Each floor (a square) and each arm has a row. An arm has a dot per seed, a stroke at their mean and a bar
    over its 95 % interval. The ceiling of a row's own test images is a line across the row, with a band of
    two standard errors on either side.

    Args:
        runs: One row per run.
        intervals: Intervals of arms by label; by default the t interval over seeds, for fixed images.
    """
    complete = by_seed(runs[runs["status"] == "complete"])
    floors = floor_rows(_main_data(complete))
    arms = complete.groupby([*ARM, *APART], dropna=False, sort=False)
    ordered = sorted(arms, key=lambda pair: float(pair[1]["test_auroc"].mean()))
    rows = len(floors) + len(ordered)
    with figure_style():
        figure = Figure(figsize=(7.5, 1.3 + 0.38 * rows), layout="constrained", dpi=150)
        axes = figure.subplots()
        labels: list[str] = []
        several = len(floors) > floors["model"].nunique() if len(floors) else False

        for floor in floors.to_dict("records"):
            axes.plot(floor["test_auroc"], len(labels), "s", color=FLOOR, markersize=6)
            _draw_ceiling(axes, len(labels), floor["ceiling_auroc"], floor["ceiling_auroc_se"])
            of = f", data {str(floor['data_hash'])[:6]}" if several else ""
            labels.append(str(floor["model"]).replace("_", " ") + of)
        for key, seeds in ordered:
            label = _label(key, seeds)
            _draw_arm(axes, len(labels), seeds, (intervals or {}).get(label))
            solved = "head" in seeds and (seeds["head"] == "solved").all()
            labels.append(f"{label} ({'solved' if solved else len(seeds)})")
        if len(floors) and ordered:
            axes.axhline(len(floors) - 0.5, color=FAINT, linewidth=0.8)
        axes.axvline(0.5, color=FLOOR, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(rows), labels)
        axes.set_ylim(-0.6, rows - 0.4)
        axes.set_xlabel("test AUROC")
        if complete["ceiling_auroc"].notna().any():
            axes.plot([], [], color=CEILING, label="best possible (ideal observer)")
            figure.legend(loc="outside upper right", fontsize="small")
    return figure


def write_auroc(runs: pd.DataFrame, folder: Path, intervals: Intervals | None = None) -> Path:
    """Write `auroc.png` into a sweep's folder and return its path."""
    path = folder / AUROC
    with atomic_path(path) as partial:
        draw_auroc(runs, intervals).savefig(partial, format="png")
    return path


def draw_differences(
    pairs: Mapping[tuple[str, str], Estimate], kinds: Mapping[tuple[str, str], str]
) -> Figure:
    """Draw each pair's difference with its interval, undecided ones in grey."""
    named = {f"{a} vs {b}": estimate for (a, b), estimate in pairs.items()}
    colors = [SOFT if kinds[pair] == "undecided" else ARMS[0] for pair in pairs]
    figure = _draw_intervals(named, colors, "difference of test AUROC, 95 % interval")
    figure.axes[0].axvline(0, color=SOFT, linewidth=0.8, linestyle=":")
    return figure


def draw_planned(contrasts: Mapping[str, tuple[Estimate, bool]]) -> Figure:
    """Draw each planned contrast with its interval, undecided ones in grey.

    Args:
        contrasts: Name -> estimate, and whether it is decided.
    """
    colors = [ARMS[0] if decided else SOFT for _, decided in contrasts.values()]
    named = {name: estimate for name, (estimate, _) in contrasts.items()}
    figure = _draw_intervals(named, colors, "planned difference, 95 % interval")
    figure.axes[0].axvline(0, color=SOFT, linewidth=0.8, linestyle=":")
    return figure


def draw_estimates(arms: Mapping[str, Estimate], ceiling: float) -> Figure:
    """Draw each arm's mean with its interval, and the ceiling if it is known."""
    figure = _draw_intervals(arms, [ARMS[0]] * len(arms), "test AUROC, 95 % interval")
    if not np.isnan(ceiling):
        figure.axes[0].axvline(ceiling, color=CEILING, linewidth=1.2)
    return figure


def _draw_intervals(estimates: Mapping[str, Estimate], colors: Sequence[str], label: str) -> Figure:
    """Draw estimates with their intervals, from top to bottom."""
    with figure_style():
        figure = Figure(figsize=(7.5, 0.9 + 0.33 * len(estimates)), layout="constrained")
        axes = figure.subplots()
        for row, (estimate, color) in enumerate(zip(estimates.values(), colors, strict=True)):
            axes.plot([estimate.lower, estimate.upper], [row, row], color=color, linewidth=2)
            axes.plot(estimate.value, row, "o", color=color, markersize=5)
        axes.set_yticks(range(len(estimates)), list(estimates), fontsize=8)
        axes.set_ylim(len(estimates) - 0.4, -0.6)
        axes.set_xlabel(label)
    return figure


def draw_learning_curve(points: Mapping[str, Sequence[tuple[int, Estimate]]], ceiling: float) -> Figure:
    """Draw test AUROC over the number of training images, with intervals, and the ceiling."""
    with figure_style():
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for place, (label, series) in enumerate(points.items()):
            color = ARMS[place % len(ARMS)]
            count = [n for n, _ in series]
            axes.plot(count, [e.value for _, e in series], color=color, marker="o", label=label)
            low, high = [e.lower for _, e in series], [e.upper for _, e in series]
            axes.fill_between(count, low, high, color=color, alpha=0.15, lw=0)
        if np.isfinite(ceiling):
            axes.axhline(ceiling, color=CEILING, linewidth=1.2, label="best possible")
        axes.set_xscale("log", base=2)
        axes.set_xticks(
            ticks := sorted({n for series in points.values() for n, _ in series}), map(str, ticks)
        )
        axes.set_xlabel("training images")
        axes.set_ylabel("test AUROC")
        legend_below(figure, axes)
    return figure


def draw_depth(
    series: Mapping[str, Sequence[AtDepth]], arms: Mapping[str, Estimate], bounds: Bounds
) -> Figure:
    """Draw test AUROC over the number of a backbone's stages, with intervals, floor and ceiling.

    A square is a whole network with its own pooling.

    Args:
        series: Arms of each backbone, the smallest depth first.
        arms: Estimates of arms by label.
        bounds: Floor and ceiling, NaN where they are not known.
    """
    deepest = max(point.depth for points in series.values() for point in points)
    with figure_style():
        figure = Figure(figsize=(6.4, 3.9), layout="constrained")
        axes = figure.subplots()
        for place, (name, points) in enumerate(series.items()):
            color = ARMS[place % len(ARMS)]
            # side by side, so that intervals of one depth do not cover each other
            aside = 0.09 * (place - (len(series) - 1) / 2)
            depths = np.array([point.depth for point in points]) + aside
            found = [arms[point.arm.label] for point in points]
            axes.plot(depths, [estimate.value for estimate in found], color=color, linewidth=1.6, label=name)
            for depth, estimate, point in zip(depths, found, points, strict=True):
                axes.plot(
                    [depth, depth], [estimate.lower, estimate.upper], color=color, linewidth=3, alpha=0.3
                )
                axes.plot(depth, estimate.value, "s" if point.whole else "o", color=color, markersize=6)
        for name, value, color in (
            ("pooled pixels", bounds.floor, FLOOR),
            ("best possible", bounds.ceiling, CEILING),
        ):
            if np.isfinite(value):
                axes.axhline(value, color=color, linewidth=1.2, linestyle="--" if color == FLOOR else "-")
                axes.annotate(
                    f"{name}\n{value:.3f}",
                    (1, value),
                    (5, 0),
                    xycoords=("axes fraction", "data"),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                    color=SOFT if color == FLOOR else color,
                )
        axes.set_xticks(range(1, deepest + 1))
        axes.set_xlim(0.7, deepest + 0.3)
        axes.margins(y=0.08)
        axes.set_xlabel("stages of the backbone, from the input")
        axes.set_ylabel("test AUROC")
        legend_below(figure, axes)
    return figure


def _main_data(complete: pd.DataFrame) -> pd.DataFrame:
    """Keep, for each test set, the runs on the data of its best arm: a learning curve has many data sets."""
    means = complete.groupby([*ARM, *APART], dropna=False)["test_auroc"].transform("mean")
    best = complete.loc[means.sort_values(ascending=False, kind="stable").index].drop_duplicates("test_set")
    main = dict(zip(best["test_set"], best["data_hash"], strict=True))
    return complete[complete["test_set"].map(main) == complete["data_hash"]]


def _draw_arm(axes: Axes, row: int, seeds: pd.DataFrame, interval: tuple[float, float] | None) -> None:
    values = seeds["test_auroc"].to_numpy(dtype=float)
    mean = values.mean()
    if interval is None and len(values) > 1:
        half = student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
        interval = mean - half, mean + half
    if interval is not None:
        axes.plot(interval, [row, row], color=ARMS[0], linewidth=5, alpha=0.25)
    axes.plot(values, np.full(len(values), row), "o", color=ARMS[0], markersize=4, alpha=0.8)
    axes.plot([mean, mean], [row - 0.22, row + 0.22], color=ARMS[0], linewidth=1.6)
    _draw_ceiling(axes, row, seeds["ceiling_auroc"].mean(), seeds["ceiling_auroc_se"].mean())


def _draw_ceiling(axes: Axes, row: int, ceiling: float, error: float) -> None:
    if pd.notna(ceiling):
        axes.fill_betweenx(
            [row - 0.5, row + 0.5], ceiling - 2 * error, ceiling + 2 * error, color=CEILING, alpha=0.15, lw=0
        )
        axes.plot([ceiling, ceiling], [row - 0.5, row + 0.5], color=CEILING, linewidth=1.2)


def _label(key: Hashable, seeds: pd.DataFrame) -> str:
    known = seeds["label"].dropna() if "label" in seeds else pd.Series(dtype=str)
    assert isinstance(key, tuple)
    return str(known.iloc[0]) if len(known) else " ".join(map(str, key[: len(ARM)]))
