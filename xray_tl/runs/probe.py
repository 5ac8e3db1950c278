"""Linear probe solved to its optimum with L-BFGS: no epochs, no sampling order, no training noise."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS

from xray_tl.errors import RunError
from xray_tl.runs.parts import Parts
from xray_tl.statistics.metrics import auroc
from xray_tl.store.files import atomic_path
from xray_tl.training.objective import Objective

log = logging.getLogger(__name__)

GRADIENT = 1e-7
"""Largest absolute entry of the gradient at a point that counts as the solution."""

ITERATIONS = 5000
"""Largest number of iterations; 100 to 200 are usual."""


def fit_head(parts: Parts, path: Path) -> None:
    """Solve the head of a frozen backbone on all training images at once and write it as a checkpoint.

    Args:
        parts: The run; its data load what the backbone takes as input, and its standardiser is fitted.
        path: File of the checkpoint.

    Raises:
        RunError: No optimum was found.
    """
    task = parts.task
    task.on_fit_start()
    task.classifier.to(parts.device).eval()
    features, truth = _features(parts, "train")
    optim = parts.settings.optim
    train_loss, iterations = solve(task.classifier.head, task.objective, features, truth, optim.weight_decay)
    log.info("head solved in %d iterations: train loss %.4f", iterations, train_loss)
    task.history.append({"epoch": 0, "train_loss": train_loss, "lr": float("nan"), **_validate(parts)})
    checkpoint: dict[str, Any] = {"state_dict": task.state_dict(), "epoch": 0, "global_step": 0}
    task.on_save_checkpoint(checkpoint)
    with atomic_path(path) as partial:
        torch.save(checkpoint, partial)


def solve(
    head: nn.Linear, objective: Objective, features: Tensor, truth: Tensor, penalty: float
) -> tuple[float, int]:
    """Minimise the objective plus half the penalty times the squared weights; biases are not penalised.

    It starts from zero and computes in double precision, so that the result depends on no seed and no order.
    L-BFGS with a strong Wolfe line search: Nocedal & Wright, Numerical Optimization, 2006, chapters 3 and 7.

    Args:
        head: Takes the solution; D features in, T logits out.
        objective: The loss.
        features: Standardised features [N, D].
        truth: Truth [N, T].
        penalty: Strength of the penalty, more than 0: without one a separable data set has no optimum.

    Returns:
        The loss without the penalty, and how many iterations it took.

    Raises:
        RunError: No optimum was found.
    """
    features, truth = features.cpu().double(), truth.cpu().double()
    loss_of = copy.deepcopy(objective).to("cpu", torch.float64)
    weight = torch.zeros(head.out_features, head.in_features, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(head.out_features, dtype=torch.float64, requires_grad=True)
    optimizer = LBFGS(
        (weight, bias),
        max_iter=ITERATIONS,
        max_eval=2 * ITERATIONS,
        tolerance_grad=GRADIENT,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = loss_of(features @ weight.T + bias, truth) + penalty / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch has no type for it
    closure()
    steepest = max(float(p.grad.abs().max()) for p in (weight, bias) if p.grad is not None)
    if not steepest <= GRADIENT:
        raise RunError(
            f"optim=lbfgs found no optimum in {ITERATIONS} iterations (gradient {steepest:.1e}): raise "
            f"optim.weight_decay={penalty:g}"
        )
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
        loss = float(loss_of(features @ weight.T + bias, truth))
    return loss, int(optimizer.state[weight]["n_iter"])


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
def _validate(parts: Parts) -> dict[str, float]:
    features, truth = _features(parts, "val")
    logits = parts.task.classifier.head(features).cpu()
    return {
        "val_loss": float(parts.task.objective(logits, truth.cpu())),
        "val_auroc": auroc(truth.cpu().double().numpy(), logits.double().numpy()),
    }
