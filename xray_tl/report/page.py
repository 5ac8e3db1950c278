"""Report of a sweep: one HTML page that needs no network, and its tables and figures as files; no torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from xray_tl.report import (
    answer,
    curves,
    figures,
    planned_table,
    tables,
    thumbnails,
    training_tables,
    variance_table,
)
from xray_tl.report import board_figures as board
from xray_tl.report.looks import note_look
from xray_tl.report.style import inline_svg, write_figure
from xray_tl.report.tasks import compared, selected, tasks
from xray_tl.statistics.readings import NO_READER
from xray_tl.statistics.verdict import MARGIN
from xray_tl.statistics.wording import few_text, interval_text, marked, next_cases_text
from xray_tl.store.files import write_text
from xray_tl.study.analysis import Interaction, StudyAnalysis, analyse
from xray_tl.study.depths import by_depth
from xray_tl.study.study_folder import Arm

REPORT = "report.html"
PARTS = "report"
"""Folder, beside the page, of its tables and figures."""
MOST_CURVES = 8
"""Largest number of arms in a figure of curves."""
MOST_DIFFERENCES = 15
"""Largest number of pairs in a figure or an open table; if there are more, those of the best arm."""


@dataclass(frozen=True)
class Table:
    """A table of the page: text cells."""

    head: list[str]
    rows: list[list[str]]


def write_report(folder: Path, margin: float = MARGIN) -> Path:
    """Write a sweep's report from its records and predictions alone; return the page's path.

    Args:
        folder: The sweep's folder.
        margin: Largest difference of AUROC that counts as equivalent.

    Raises:
        InputError: There is nothing to report on.
    """
    done = analyse(folder, margin)
    parts = folder / PARTS
    write_text(parts / "arms.csv", tables.arms_table(done).to_csv(index=False))
    write_text(parts / "differences.csv", tables.pairs_table(done).to_csv(index=False))
    if done.comparison.families:
        write_text(parts / "planned.csv", planned_table.planned_table(done).to_csv(index=False))
    if done.comparison.next_cases:
        write_text(parts / "next_images.csv", tables.next_images_table(done).to_csv(index=False))
    if len(done.by_target):
        write_text(parts / "targets.csv", done.by_target.to_csv(index=False))
    variance = variance_table.variance_table(done)
    write_text(parts / "variance.csv", variance.to_csv(index=False))
    drawn = _draw(done)
    if variance_table.shown_variance(variance)[1]:
        drawn["variance"] = variance_table.draw_variance(variance)
    for name, figure in drawn.items():
        write_figure(figure, parts, name)
    inline = {name: inline_svg(figure, name) for name, figure in drawn.items()}
    figures.write_auroc(done.study.runs, folder, _intervals(done))
    done = replace(done, problems=(*done.problems, *note_look(folder, done)))
    write_text(folder / REPORT, _render(done, inline, Table(*variance_table.shown_variance(variance))))
    board.write_arms(folder, done.arms)
    return folder / REPORT


def _draw(done: StudyAnalysis) -> dict[str, Figure]:
    analysis = done.comparison.analysis
    shown, best = _curved(done), done.arms[0]
    several = len(best.targets) > 1
    labels = {arm.label for arm in done.arms}
    runs = done.study.runs[done.study.runs["label"].isin(labels)]
    drawn = {
        "auroc": figures.draw_auroc(runs, _intervals(done)),
        "curves": curves.draw_curves(shown),
        **({"rocs": curves.draw_rocs(shown)} if several else {"roc": curves.draw_roc(shown)}),
        "reliability": curves.draw_reliability(
            [best.only(target, target) for target in best.targets] if several else shown
        ),
    }
    kinds = {pair: verdict.kind for pair, verdict in done.comparison.verdicts.items()}
    if asked := planned_table.intervals(done):
        drawn["planned"] = figures.draw_planned(asked)
    planned = done.comparison.questions
    explored = {pair: found for pair, found in analysis.pairs.items() if pair not in planned}
    all_ = len(explored) <= MOST_DIFFERENCES
    if pairs := {pair: found for pair, found in explored.items() if all_ or best.label in pair}:
        drawn["differences"] = figures.draw_differences(pairs, kinds)
    chosen = {arm.label: analysis.arms[arm.label] for arm in selected(done).values()}
    drawn["task_a"] = figures.draw_estimates(chosen, done.ceiling)
    for name, of_task in compared(done).items():
        if of_task:
            drawn[name] = figures.draw_differences({pair: analysis.pairs[pair] for pair in of_task}, kinds)
    if done.learning:
        drawn["learning_curve"] = figures.draw_learning_curve(done.learning, done.ceiling)
    if series := by_depth(done.arms):
        bounds = figures.Bounds(done.arms[0].mean("floor_pooled_pixels_auroc"), done.ceiling)
        drawn["depth"] = figures.draw_depth(series, analysis.arms, bounds)
    return drawn


def _curved(done: StudyAnalysis) -> list[Arm]:
    """Choose the arms whose curves are drawn: those without options first, then the best."""
    first = sorted(done.arms, key=lambda arm: bool(arm.options))[:MOST_CURVES]
    return [arm for arm in done.arms if arm in first]


def _intervals(done: StudyAnalysis) -> dict[str, tuple[float, float]]:
    found = done.comparison.analysis.arms.items()
    return {label: (estimate.lower, estimate.upper) for label, estimate in found}


def _render(done: StudyAnalysis, svg: Mapping[str, str], variance: Table) -> str:
    environment = Environment(
        loader=PackageLoader("xray_tl.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    first = done.arms[0].runs[0].record
    pairs = Table(*tables.shown_pairs(done))
    return template.render(
        title=done.study.folder.resolve().name,
        answer=answer.sentences(done),
        arms=Table(*tables.shown_arms(done)),
        planned=Table(*planned_table.shown_planned(done)),
        late=planned_table.shown_late(done),
        pairs=pairs,
        leading=Table(pairs.head, [row for row in pairs.rows if done.arms[0].label in row[:2]]),
        confusion=Table(*tables.shown_confusion(done)),
        targets=Table(*tables.shown_targets(done)),
        metric=answer.metric(done),
        sampled=answer.sampled(done),
        runs_of="seeds and folds" if done.arms[0].folds > 1 else "seeds",
        trimmed=len(pairs.rows) > MOST_DIFFERENCES,
        margin=done.comparison.margin,
        rungs=done.ladder is not None,
        second_look=answer.looks(done),
        next_images=next_cases_text(following, done.terms)
        if (following := done.comparison.next_cases)
        else "",
        few=few_text(done.terms) if done.comparison.few_readers else "",
        reader=done.terms.reader,
        readers=Table(*variance_table.shown_readers(done)),
        variance=variance,
        cut=variance_table.CUT,
        scope=answer.scope(done),
        curves=f"{len(_curved(done))} of {len(done.arms)} arms. " if len(done.arms) > MOST_CURVES else "",
        several_seeds=any(len(arm.readers) > 1 for arm in done.arms),
        tuned=all(run.record.get("tuning") for arm in done.arms for run in arm.runs),
        interactions=[_interaction_row(found) for found in done.interactions],
        tasks=tasks(done, _latency(done.study.folder)),
        mistakes=thumbnails.confident_mistakes(done),
        hardest=thumbnails.hardest_cases(done),
        best=done.arms[0].label,
        svg=svg,
        rates=Table(*training_tables.shown_rates(done)),
        audit=_audit(done),
        generated="audit" not in first,
        training=Table(*training_tables.shown_training(done)),
        provenance=_provenance(done),
        command=_command(done.study.folder),
        folder=str(done.study.folder),
        problems=done.problems,
        environment=_environment(done),
        runs=len(done.study.runs),
        complete=int((done.study.runs["status"] == "complete").sum()),
        parts=PARTS,
    )


def _audit(done: StudyAnalysis) -> list[dict[str, Any]]:
    """Return the findings of audits; in a cross-validation, with the folds that have them unless all do."""
    arm = done.arms[0]
    runs = [run for run in arm.runs if run.draw == arm.runs[0].draw]
    found: dict[tuple[str, str, bool], list[int | None]] = {}
    for run in runs:
        for finding in run.record.get("audit") or []:
            key = (finding["kind"], finding["text"], finding["serious"])
            found.setdefault(key, []).append(run.fold)
    return [
        {
            "kind": kind if len(folds) == len(runs) else f"{kind}, fold {', '.join(map(str, folds))}",
            "text": text,
            "serious": serious,
        }
        for (kind, text, serious), folds in found.items()
    ]


def _interaction_row(found: Interaction) -> list[str]:
    estimate = found.estimate
    return [
        f"{found.modes[0]} minus {found.modes[1]}, {found.weights}: {found.first} against {found.second}",
        f"{estimate.value:+.3f}",
        marked(interval_text(estimate.lower, estimate.upper), estimate),
    ]


def _provenance(done: StudyAnalysis) -> Table:
    head = ["arm", "weights", "worth as they are", "sha256", f"{done.terms.reader}s", "data", "recipe"]
    rows = []
    for arm in done.arms:
        row, weights = arm.runs[0].row, arm.runs[0].record.get("weights") or {}
        folds = f" x {arm.folds} folds" if arm.folds > 1 else ""
        rows.append(
            [
                arm.label,
                f"{weights.get('source', '')}, {weights.get('name', '')}"
                + (f", {weights['image_size']} px" if weights.get("image_size") else ""),
                _worth(weights.get("quality")),
                ", ".join(dict.fromkeys(str(run.row["weights_sha256"] or "")[:12] for run in arm.runs)),
                ("solved" if arm.readers == [NO_READER] else ", ".join(arm.readers)) + folds,
                str(row["test_set"] if arm.folds > 1 else row["data_hash"])[:12],
                str(row["arm_hash"])[:12],
            ]
        )
    return Table(head, rows)


def _worth(quality: dict[str, Any] | None) -> str:
    """Return what a frozen trunk reaches on the reference task with its initial weights, beside pixels."""
    if quality is None:
        return ""
    return f"{quality['auroc']:.3f} ± {quality['auroc_se']:.3f} (pixels {quality['pooled_pixels']:.3f})"


def _environment(done: StudyAnalysis) -> dict[str, str]:
    """Return the environment of the runs; values that differ between runs are listed together."""
    values: dict[str, list[str]] = {}
    for run in (run for arm in done.arms for run in arm.runs):
        for key, value in (run.record.get("environment") or {}).items():
            if value is not None and str(value) not in values.setdefault(key, []):
                values[key].append(str(value))
    return {key: " and ".join(found) for key, found in values.items()}


def _command(folder: Path) -> str:
    """Return the sweep's command as Hydra stored it; empty if it is not found."""
    try:
        overrides = OmegaConf.load(folder / "multirun.yaml").hydra.overrides
        given = [*overrides.hydra, *overrides.task]
    except (OSError, YAMLError, OmegaConfBaseException):
        return ""
    kept = [str(option) for option in given if not str(option).startswith("hydra.mode=")]
    return f"python -m xray_tl.train -m {shlex.join(kept)}"


def _latency(folder: Path) -> dict[str, float]:
    """Return the latencies that `bench` wrote into this folder; empty if there are none."""
    try:
        measured = json.loads((folder / "bench.json").read_text(encoding="utf-8"))
        return {str(row["model"]): float(row["latency_p50_ms"]) for row in measured}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
