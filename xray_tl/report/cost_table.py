"""Table and figure of the cost of backbones; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from xray_tl.errors import InputError
from xray_tl.report.style import ARMS, CEILING, FAINT, figure_style
from xray_tl.store.files import atomic_path
from xray_tl.study.run_table import arms, collect

TRADEOFF = "auroc_against_latency.png"

_INFERENCE = {
    "parameters_m": ("parameters, M", "{:.1f}"),
    "gmac": ("GMAC", "{:.2f}"),
    "latency_p50_ms": ("latency p50, ms", "{:.1f}"),
    "latency_p95_ms": ("p95", "{:.1f}"),
    "latency_share": ("of limit", "{:.0%}"),
    "forward_images_s": ("images/s", "{:.1f}"),
    "forward_share": ("of limit", "{:.0%}"),
}
_TRAINING = {
    f"train_{mode}_{measure}": (title, form)
    for mode, name in (("finetune", "finetune"), ("partial", "partial (1)"), ("frozen", "frozen"))
    for measure, title, form in (
        ("images_s", name, "{:.1f}"),
        ("share", "of limit", "{:.0%}"),
        ("peak_mb", "peak, MB", "{:.0f}"),
    )
}


def as_frame(measured: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per backbone, without the environment."""
    rows = [{key: value for key, value in row.items() if key != "environment"} for row in measured]
    return pd.DataFrame(rows)


def format_bench(frame: pd.DataFrame) -> str:
    """Format inference and training as two tables for a terminal, with notes on the measurement below."""
    first = frame.iloc[0]
    return (
        f"{_table(frame, _INFERENCE)}\n\ntraining, images/s:\n{_table(frame, _TRAINING)}\n\n"
        f"latency: median and 95th percentile of {first['latency_repeats']} passes after {first['warm_up']} "
        f"warm-up passes, one image of {first['image_size']} px\n"
        f"images/s: batches of {first['batch_size']}, median of {first['repeats']} after {first['warm_up']} "
        f"warm-up batches; generator: {frame['generator_images_s'].median():.0f} images/s\n"
        f"limit: {frame['gemm_gflops'].median():.0f} GFLOP/s, this machine's rate of a 2048 x 2048 matrix "
        f"product"
    )


def _table(frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> str:
    text = frame[["model"]].copy()
    for column, (_, form) in columns.items():
        text[column] = ["-" if pd.isna(value) else form.format(value) for value in frame[column]]
    return text.to_string(index=False, header=["model", *(title for title, _ in columns.values())])


def write_tradeoff(frame: pd.DataFrame, sweep: Path, folder: Path) -> Path:
    """Draw the arms of a sweep: test AUROC, mean and standard deviation over seeds, against latency.

    Raises:
        InputError: The sweep has no complete run of a backbone that was measured.
    """
    runs = collect(sweep)
    latency = dict(zip(frame["model"], frame["latency_p50_ms"], strict=True))
    table = arms(runs[runs["model"].isin(latency)])
    if table.empty:
        raise InputError(f"sweep={sweep} has no complete run of {', '.join(latency)}")
    table = table[table["model"].isin(latency)]
    figure = _draw_tradeoff(table, latency, int(frame["image_size"].iloc[0]))
    path = folder / TRADEOFF
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")
    return path


def _draw_tradeoff(table: pd.DataFrame, latency: Mapping[str, float], image_size: int) -> Figure:
    with figure_style():
        figure = Figure(figsize=(7.5, 4.5), layout="constrained", dpi=150)
        axes = figure.subplots()
        groups = table.groupby(["mode", "weights"], sort=False)
        for color, ((mode, weights), rows) in zip(cycle(ARMS), groups, strict=False):
            axes.errorbar(
                [latency[model] for model in rows["model"]],
                rows["test_auroc"],
                yerr=rows["test_auroc_sd"].fillna(0),
                fmt="o",
                capsize=3,
                color=color,
                label=f"{mode}, {weights}",
            )
        axes.axhline(table["ceiling_auroc"].max(), color=CEILING, linewidth=1, label="best possible")
        axes.set_xlim(0, 1.15 * max(latency.values()))
        for model, x in latency.items():
            axes.axvline(x, color=FAINT, linewidth=0.8, zorder=0)
            axes.annotate(f"{model}\n{x:.0f} ms", (x, 1.02), xycoords=("data", "axes fraction"), ha="center")
        axes.set_xlabel(f"latency of one image of {image_size} px, ms (median)")
        axes.set_ylabel("test AUROC, mean and SD over seeds")
        figure.legend(loc="outside right center", fontsize=8)
    return figure
