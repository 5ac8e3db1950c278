"""Lightning's trainer for this project: one device, atomic checkpoints, Ctrl-C as KeyboardInterrupt."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from xray_tl.config import TrainerConfig
from xray_tl.training.board import RunLogger
from xray_tl.training.checkpoints import AtomicCheckpointIO

# Warnings of Lightning about things that are intended here, by the start of their message.
_EXPECTED = (
    r"The '\w+' does not have many workers",  # images lie in memory
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged anyway
    r"Checkpoint directory .* exists and is not empty",  # a run that is resumed
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch 2.14
    r"You are using a custom batch sampler `EvenBatches` for prediction",  # it returns every index
    r"Found \d+ module\(s\) in eval mode at the start of training",  # frozen stages
    r"The `srun` command is available on your system but is not used",  # an environment is given
)

REQUEUED = "requeued"
"""Name of a folder that is never created; under Slurm, Lightning looks there for files of its requeue."""


def build_trainer(
    config: TrainerConfig,
    device: torch.device,
    precision: str,
    folder: Path,
    logger: RunLogger | None,
    callbacks: Sequence[Callback],
) -> Trainer:
    """Build Lightning's trainer for one device in one process, whatever ranks a scheduler sets.

    Args:
        config: Number of epochs and deterministic mode.
        device: The device that it computes on.
        precision: Lightning's name of the precision, `32-true` or `bf16-mixed`.
        folder: The run's folder.
        logger: TensorBoard logger, if any.
        callbacks: Callbacks of the run; one that keeps the handler of SIGTERM is added.
    """
    deterministic = config.deterministic
    alone = LightningEnvironment()
    alone.set_global_rank(0)  # else, with `SLURM_PROCID=1`, loggers would do nothing
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1,
        precision=precision,  # type: ignore[arg-type]  # a str, where Lightning has a Literal
        max_epochs=config.max_epochs,
        # VGG's adaptive pooling has no deterministic CUDA backward (pytorch #50198).
        deterministic=deterministic if device.type == "cpu" else ("warn" if deterministic else False),
        default_root_dir=folder / REQUEUED,  # predict would load an `hpc_ckpt` (Lightning #14911)
        logger=logger if logger is not None else False,
        callbacks=[*callbacks, _KeptHandler()],
        plugins=[AtomicCheckpointIO(), alone],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=5,  # each logged step waits for the device
    )


class _KeptHandler(Callback):
    """Keeps the handler of SIGTERM that was there.

    Lightning adds one that ends training. In a Slurm job that is to be queued again the signal means nothing:
    Slurm does not queue a job again that has ended by itself.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the handler again; Lightning has just set its own."""
        if callable(self._handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)

    on_predict_start = on_train_start


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Silence Lightning's hints and the expected warnings by their text; all other warnings stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # which accelerators are there, and tips
    with warnings.catch_warnings():
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        yield


@contextmanager
def interruptible(trainer: Trainer) -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C and SIGTERM, which Lightning handles in other ways.

    Its fit and predict turn Ctrl-C into SystemExit and leave SIGINT ignored; predict only notes SIGTERM.
    """
    try:
        yield
    except SystemExit as stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop
    if trainer.received_sigterm:
        raise KeyboardInterrupt
