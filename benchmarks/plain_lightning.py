"""What one would write with Lightning alone: a module, two loaders, a checkpoint; for comparison.

    python benchmarks/plain_lightning.py --model resnet50 --mode finetune --image-size 64 --seeds 1

The same radiographs, batches, epochs and optimizer as the project's run with the same options.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from plain_torch import build, load, parse, train_mode
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAUROC

from xray_tl.store.allocator import keep_large_blocks

Pair = tuple[Tensor, Tensor]


class Classifier(lightning.LightningModule):
    """A torchvision network with one logit."""

    def __init__(self, model: str, mode: str, weights: Path | None) -> None:
        super().__init__()
        self.mode = mode
        self.net, self.trained = build(model, mode, weights)
        self.auroc = nn.ModuleDict({"val": BinaryAUROC(), "test": BinaryAUROC()})

    def on_train_epoch_start(self) -> None:
        """Hold what is frozen in evaluation."""
        train_mode(self.net, self.mode)

    def training_step(self, batch: Pair, batch_idx: int) -> Tensor:
        """Return the loss."""
        loss = binary_cross_entropy_with_logits(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Pair, batch_idx: int) -> None:
        """Collect scores."""
        self._score("val", batch)

    def test_step(self, batch: Pair, batch_idx: int) -> None:
        """Collect scores."""
        self._score("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over what trains."""
        return torch.optim.AdamW(self.trained, lr=1e-3, fused=True)

    def _score(self, split: str, batch: Pair) -> None:
        self.auroc[split](self.net(batch[0])[:, 0], batch[1][:, 0].long())
        self.log(f"{split}_auroc", self.auroc[split], on_epoch=True)


def main() -> None:
    """Train every seed and print its test AUROC."""
    options = parse()
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    keep_large_blocks()
    sizes = {"train": options.train, "val": options.val, "test": options.test}
    loaders = {
        split: DataLoader(
            TensorDataset(*load(split, count, options.image_size)), options.batch, shuffle=split == "train"
        )
        for split, count in sizes.items()
    }
    for seed in range(options.seeds):
        lightning.seed_everything(seed)
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(
                max_epochs=options.epochs,
                accelerator="cpu",
                default_root_dir=folder,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                callbacks=[ModelCheckpoint(folder, monitor="val_auroc", mode="max")],
            )
            trainer.fit(
                Classifier(options.model, options.mode, options.weights), loaders["train"], loaders["val"]
            )
            trainer.test(dataloaders=loaders["test"], ckpt_path="best", verbose=False, weights_only=True)
        print(f"seed {seed}: test AUROC {float(trainer.callback_metrics['test_auroc']):.3f}")


if __name__ == "__main__":
    main()
