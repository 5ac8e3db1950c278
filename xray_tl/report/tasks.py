"""Answers to the five questions of the original course report, from a study; no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from xray_tl.report.answer import pair_text, planned_text
from xray_tl.report.gap_answer import gap_sentences
from xray_tl.statistics.estimates import Estimate
from xray_tl.statistics.verdict import Pair
from xray_tl.statistics.wording import (
    Terms,
    difference_text,
    interval_text,
    with_few,
)
from xray_tl.study.analysis import Interaction, StudyAnalysis
from xray_tl.study.depths import DEPTH
from xray_tl.study.study_folder import Arm

HEAD = "mode.head"
DIFFERENCES = "Difference of test AUROC, first minus second, with its 95 % interval; grey: undecided."

Name = Mapping[str, str]
"""An arm's model, mode and weights."""


@dataclass(frozen=True)
class Task:
    """One of the five questions, with its answer.

    Attributes:
        letter: A to E.
        title: Its title.
        answer: Sentences from this study; empty where it has no arms for the question.
        original: What the original report found.
        supported: Whether its data could support that.
        figure: Name of the figure that belongs to it.
        caption: Caption of that figure.
    """

    letter: str
    title: str
    answer: tuple[str, ...]
    original: str
    supported: str
    figure: str
    caption: str


def tasks(done: StudyAnalysis, latency: dict[str, float]) -> list[Task]:
    """Answer the five questions as far as a study can.

    Args:
        done: The analysed study.
        latency: Backbone -> median milliseconds for one image, where it was measured.
    """
    return [
        Task(
            "A",
            "Model selection",
            tuple(_selection(done, latency)),
            "Inference takes 578 ms with ResNet50 and 617 ms with VGG16.",
            "No: one figure each, without batch, hardware or repeats. VGG16 needs 3.8 times the "
            "multiply-adds of ResNet50 at 224 px; a difference of 7 % measures something else.",
            "task_a",
            "Test AUROC of each backbone's best arm on validation images, 95 % interval; red: the ceiling.",
        ),
        Task(
            "B",
            "Fine-tuning: everything trains",
            tuple(_verdicts(done, "task_b")),
            "Test accuracy 54.5 % with ResNet50, 46.0 % with VGG16.",
            "No: one run each on about 200 images, p = 0.09; neither differs from chance.",
            "task_b",
            DIFFERENCES,
        ),
        Task(
            "C",
            "Fixed feature extraction: a linear head on a frozen backbone",
            tuple(_verdicts(done, "task_c")),
            "Test accuracy 50.0 % with ResNet50, 54.0 % with VGG16.",
            "No: p = 0.42; neither differs from chance.",
            "task_c",
            DIFFERENCES,
        ),
        Task(
            "D",
            "Fine-tuning against feature extraction",
            tuple(_between_modes(done)),
            "ResNet50 reaches 93.0 % fine-tuned and 55.5 % frozen.",
            "Of those two runs, yes; of the two methods, no: the same fine-tuned configuration stands at "
            "54.5 % and 85.0 % elsewhere in the report, and no seed is named.",
            "task_d",
            DIFFERENCES,
        ),
        Task(
            "E",
            "The gap between training and test",
            tuple(gap_sentences(done)),
            "Training accuracy 85.5 %, test accuracy 85.0 %; blamed on overfitting, distribution shift, "
            "data-set size and architecture.",
            "No: the gap is 0.5 points with a standard error of 2.5. None of the causes was tested.",
            "learning_curve",
            "Test AUROC over the number of training images, 95 % intervals.",
        ),
    ]


def selected(done: StudyAnalysis) -> dict[str, Arm]:
    """Return each backbone's arm with the best validation AUROC (task A)."""
    by_model: dict[str, list[Arm]] = {}
    for arm in done.arms:
        by_model.setdefault(arm.name["model"], []).append(arm)
    return {model: max(arms, key=lambda arm: arm.validation) for model, arms in by_model.items()}


def compared(done: StudyAnalysis) -> dict[str, list[Pair]]:
    """Return the pairs of arms that tasks B to D compare, by the names of their figures."""
    return {
        "task_b": _of_whole(done, _asked(done, partial(_other_model, "finetune"))),
        "task_c": _of_whole(done, _asked(done, partial(_other_model, "frozen"))),
        "task_d": _asked(done, _other_mode),
    }


def _selection(done: StudyAnalysis, latency: dict[str, float]) -> Iterator[str]:
    for model, arm in selected(done).items():
        among = sum(other.name["model"] == model for other in done.arms)
        estimate = done.comparison.analysis.arms[arm.label]
        ms = f"; {latency[model]:.0f} ms for one image" if model in latency else ""
        chosen = f"best of {among} arms on validation images" if among > 1 else "its only arm"
        if among > 1 and arm.validation == -math.inf:
            chosen = f"first of {among} arms, none of which has a result on validation images"
        seconds = arm.mean("fit_s")
        cost = "unknown time" if seconds != seconds else f"{seconds:.{0 if seconds >= 10 else 1}f} s"
        what = "its head, features kept" if arm.name["mode"] == "frozen" else "it"
        yield (
            f"{model}: {arm.label}, {chosen}, has a test AUROC of {estimate.value:.3f} "
            f"({_span(estimate, done.terms)}); {cost} to train "
            f"{what}{ms}."
        )


def _other_model(mode: str, first: Name, second: Name) -> bool:
    same = first["mode"] == second["mode"] == mode and first["weights"] == second["weights"]
    return same and first["model"] != second["model"]


def _other_mode(first: Name, second: Name) -> bool:
    same = all(first[key] == second[key] for key in ("model", "weights"))
    return same and {first["mode"], second["mode"]} == {"finetune", "frozen"}


def _between_modes(done: StudyAnalysis) -> Iterator[str]:
    yield from _verdicts(done, "task_d")
    for found in done.interactions:
        if set(found.modes) == {"finetune", "frozen"}:
            yield _interaction(done, found)


def _verdicts(done: StudyAnalysis, task: str) -> Iterator[str]:
    for pair in compared(done)[task]:
        yield pair_text(done, pair)


def _asked(done: StudyAnalysis, asked: Callable[[Name, Name], bool]) -> list[Pair]:
    """Return the pairs that a condition selects: of arms without options if there are any, else all."""
    arms = {arm.label: arm for arm in done.arms}
    found = [(a, b) for a, b in done.comparison.verdicts if asked(arms[a].name, arms[b].name)]
    plain = [(a, b) for a, b in found if not arms[a].options and not arms[b].options]
    return plain or found


def _of_whole(done: StudyAnalysis, found: list[Pair]) -> list[Pair]:
    """Return the pairs of whole networks whose heads were found in the same way, if there are any, else all.

    Depths have a figure of their own.
    """
    arms = {arm.label: arm.settings for arm in done.arms}
    alike = [(a, b) for a, b in found if arms[a].get(HEAD) == arms[b].get(HEAD)] or found
    return [(a, b) for a, b in alike if arms[a].get(DEPTH) is arms[b].get(DEPTH) is None] or alike


def _interaction(done: StudyAnalysis, found: Interaction) -> str:
    return (
        f"What fine-tuning gains over freezing, {found.first} against {found.second} "
        f"({found.weights} weights): {difference_text(found.estimate, done.terms)}"
        f"{planned_text(done, found.contrast)}."
    )


def _span(estimate: Estimate, terms: Terms) -> str:
    return with_few(interval_text(estimate.lower, estimate.upper), estimate, terms)
