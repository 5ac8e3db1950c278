"""Callbacks that show and measure a run in training: progress, throughput, example images."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchvision.utils import make_grid
from tqdm import tqdm

from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.splits import Batch

log = logging.getLogger(__name__)


class Throughput(Callback):
    """Measures training images per second; opening stages counts, validation and checkpoints do not."""

    def __init__(self) -> None:
        self.images, self.seconds, self._start = 0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Count the images; stop the clock when the device has finished the epoch's last batch."""
        self.images += len(batch.case)
        if batch_idx + 1 == trainer.num_training_batches:
            device = trainer.strategy.root_device
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            self.seconds += time.perf_counter() - self._start

    def state_dict(self) -> dict[str, float]:
        """Return the counts, for the checkpoint of a run that may be resumed."""
        return {"images": self.images, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restore the counts of an earlier process."""
        self.images, self.seconds = int(state_dict["images"]), state_dict["seconds"]

    @property
    def rate(self) -> float | None:
        """Return images per second; `None` if nothing was trained."""
        return self.images / self.seconds if self.seconds else None


class Progress(Callback):
    """Shows one progress bar for all steps of a run; without a bar, one log line per epoch.

    Args:
        bar: Draw the bar (where stderr is a terminal).
    """

    def __init__(self, *, bar: bool) -> None:
        self.bar: tqdm[Any] | None = None
        self.wanted = bar and sys.stderr.isatty()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step where training starts or resumes."""
        if self.wanted:
            total = int(trainer.estimated_stepping_batches)
            self.bar = tqdm(total=total, initial=trainer.global_step, unit="step", dynamic_ncols=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Advance the bar by one step."""
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch's loss and AUROC."""
        metrics = trainer.callback_metrics
        shown = {name: f"{float(metrics[key]):.3f}" for name, key in _SHOWN.items() if key in metrics}
        if self.bar is not None:
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", refresh=False)
            self.bar.set_postfix(shown)
        else:
            figures = ", ".join(f"{name} {value}" for name, value in shown.items())
            log.info("epoch %d/%s: %s", trainer.current_epoch + 1, trainer.max_epochs, figures)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


_SHOWN = {"train loss": "train/loss_epoch", "val loss": "val/loss", "val AUROC": "val/auroc"}


class ExampleImages(Callback):
    """Writes example training images to TensorBoard at the start: positives above negatives.

    Args:
        data: The run's data.
        count: Number of images.
    """

    def __init__(self, data: XrayDataModule, count: int) -> None:
        self.data, self.count = data, count

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the grid of images, unless the run resumes from a checkpoint."""
        if trainer.global_step or not self.count or not isinstance(trainer.logger, TensorBoardLogger):
            return
        batch = next(self.data.mixed_image_batches("train", 4 * self.count))
        positive = batch.truth[:, 0] > 0.5
        half = self.count // 2
        chosen = torch.cat([batch.image[positive][: self.count - half], batch.image[~positive][:half]])
        grid = make_grid(chosen.cpu(), nrow=max(1, self.count - half), padding=2, pad_value=1.0)
        trainer.logger.experiment.add_image("examples/positive above negative", grid, 0)
