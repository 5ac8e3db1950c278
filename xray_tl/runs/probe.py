"""The solved head of a run: the best linear head on its features, in place of training or beside it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xray_tl.errors import InputError, RunError
from xray_tl.models.classifier import Standardiser
from xray_tl.runs.parts import Parts, fit_standardiser
from xray_tl.runs.predictions import Predictions
from xray_tl.statistics.metrics import auroc
from xray_tl.store.files import atomic_path
from xray_tl.training.linear_probe import LinearProbe, solve_probe
from xray_tl.training.patient_folds import patient_folds

log = logging.getLogger(__name__)

STARTS_SOLVED = ("lp_ft", "gradual")
"""Modes whose head starts from the solution on the features of the initial weights."""


MOST_FEATURES = 2e7
"""Largest number of entries of the training features of which a trained run solves the head, to compare."""


def _entries(parts: Parts) -> int:
    """Count the entries of the features of all training images."""
    return parts.task.classifier.backbone.num_features * parts.data.sizes["train"]


def _gigabytes(parts: Parts) -> float:
    """Return about how much memory it takes to solve the head: the features six times in float64."""
    return 48e-9 * _entries(parts)


def to_compare(parts: Parts) -> tuple[str, ...]:
    """Return the splits whose final features are kept, to compare a trained head with the solved one."""
    if parts.settings.mode.is_solved:
        return ()
    if _gigabytes(parts) > parts.data.config.memory_limit_gb or _entries(parts) > MOST_FEATURES:
        log.info("the trained head is not compared with the solved one: there are too many features for that")
        return ()
    return ("train", "val")


def check_solvable(parts: Parts) -> None:
    """Check that the memory for a solved head is there, before features are computed.

    Raises:
        InputError: It is not.
    """
    limit = parts.data.config.memory_limit_gb
    if parts.settings.mode.is_solved and _gigabytes(parts) > limit:
        raise InputError(
            f"mode.head=solved takes about {_gigabytes(parts):.2g} GB for {parts.data.sizes['train']} "
            f"training images: raise data.memory_limit_gb={limit:g}, or choose mode.head=trained"
        )


def solve_head(parts: Parts) -> LinearProbe:
    """Put the best linear head on the features of the training images into a run's classifier.

    Args:
        parts: The run; its data load what the backbone takes as input, and its standardiser is fitted.

    Raises:
        RunError: No optimum was found.
    """
    classifier = parts.task.classifier.to(parts.device).eval()
    found = _solved(parts, *_features(parts, "train"))
    with torch.no_grad():
        classifier.head.weight.copy_(torch.from_numpy(found.weight))
        classifier.head.bias.copy_(torch.from_numpy(found.bias))
    return found


def start_head(parts: Parts) -> None:
    """Fit the standardiser of a new run, and solve its head where the mode starts from the solution.

    Raises:
        RunError: No optimum was found.
    """
    fit_standardiser(parts)
    if parts.settings.mode.name in STARTS_SOLVED:
        solve_head(parts)


def fit_head(parts: Parts, path: Path) -> tuple[dict[str, Any], LinearProbe]:
    """Solve the head of a frozen backbone, write it as a checkpoint; return its description and itself.

    Args:
        parts: The run, as for `solve_head`.
        path: File of the checkpoint.

    Raises:
        RunError: No optimum was found.
    """
    task = parts.task
    task.on_fit_start()
    found = solve_head(parts)
    scored = {split: _loss_and_auroc(parts, split) for split in ("train", "val")}
    task.history.append(
        {
            "epoch": 0,
            "train_loss": scored["train"][0],
            "val_loss": scored["val"][0],
            "val_auroc": scored["val"][1],
            "lr": float("nan"),
        }
    )
    log.info(
        "head solved: L2 %s, largest gradient %.0e, train loss %.4f",
        ", ".join(f"{value:g}" for value in np.unique(found.penalty)),
        found.gradient,
        scored["train"][0],
    )
    checkpoint: dict[str, Any] = {"state_dict": task.state_dict(), "epoch": 0, "global_step": 0}
    task.on_save_checkpoint(checkpoint)
    with atomic_path(path) as partial:
        torch.save(checkpoint, partial)
    described = {
        "kind": "solved",
        "penalty": found.penalty.tolist(),
        "grid": found.grid.tolist(),
        "held_out_loss": _listed(found.held_out_loss),
        "held_out_auroc": _listed(found.held_out_auroc),
        "gradient": found.gradient,
        "iterations": found.iterations,
    }
    return described, found


def describe_trained_head(parts: Parts, splits: dict[str, Predictions]) -> dict[str, Any]:
    """Compare a trained head with the solved one on the same final features, for the record.

    Args:
        parts: The run, tested.
        splits: Its predictions; `train` and `val` have their features, where the two are to be compared.
    """
    train, val = splits["train"], splits["val"]
    described: dict[str, Any] = {
        "kind": "trained",
        "start": "solved" if parts.settings.mode.name in STARTS_SOLVED else "random",
    }
    if train.features is None or val.features is None:
        return described
    standardiser = Standardiser(train.features.shape[1]).fit(torch.from_numpy(train.features))
    known, new = (standardiser(torch.from_numpy(features)) for features in (train.features, val.features))
    try:
        found = _solved(parts, known, torch.from_numpy(train.truth))
    except RunError as error:  # the run is finished, and this only describes it
        log.warning("the trained head is not compared with the solved one: %s", error)
        return described
    logit = new.double().numpy() @ found.weight.T + found.bias
    reached, best = auroc(val.truth, val.logit), auroc(val.truth, logit)
    return described | {
        "penalty": found.penalty.tolist(),
        "val_auroc": reached,
        "solved_val_auroc": best,
        "behind_solved": best - reached,
    }


def _solved(parts: Parts, features: Tensor, truth: Tensor) -> LinearProbe:
    """Solve the head on standardised features [N, D] of the training images with their truth [N, T]."""
    objective, kind = parts.task.objective, parts.data.targets.kind
    targets, weights = objective.entries(truth)
    folds = patient_folds(truth.cpu().double().numpy(), parts.data.patients("train"), kind)
    if folds is None and parts.settings.mode.is_solved:
        log.warning("too few patients of a class for a cross-validation: the head's L2 is a default")
    return solve_probe(features.cpu().double().numpy(), targets, weights, kind, folds)


@torch.no_grad()
def _features(parts: Parts, split: str) -> tuple[Tensor, Tensor]:
    """Return a split's standardised features [N, D] and truth [N, T]."""
    classifier = parts.task.classifier
    with parts.autocast():
        batches = [
            (classifier.standardiser(classifier.features(batch.image.to(parts.device))), batch.truth)
            for batch in parts.data.ordered_dataloader(split)
        ]
    features, truth = (torch.cat(column) for column in zip(*batches, strict=True))
    return features, truth


@torch.no_grad()
def _loss_and_auroc(parts: Parts, split: str) -> tuple[float, float]:
    features, truth = _features(parts, split)
    logits = parts.task.classifier.head(features)
    loss = float(parts.task.objective.to(parts.device)(logits, truth.to(parts.device)))
    return loss, auroc(truth.cpu().double().numpy(), logits.cpu().double().numpy())


def _listed(path: NDArray[np.float64] | None) -> list[list[float]] | None:
    return None if path is None else path.tolist()
