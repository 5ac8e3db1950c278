"""LightningModule of a run: a classifier trained under a freeze policy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torchmetrics.functional.classification import binary_accuracy

from xray_tl.config import ModeConfig, OptimConfig
from xray_tl.data.splits import Batch
from xray_tl.errors import RunError
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.freeze import FreezePolicy
from xray_tl.models.trainable import Trainable
from xray_tl.seeding import seed_everything
from xray_tl.statistics.metrics import auroc
from xray_tl.store.records import SCHEMA
from xray_tl.training.augmentation import Augment
from xray_tl.training.objective import Objective
from xray_tl.training.optim import add_trainable, build_optimizer
from xray_tl.training.scheduled import ScheduledModule

log = logging.getLogger(__name__)


class TransferTask(ScheduledModule):
    """Trains the head and what the policy names of the backbone; images [B, 1, H, W] in [0, 1].

    Args:
        classifier: Backbone and head.
        objective: Loss and probabilities.
        policy: What of the backbone trains in which epoch.
        mode: The head's learning rate.
        optim: The backbone's learning rate, weight decay and schedule.
        seed: Everything random in an epoch depends on (seed, epoch).
        weights_sha256: Hash of the backbone as loaded; every checkpoint stores it.
        augment: Augments training images [B, 1, H, W]; `None` without augmentation.
    """

    def __init__(
        self,
        classifier: XrayClassifier,
        objective: Objective,
        policy: FreezePolicy,
        mode: ModeConfig,
        optim: OptimConfig,
        seed: int,
        weights_sha256: str,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(optim)
        self.classifier, self.objective, self.policy = classifier, objective, policy
        self.mode, self.seed, self.weights_sha256 = mode, seed, weights_sha256
        self.augment = augment
        self.history: list[dict[str, float]] = []
        self.on_open: Callable[[Trainable], None] = lambda now: None  # called whenever more trains
        self.classifier.backbone.open(policy.trains(0))
        self._outputs: list[tuple[Tensor, Tensor]] = []
        self._losses: list[Tensor] = []
        # Hash, before training, of the tensors that never train. Checkpoints keep it, and the training time.
        self.frozen_before: str | None = None
        self.data_hash: str | None = None  # hash of the data set's images and labels
        self._fit_s, self._fit_start = 0.0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Score images [B, 1, H, W]: logits [B, T] in fp32."""
        return self.classifier(images)

    # ------------------------------------------------------------------ steps

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a training batch."""
        if self.augment is not None:
            batch = batch._replace(image=self.augment(batch.image))
        loss, _ = self._shared_step(batch, "train")
        self._losses.append(loss.detach() * len(batch.case))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect a validation batch."""
        _, logits = self._shared_step(batch, "val")
        self._outputs.append((logits, batch.truth))

    def predict_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return case [B], truth [B, T] and logits [B, T]."""
        return batch.case.cpu(), batch.truth.cpu(), self(batch.image).cpu()

    def _shared_step(self, batch: Batch, stage: str) -> tuple[Tensor, Tensor]:
        logits = self(batch.image)
        loss = self.objective(logits, batch.truth)
        self.log(f"{stage}/loss", loss, on_step=stage == "train", on_epoch=True, batch_size=len(batch.case))
        return loss, logits

    # ------------------------------------------------------------------ epochs

    @property
    def fit_s(self) -> float:
        """Return the seconds spent in training so far, those of earlier processes included."""
        return self._fit_s + time.perf_counter() - self._fit_start

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._fit_start = time.perf_counter()

    def on_train_epoch_start(self) -> None:
        """Reseed from (seed, epoch) and open what the policy opens now."""
        seed_everything("epoch", self.seed, self.current_epoch)
        self._losses.clear()
        backbone = self.classifier.backbone
        before, asked = backbone.trainable, self.policy.trains(self.current_epoch)
        now = before | asked
        if now != before:
            backbone.open(now)
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert isinstance(optimizer, AdamW)
            add_trainable(optimizer, self.classifier, self.policy, self.optim, before=before)
            log.info(
                "epoch %d: %d of %d stages train", self.current_epoch, len(now.stages), backbone.num_stages
            )
            self.on_open(now)
        self.train()  # Lightning's fit does not call it, and computing features has set eval mode

    def on_validation_epoch_start(self) -> None:
        """Stop the run if its training loss is not finite.

        Raises:
            RunError: The loss is NaN or infinite; names the epoch.
        """
        self._outputs.clear()
        self._check_finite(self._train_loss(), "training loss")

    def on_validation_epoch_end(self) -> None:
        """Score the whole validation split; AUROC needs all of it at once.

        Raises:
            RunError: A score is NaN or infinite; names the epoch.
        """
        logits, truth = (torch.cat(parts).cpu() for parts in zip(*self._outputs, strict=True))
        self._outputs.clear()
        self._check_finite(float(logits.sum()), "validation scores")
        # In double precision, as in the record: otherwise float32 rounding would decide between equal epochs.
        self.log("val/auroc", auroc(truth.double().numpy(), logits.double().numpy()))
        known = truth.isfinite()
        probability = self.objective.probability(logits)
        self.log("val/accuracy", binary_accuracy(probability[known], truth[known].long()))

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the run's history, and its learning rates to the log."""
        metrics = self.trainer.callback_metrics
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
        for name, rate in rates.items():
            if not name.endswith("_no_decay"):
                self.log(f"lr/{name}", rate)
        self.history.append(
            {
                "epoch": self.current_epoch,
                "train_loss": self._train_loss(),
                "val_loss": float(metrics["val/loss"]),
                "val_auroc": float(metrics["val/auroc"]),
                "lr": next(iter(rates.values())),
            }
        )

    def _check_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise RunError(
                f"the {what} became {value} in epoch {self.current_epoch}: "
                "lower optim.lr and mode.head_lr, or set optim.clip_norm"
            )

    def _train_loss(self) -> float:
        count = len(self.trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        return float(torch.stack(self._losses).sum()) / count if self._losses else 0.0

    # ------------------------------------------------------------------ optimizer and checkpoints

    def configure_optimizers(self) -> AdamW:
        """Build the optimizer for the parameters that train now; those that open later are added then."""
        return build_optimizer(self.classifier, self.policy, self.mode, self.optim)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove parameters that never train (they are the initial weights); add the run's own fields."""
        left_out = self._never_trained()
        for key in left_out:
            del checkpoint["state_dict"][key]
        checkpoint["holds_all"] = not left_out
        checkpoint["schema"] = SCHEMA
        checkpoint["weights_sha256"] = self.weights_sha256
        checkpoint["frozen_before"] = self.frozen_before
        checkpoint["data_hash"] = self.data_hash
        checkpoint["fit_s"] = self.fit_s
        checkpoint["trainable"] = self.classifier.backbone.trainable.as_dict()
        checkpoint["scale_and_shift"] = self.classifier.backbone.scale_and_shift()
        checkpoint["history"] = list(self.history)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Open what had trained before the optimizer is built; fill in the parameters that were left out."""
        backbone = self.classifier.backbone
        backbone.open(Trainable.of_checkpoint(checkpoint, backbone.num_stages))
        if "scale_and_shift" in checkpoint:  # older checkpoints use the backbone's own
            backbone.use_scale_and_shift(checkpoint["scale_and_shift"])
        self.history = list(checkpoint["history"])
        self.frozen_before, self._fit_s = checkpoint["frozen_before"], checkpoint["fit_s"]
        if not checkpoint["holds_all"]:  # earlier versions left out what their own schedule never opened
            own = {key: tensor for key, tensor in self.state_dict().items() if _is_trunk(key)}
            checkpoint["state_dict"] = own | checkpoint["state_dict"]

    def _never_trained(self) -> list[str]:
        """Return the names of parameters that never train, below this module."""
        backbone = self.classifier.backbone
        trained = backbone.names(self.policy.at_end)
        return [f"classifier.backbone.{n}" for n, _ in backbone.named_parameters() if n not in trained]


def _is_trunk(key: str) -> bool:
    """Tell whether a tensor of a task is the backbone's, whose initial weights are loaded already."""
    return key.startswith("classifier.backbone.")
