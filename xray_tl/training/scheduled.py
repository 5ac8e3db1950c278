"""Base class of all trained modules: a learning-rate schedule per step, and gradient clipping."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from xray_tl.config import OptimConfig
from xray_tl.training.optim import rate_factor


class ScheduledModule(LightningModule):
    """LightningModule whose optimizer groups hold their full learning rate as `full_lr`.

    Args:
        optim: Warm-up, schedule and clipping.
    """

    def __init__(self, optim: OptimConfig) -> None:
        super().__init__()
        self.optim = optim

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  (each module's own batch)
        """Set the learning rates of this step."""
        factor = rate_factor(self.global_step, int(self.trainer.estimated_stepping_batches), self.optim)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the whole gradient; Lightning's own refuses a fused optimizer under autocast."""
        if self.optim.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            clip_grad_norm_(parameters, self.optim.clip_norm)
