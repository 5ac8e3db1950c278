"""Figures of arms: training curves, ROC, reliability and confusion; no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from xray_tl.report.style import ARMS, INK, SOFT, figure_style, legend_below
from xray_tl.statistics.metrics import reliability
from xray_tl.study.saved_predictions import split_of
from xray_tl.study.study_folder import Arm, Run

Array = NDArray[np.float64]


def draw_curves(arms: Sequence[Arm]) -> Figure:
    """Draw loss and validation AUROC per epoch: mean over seeds, band from lowest to highest.

    A solved head has no epochs: its values are a dashed line.
    """
    panels = (
        ("train_loss", "training loss"),
        ("val_loss", "validation loss"),
        ("val_auroc", "validation AUROC"),
    )
    with figure_style():
        figure = Figure(figsize=(7.5, 2.9), layout="constrained")
        for axes, (key, title) in zip(figure.subplots(1, 3), panels, strict=True):
            for place, arm in enumerate(arms):
                epochs, values = _history(arm.runs, key)
                if not len(epochs):
                    continue
                color = ARMS[place % len(ARMS)]
                if arm.is_solved:
                    axes.axhline(values.mean(), color=color, label=arm.label, linestyle="--")
                    continue
                axes.plot(epochs, values.mean(0), color=color, label=arm.label, marker=".")
                axes.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.15, lw=0)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        legend_below(figure, axes)
    return figure


def draw_roc(arms: Sequence[Arm]) -> Figure:
    """Draw ROC curves of the test images: mean sensitivity over seeds, band from lowest to highest."""
    grid = np.linspace(0, 1, 101)
    with figure_style():
        figure = Figure(figsize=(4.6, 4.6 + 0.17 * len(arms)), layout="constrained")
        axes = figure.subplots()
        for place, arm in enumerate(arms):
            rows = [split_of(run.scores, "test") for run in arm.runs]
            curves = np.array([_roc(row, grid) for row in rows])
            color = ARMS[place % len(ARMS)]
            axes.plot(grid, curves.mean(0), color=color, label=arm.label)
            axes.fill_between(grid, curves.min(0), curves.max(0), color=color, alpha=0.15, lw=0)
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.set_aspect("equal")
        legend_below(figure, axes, columns=1)
    return figure


def draw_rocs(arms: Sequence[Arm]) -> Figure:
    """Draw ROC curves for several targets, one panel each: only the mean over seeds."""
    targets, grid = arms[0].targets, np.linspace(0, 1, 101)
    columns = min(4, len(targets))
    rows = -(-len(targets) // columns)
    with figure_style():
        figure = Figure(figsize=(7.5, 7.5 / columns * rows + 0.3 + 0.17 * len(arms)), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, target in zip(panels, targets, strict=False):
            for place, arm in enumerate(arms):
                tests = [split_of(run.scores, "test") for run in arm.only(target).runs]
                mean = np.mean([_roc(test, grid) for test in tests], axis=0)
                axes.plot(grid, mean, color=ARMS[place % len(ARMS)], label=arm.label, linewidth=1.2)
            axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
            axes.set_title(_wrapped(target), fontsize=7.5)
            axes.set_aspect("equal")
        for axes in panels[len(targets) :]:
            axes.set_axis_off()
        for place in range(0, rows * columns, columns):
            panels[place].set_ylabel("sensitivity")
        for axes in panels[max(0, len(targets) - columns) : len(targets)]:
            axes.set_xlabel("1 - specificity")
            axes.xaxis.set_tick_params(labelbottom=True)
        legend_below(figure, panels[0], columns=1)
    return figure


def draw_reliability(arms: Sequence[Arm], bins: int = 8) -> Figure:
    """Draw reliability: share of positives against stated probability, all seeds of an arm together."""
    columns = min(4, len(arms))
    rows = -(-len(arms) // columns)
    height = 2.25 if columns > 2 else 3.2
    with figure_style():
        figure = Figure(figsize=(7.5, height * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for place, axes in enumerate(grid):
            if place >= len(arms):
                axes.set_axis_off()
                continue
            arm = arms[place]
            test = pd.concat([split_of(run.scores, "test") for run in arm.runs])
            parts = reliability(test["truth"].to_numpy(float), test["probability"].to_numpy(float), bins)
            mean, rate, share = np.array(parts).T
            axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
            axes.plot(mean, rate, color=ARMS[place % len(ARMS)], linewidth=1.2)
            axes.scatter(
                mean, rate, s=8 + 160 * share, color=ARMS[place % len(ARMS)], alpha=0.8, linewidths=0
            )
            axes.set_title(_wrapped(arm.label), fontsize=7.5)
            axes.set_aspect("equal")
        figure.supxlabel("stated probability", fontsize=9.5, color=INK)
        figure.supylabel("share of positives", fontsize=9.5, color=INK)
    return figure


def draw_confusion(counts: NDArray[np.int64], target: str) -> Figure:
    """Draw the confusion matrix of the test images at the operating points chosen on validation.

    Args:
        counts: Rows: truth absent, present; columns: decided absent, present; all seeds together.
        target: Name of the target that is absent or present.
    """
    with figure_style():
        figure = Figure(figsize=(3.2, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.imshow(counts, cmap="Blues", vmin=0, vmax=counts.sum(1).max())
        for (row, column), count in np.ndenumerate(counts):
            dark = count > 0.6 * counts.sum(1).max()
            axes.text(
                column, row, f"{count}", ha="center", va="center", color="white" if dark else INK, fontsize=14
            )
        axes.set_xticks([0, 1], ["absent", "present"])
        axes.set_yticks([0, 1], ["absent", "present"], rotation=90, va="center")
        axes.set_xlabel("decided")
        axes.set_ylabel("truth")
        axes.set_title(target)
    return figure


def _history(runs: Sequence[Run], key: str) -> tuple[NDArray[np.int64], Array]:
    """Return epochs [E], from 1, and a key's values [R, E] as far as all runs have them."""
    series = [
        [epoch[key] if epoch[key] is not None else np.nan for epoch in run.record.get("history", [])]
        for run in runs
    ]
    shortest = min(map(len, series), default=0)
    return np.arange(1, shortest + 1), np.array([values[:shortest] for values in series], dtype=float)


def _roc(test: pd.DataFrame, grid: Array) -> Array:
    false, true, _ = roc_curve(test["truth"], test["logit"])
    return np.interp(grid, false, true)


def _wrapped(label: str, width: int = 24) -> str:
    words, lines = label.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
