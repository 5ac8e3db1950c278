"""Objective of training: loss and probabilities for binary, multi-class and multi-label targets."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from xray_tl.config import OptimConfig
from xray_tl.data.splits import Targets


class Objective(nn.Module):
    """Loss and probabilities of logits [B, T] against truth [B, T].

    `binary` and `multilabel`: mean binary cross-entropy over the entries whose truth is known (not NaN).
    `multiclass`: cross-entropy over the columns, truth one-hot. With class weights `balanced`, each class
    counts by its inverse frequency in training, so that the weights average to 1 over the training images.
    """

    positive_weight: Tensor
    negative_weight: Tensor

    def __init__(self, targets: Targets, optim: OptimConfig, positives: Tensor) -> None:
        """Build the objective; `positives` [T] is the share of training images in each column."""
        super().__init__()
        self.multiclass = targets.kind == "multiclass"
        self.smoothing = optim.label_smoothing
        ones = torch.ones(len(targets.names))
        positive, negative = ones, ones
        if optim.class_weights == "balanced":
            columns = len(targets.names) if self.multiclass else 2
            shares = (positives, 1 - positives)
            # a class without training images has weight 0: in other splits it adds nothing to the loss
            positive, negative = (torch.where(s > 0, 1 / (columns * s), 0.0) for s in shares)
        self.register_buffer("positive_weight", positive, persistent=False)
        self.register_buffer("negative_weight", negative, persistent=False)

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.multiclass:
            each = F.cross_entropy(logits, truth, reduction="none", label_smoothing=self.smoothing)
            return (each * (truth @ self.positive_weight)).mean()
        known = truth.isfinite()
        weight = torch.where(truth > 0.5, self.positive_weight, self.negative_weight)
        weight = torch.where(known, weight, 0.0)  # an entry of unknown truth counts nothing
        smooth = truth.nan_to_num() * (1 - self.smoothing) + self.smoothing / 2
        total = F.binary_cross_entropy_with_logits(logits, smooth, weight, reduction="sum")
        return total / known.sum().clamp(min=1)

    def entries(self, truth: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the loss compares the logits with, and with which weight, both [N, T].

        The loss is the sum of weight times cross-entropy, divided by the number of entries (multi-class:
        rows) of known truth. A weight of 0: the truth is not known.
        """
        exact = truth.cpu().double()
        positive, negative = self.positive_weight.cpu().double(), self.negative_weight.cpu().double()
        if self.multiclass:
            spread = self.smoothing / exact.shape[1]
            weight = (exact @ positive)[:, None].expand_as(exact)
            return (exact * (1 - self.smoothing) + spread).numpy(), weight.numpy()
        weight = torch.where(exact > 0.5, positive, negative).where(exact.isfinite(), 0.0)
        smooth = exact.nan_to_num() * (1 - self.smoothing) + self.smoothing / 2
        return smooth.numpy(), weight.numpy()

    def probability(self, logits: Tensor) -> Tensor:
        """Return probabilities [B, T] in double precision: in float32, confident cases would become equal."""
        exact = logits.cpu().double()  # MPS has no float64
        return exact.softmax(1) if self.multiclass else exact.sigmoid()
