"""Checkpoints: written atomically, read without executing code, tied to their initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from xray_tl.errors import InputError
from xray_tl.models.trainable import Trainable
from xray_tl.store.files import atomic_path
from xray_tl.store.records import SCHEMA, check_schema
from xray_tl.training.task import TransferTask

_OURS = ("state_dict", "weights_sha256", "frozen_before", "fit_s", "history", "holds_all")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint files for Lightning: moved into place when they are complete, loaded as tensors only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint to a temporary file and move it into place.

        Raises:
            RunError: No space is left.
        """
        with atomic_path(Path(path)) as partial:
            torch.save(checkpoint, partial)

    def load_checkpoint(
        self, path: str | Path, map_location: object = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint that was checked before, without executing anything in it."""
        return torch.load(path, map_location="cpu", weights_only=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint on the CPU.

    Raises:
        InputError: It is missing, truncated, no checkpoint of this project, or from a newer schema.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        schema = int(checkpoint["schema"])
        check_schema(schema, path)
        Trainable.of_checkpoint(checkpoint, 0)
        return {**checkpoint, **{key: checkpoint[key] for key in _OURS}}
    except InputError:
        raise
    except Exception as error:  # reading a damaged file can raise many kinds of exceptions
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"checkpoint {path} cannot be read: {type(error).__name__}: {reason}") from error


def check_provenance(checkpoint: Mapping[str, Any], weights_sha256: str, path: Path) -> None:
    """Refuse a checkpoint that was trained from other initial weights than those loaded now.

    Raises:
        InputError: The hashes differ.
    """
    if checkpoint["weights_sha256"] != weights_sha256:
        raise InputError(
            f"checkpoint {path} stands on weights {checkpoint['weights_sha256'][:12]}…, but this "
            f"configuration loads {weights_sha256[:12]}… (weights.*): restore the weights it was trained on"
        )


def check_current(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse to resume a checkpoint of an earlier version: the rest would be trained by other rules.

    Raises:
        InputError: The checkpoint has an earlier schema.
    """
    if checkpoint["schema"] < SCHEMA:
        raise InputError(
            f"checkpoint {path} was written by an earlier version (schema {checkpoint['schema']}, now "
            f"{SCHEMA}) and cannot be gone on with: remove it, and the run starts again"
        )


def check_data(checkpoint: Mapping[str, Any], data_hash: str, path: Path) -> None:
    """Refuse to resume a checkpoint of other images or labels: files may have changed since.

    Raises:
        InputError: The hashes differ.
    """
    if checkpoint.get("data_hash") not in (None, data_hash):
        raise InputError(f"checkpoint {path} was trained on other images or labels: choose another folder")


def load_weights(task: TransferTask, checkpoint: dict[str, Any], path: Path) -> None:
    """Load a checkpoint's weights into a task that has the same initial weights.

    Raises:
        InputError: The tensors do not fit the task's network.
    """
    task.on_load_checkpoint(checkpoint)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise InputError(
            f"checkpoint {path} does not fit this network: {' '.join(str(error).split())}"
        ) from error


class Keeper(ModelCheckpoint):
    """Checkpoint callback that finds its files again after the run's folder was moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; Lightning's own method loses the best score if the folder has another name."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {key: here(value) for key, value in state_dict.items() if key.endswith("_path")}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": self.dirpath})


def keepers(folder: Path) -> list[Callback]:
    """Return callbacks that write `best.ckpt` (best validation AUROC) and `last.ckpt` (last epoch)."""
    best = Keeper(
        dirpath=folder,
        filename="best",
        monitor="val/auroc",
        mode="max",
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return [best, last_keeper(folder)]


def last_keeper(folder: Path) -> Callback:
    """Return the callback that writes the last epoch's state (`last.ckpt`), to resume from."""
    return Keeper(dirpath=folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that stays stopped when a run is resumed after its last epoch."""

    def __init__(self, patience: int) -> None:
        super().__init__(monitor="val/auroc", mode="max", patience=patience)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the checkpoint was written by the epoch that ended training."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
