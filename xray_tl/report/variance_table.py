"""Where the variance lies (images, seeds, what else readers drew), and readers one by one; no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from xray_tl.report.style import ARMS, SOFT, figure_style, legend_below
from xray_tl.report.tasks import compared
from xray_tl.statistics.components import Nested
from xray_tl.study.analysis import StudyAnalysis
from xray_tl.study.draws import SHA_DIGITS
from xray_tl.study.study_folder import Arm
from xray_tl.study.variance import components_of

MOST_PAIRS = 8
"""Largest number of differences beside the arms."""
CUT = "\N{DAGGER}"
"""Mark of a variance whose estimate is below 0."""
IMAGES, SEED = "images", "seed"


def variance_table(done: StudyAnalysis) -> pd.DataFrame:
    """Return one row per arm, or difference of the five questions, and component, with unrounded numbers.

    The SD is that of an AUROC, or of a difference, over new samples of as many images (`images`), over seeds
    of one reader (`seed`), and over readers. Where each has one seed, the last is of both together.
    """
    asked = list(dict.fromkeys(pair for pairs in compared(done).values() for pair in pairs))
    best = [pair for pair in done.comparison.analysis.pairs if done.arms[0].label in pair]
    pairs = (asked or best)[:MOST_PAIRS]
    contrasts = [{arm.label: 1.0} for arm in done.arms] + [{a: 1.0, b: -1.0} for a, b in pairs]
    by_label = {arm.label: arm for arm in done.arms}
    rows = []
    for contrast, found in zip(contrasts, components_of(done.arms, contrasts), strict=True):
        if found is None:
            continue
        arms = [by_label[label] for label in contrast]
        for component, variance in _named(found, done, arms).items():
            rows.append(
                {
                    "of": " - ".join(contrast),
                    "component": component,
                    "sd": float(np.sqrt(max(variance, 0.0))),
                    "variance": variance,
                    "below_zero": variance < 0,
                    "readers": len(found.counts),
                    "runs": sum(found.counts),
                }
            )
    return pd.DataFrame(rows, columns=["of", "component", "sd", "variance", "below_zero", "readers", "runs"])


def _named(found: Nested, done: StudyAnalysis, arms: Sequence[Arm]) -> dict[str, float]:
    """Return the variances that are known, by the names of their components."""
    vary, reader = done.study.varied, done.terms.reader
    if not vary.training_sets and not any(run.anew for arm in arms for run in arm.runs):
        reader = SEED  # of published weights, or of one set
    together = found.confounded and reader != SEED and not all(arm.is_solved for arm in arms)
    of_readers = f"{reader} and seed" if together else reader
    named = {IMAGES: found.images, SEED: found.runs} | {of_readers: found.draws}
    return {name: value for name, value in named.items() if not np.isnan(value)}


def shown_variance(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of components as the page shows it; no rows if nothing varies."""
    components = list(dict.fromkeys(table["component"]))
    if components in ([], [IMAGES]):
        return [], []
    rows = []
    for of, own in table.groupby("of", sort=False):
        sd = {
            str(row["component"]): f"{row['sd']:.4f}{CUT if row['below_zero'] else ''}"
            for row in own.to_dict("records")
        }
        rows.append([str(of), *(sd.get(name, "") for name in components), f"{own['readers'].iloc[0]}"])
    return ["SD of AUROC", *components, "readers"], rows


def draw_variance(table: pd.DataFrame) -> Figure:
    """Draw the SD of each component, one row per arm or difference."""
    names = list(dict.fromkeys(table["of"]))
    components = list(dict.fromkeys(table["component"]))
    with figure_style():
        figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(names)), layout="constrained")
        axes = figure.subplots()
        for place, component in enumerate(components):
            own = table[table["component"] == component]
            rows = [names.index(name) + 0.16 * (place - (len(components) - 1) / 2) for name in own["of"]]
            color = SOFT if component == IMAGES else ARMS[(place - 1) % len(ARMS)]
            axes.hlines(rows, 0, own["sd"], color=color, linewidth=2.4)
            axes.plot(own["sd"], rows, "o", color=color, markersize=4.5, label=component)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("SD of test AUROC")
        legend_below(figure, axes)
    return figure


def shown_readers(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return each reader's AUROC with each arm; no rows where a reader is a seed."""
    vary, computed = done.study.varied, done.comparison.computed
    if done.terms.reader == SEED:
        return [], []
    labels = [arm.label for arm in done.arms]
    places = [computed.readings.treatments.index(label) for label in labels]
    rows = []
    for column, reader in enumerate(computed.readers):
        shas = list(
            dict.fromkeys(
                str(run.row["weights_sha256"])[:SHA_DIGITS]
                for arm in done.arms
                for run in arm.runs
                if run.reader == reader and run.anew
            )
        )
        values = [computed.value[place, column] for place in places]
        cells = ["" if np.isnan(value) else f"{value:.3f}" for value in values]
        rows.append([reader, *([", ".join(shas)] if vary.weights else []), *cells])
    return [done.terms.reader, *(["sha256"] if vary.weights else []), *labels], rows
