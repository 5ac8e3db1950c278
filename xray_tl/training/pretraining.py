"""Training of a backbone on the source task: predict findings, anatomy and acquisition."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import StochasticDepth

from xray_tl.config import ModelConfig, OptimConfig, TrainerConfig, WeightsConfig
from xray_tl.data.splits import EpochOrder, EvenBatches, as_is
from xray_tl.data.synthetic.source_task import FINDINGS, PARAMETERS, SourceImages, SourceTask
from xray_tl.errors import InputError, RunError
from xray_tl.models.averaged import AveragedMap
from xray_tl.models.fold import FoldableNorms
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import MEMORY_FORMATS, Backbone
from xray_tl.seeding import seed_everything, stream_seed
from xray_tl.statistics.metrics import auroc
from xray_tl.training.callbacks import Progress
from xray_tl.training.checkpoints import last_keeper
from xray_tl.training.device import choose_precision
from xray_tl.training.optim import parameter_groups
from xray_tl.training.scheduled import ScheduledModule
from xray_tl.training.source_recipes import Recipe
from xray_tl.training.trainer import build_trainer, expected_warnings, interruptible

log = logging.getLogger(__name__)

LAST = "last.ckpt"
HELD_OUT = 256
"""Number of held-out images that measure what was learned."""

_OPTIM = OptimConfig(weight_decay=0.01, warmup=0.05, schedule="cosine", clip_norm=1.0)


class SourceTraining(ScheduledModule):
    """LightningModule of the source task: cross-entropy of findings plus squared error of parameters.

    Args:
        backbone: The backbone, all stages open. One without normalisation (VGG) has BatchNorm only here.
        images: The rendered training images; images 2 p and 2 p + 1 show the same patient.
        recipe: The recipe.
        seed: Everything random in an epoch follows from (seed, epoch).
    """

    def __init__(self, backbone: Backbone, images: SourceImages, recipe: Recipe, seed: int) -> None:
        super().__init__(_OPTIM)
        self.backbone, self.pairs, self.recipe, self.seed = backbone, _Pairs(images), recipe, seed
        self.norms = FoldableNorms(backbone.net)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed("source head", seed))
            self.head = nn.Linear(backbone.num_features, len(FINDINGS) + len(PARAMETERS))
        self.train()  # Lightning's fit does not call it

    def train(self, mode: bool = True) -> SourceTraining:
        """Switch mode; dropout and stochastic depth stay off: the budget is too small to need them."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.Dropout | StochasticDepth | DropPath):
                module.training = False
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict logits of the findings [B, F] and the parameters [B, R] of images [B, 1, H, W]."""
        outputs = self.head(self.backbone(images))
        return outputs[:, : len(FINDINGS)], outputs[:, len(FINDINGS) :]

    def training_step(self, batch: SourceImages, batch_idx: int) -> Tensor:
        """Return the loss of a batch of pairs."""
        logits, parameters = self(batch.image)
        loss = functional.binary_cross_entropy_with_logits(logits, batch.findings)
        loss = loss + self.recipe.parameter_weight * functional.mse_loss(parameters, batch.parameters)
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=len(batch.image))
        return loss

    def train_dataloader(self) -> DataLoader[SourceImages]:
        """Load pairs in the epoch's order."""
        # Lightning starts the first pass before it sets the epoch, which a resumed training needs here.
        order = EpochOrder(len(self.pairs), self.seed, self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        return DataLoader(
            self.pairs,
            batch_sampler=EvenBatches(order, len(self.pairs), self.recipe.batch_size // 2),
            collate_fn=as_is,  # __getitems__ gives whole batches
            generator=torch.Generator(),  # for the loader's base seed, not training's generator
        )

    def on_train_epoch_start(self) -> None:
        """Reseed from (seed, epoch), so that a resumed training equals an uninterrupted one."""
        seed_everything("source epoch", self.seed, self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Stop the training if its loss is not finite, before the network is kept.

        Raises:
            RunError: The loss is NaN or infinite; names the epoch.
        """
        loss = float(self.trainer.callback_metrics["train/loss_epoch"])
        if not math.isfinite(loss):
            raise RunError(f"pretraining: the loss became {loss} in epoch {self.current_epoch}")

    def configure_optimizers(self) -> AdamW:
        """Build fused AdamW over all parameters."""
        groups = parameter_groups("all", self.named_parameters(), self.recipe.lr, _OPTIM)
        return AdamW(groups, lr=self.recipe.lr, fused=True)

    def transfer_batch_to_device(
        self, batch: SourceImages, device: torch.device, dataloader_idx: int
    ) -> SourceImages:
        """Return a batch as it is: it was rendered on the training device."""
        return batch


class _Pairs(Dataset[SourceImages]):
    """Rendered patients, two images each."""

    def __init__(self, images: SourceImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.image) // 2

    def __getitems__(self, patients: Sequence[int]) -> SourceImages:
        rows = (2 * torch.as_tensor(patients)[:, None] + torch.arange(2)).flatten()
        rows = rows.to(self.images.image.device)
        return SourceImages(self.images.image[rows], self.images.findings[rows], self.images.parameters[rows])


def pretrain(
    model: ModelConfig,
    weights: WeightsConfig,
    trainer: TrainerConfig,
    chosen: Recipe,
    device: torch.device,
    folder: Path,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Train a backbone, from the start or the last whole epoch; return its tensors and held-out scores.

    Args:
        model: The backbone.
        weights: Has the seed of its initial weights.
        trainer: Options of the trainer.
        chosen: The recipe.
        device: The training device.
        folder: Folder of the last epoch's checkpoint.

    Raises:
        KeyboardInterrupt: Training was interrupted; the next call resumes after its last epoch.
    """
    fresh = WeightsConfig(source="random", seed=weights.seed)
    try:
        backbone, _ = build_backbone(model, fresh, chosen.image_size)
    except InputError as error:
        raise InputError(f"weights=source trains on images of {chosen.image_size} px: {error}") from error
    averaged = AveragedMap(backbone.net)
    task = SourceTask(chosen.film_size or chosen.image_size, device, chosen.image_size)
    module = SourceTraining(backbone, task.render(torch.arange(chosen.images)), chosen, weights.seed)
    module.to(device).to(memory_format=MEMORY_FORMATS[model.memory_format])
    callbacks = [Progress(bar=trainer.progress_bar), last_keeper(folder)]
    with expected_warnings():
        precision = choose_precision(trainer.precision, device)
        loop = build_trainer(
            replace(trainer, max_epochs=chosen.epochs), device, precision, folder, None, callbacks
        )
        with interruptible(loop):
            loop.fit(module, ckpt_path=_resumable(folder), weights_only=True)
    module.to(device).eval()
    module.norms.fold()
    learned = _held_out(module, task.render(torch.arange(chosen.images, chosen.images + HELD_OUT)))
    averaged.expand()
    return backbone.net.state_dict(), learned


@torch.no_grad()
def _held_out(module: SourceTraining, images: SourceImages) -> dict[str, float]:
    """Return the AUROC of each finding and the explained share of the parameters' variance."""
    parts = [module(part) for part in torch.split(images.image, module.recipe.batch_size)]
    logits, parameters = (torch.cat(column).cpu().double().numpy() for column in zip(*parts, strict=True))
    truth, target = images.findings.cpu().numpy(), images.parameters.cpu().numpy()
    learned = {name: auroc(truth[:, [k]], logits[:, [k]]) for k, name in enumerate(FINDINGS)}
    explained = 1 - ((parameters - target) ** 2).mean() / target.var(0).mean()
    return {**learned, "parameters": float(explained)}


def _resumable(folder: Path) -> Path | None:
    """Return the checkpoint of an interrupted training; warn of one that cannot be read, and delete it."""
    path = folder / LAST
    if not path.is_file():
        return None
    try:
        epoch = torch.load(path, map_location="cpu", weights_only=True)["epoch"]
    except Exception as error:  # reading a damaged file can raise any exception
        log.warning("%s cannot be read (%s): training starts again", path, type(error).__name__)
        path.unlink()
        return None
    log.info("going on from epoch %d of %s", epoch + 1, path)
    return path
