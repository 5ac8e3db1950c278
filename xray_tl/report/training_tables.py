"""Tables of how the arms were trained: how much of a backbone, how long, and at which rates; no torch."""

from __future__ import annotations

import numpy as np

from xray_tl.study.analysis import StudyAnalysis
from xray_tl.study.study_folder import Arm, Run


def training_of(arm: Arm) -> dict[str, float]:
    """Return epochs, images an epoch, and the mean share of the backbone that training went through.

    Of a solved head they are 0: no image passes through the backbone to train it.
    """
    if arm.is_solved:
        return {"epochs": 0.0, "images_per_epoch": 0.0, "share_trained": 0.0}
    shares = [run.record.get("shares_behind") or [np.nan] for run in arm.runs]
    images = (arm.runs[0].record.get("sizes") or {}).get("train", np.nan)
    return {
        "epochs": float(np.mean([len(each) for each in shares])),
        "images_per_epoch": float(images),
        "share_trained": float(np.mean(np.concatenate(shares))),
    }


def shown_training(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of how much of the backbone each arm trained, and how long."""
    head = ["arm", "epochs", "images an epoch", "share of the backbone", "passes"]
    rows = []
    for arm in done.arms:
        epochs, images, share = training_of(arm).values()
        if not epochs:
            rows.append([arm.label, "none: solved", "", "", "0"])
        elif not np.isnan(images * share):
            shown = [f"{epochs:g}", f"{images:g}", f"{100 * share:.0f} %", f"{epochs * images * share:.0f}"]
            rows.append([arm.label, *shown])
    return head, rows


def shown_rates(done: StudyAnalysis) -> tuple[list[str], list[list[str]]]:
    """Return the search of learning rates: each arm's mean validation AUROC for each pair that was tried."""
    found = {
        _searched(arm, run): run.record.get("tuning")
        for arm in done.arms
        for run in arm.runs
        if run.draw == arm.runs[0].draw or arm.varies_training_sets or arm.varies_weights
    }
    tunings = {label: tuning for label, tuning in found.items() if tuning}
    pairs = list(dict.fromkeys(tuple(pair) for tuning in tunings.values() for pair in tuning["rates"]))
    head = ["arm", *(f"{backbone:g} / {head:g}" for backbone, head in pairs), "chosen", "seeds"]
    rows = []
    for label, tuning in tunings.items():
        mean = {
            tuple(pair): np.mean([np.nan if value is None else value for value in values])
            for pair, values in zip(tuning["rates"], tuning["val_auroc"], strict=True)
        }
        cells = ["" if pair not in mean else _or_diverged(mean[pair]) for pair in pairs]
        backbone, rate = tuning["chosen"]
        seeds = ", ".join(map(str, tuning["seeds"]))
        rows.append([label, *cells, f"{backbone:g} / {rate:g}", seeds])
    return head, rows


def _searched(arm: Arm, run: Run) -> str:
    """Return the label of a search of learning rates: arm, and what of fold, weights, training set varies."""
    name = arm.label if arm.folds == 1 else f"{arm.label}, fold {run.fold}"
    if arm.varies_weights:
        name += f", weights {run.draw.weights}"
    return f"{name}, training set {run.draw.training_set}" if arm.varies_training_sets else name


def _or_diverged(auroc: float) -> str:
    return "diverged" if np.isnan(auroc) else f"{auroc:.3f}"
