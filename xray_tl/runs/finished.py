"""Reopening of a finished run, on any machine: its configuration, record and best checkpoint."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from xray_tl.config import Settings, WeightsConfig, typed
from xray_tl.errors import InputError
from xray_tl.models.weights import MakeSource
from xray_tl.runs.kept_weights import find_weights
from xray_tl.store.records import check_exact, read_record
from xray_tl.store.run_folder import BEST, load_config
from xray_tl.training.checkpoints import check_provenance, load_weights, read_checkpoint
from xray_tl.training.device import available
from xray_tl.training.task import TransferTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedRun:
    """A complete run, read from its folder.

    Attributes:
        folder: The run's folder.
        config: Its configuration as stored.
        record: Its record.
        checkpoint: The checkpoint of its best epoch.
    """

    folder: Path
    config: DictConfig
    record: dict[str, Any]
    checkpoint: dict[str, Any]

    @property
    def thresholds(self) -> list[float]:
        """Return the run's operating points, one per target."""
        stated = self.record["threshold"]
        return stated if isinstance(stated, list) else [stated]

    def settings(self, config: DictConfig | None = None) -> Settings:
        """Return the settings to rebuild the run with, from its own or a changed configuration.

        The kind of initial weights is taken from the record, not from the configuration. If the checkpoint
        holds the whole network, no initial weights are loaded.
        """
        settings = typed(self.config if config is None else config)
        weights = replace(settings.weights, source=str(self.record["weights"]["source"]))
        if self.checkpoint["holds_all"]:
            weights = WeightsConfig(source="random")
        return replace(settings, weights=weights)

    @property
    def precision(self) -> str:
        """Return the precision of the run's training and test, by Lightning's name."""
        return str(self.record["environment"]["precision"])

    def source(self, settings: Settings) -> MakeSource | None:
        """Return a function that finds the run's source weights; `None` if it needs none."""
        if settings.weights.source != "source":
            return None
        return partial(find_weights, self.folder, settings, self.record["weights"]["sha256"])

    def restore(self, task: TransferTask) -> None:
        """Load the run's trained weights into a task that was built from its settings.

        Raises:
            InputError: The task has other initial weights, or the tensors do not fit.
        """
        path = self.folder / BEST
        if not self.checkpoint["holds_all"]:
            check_provenance(self.checkpoint, task.weights_sha256, path)
        load_weights(task, self.checkpoint, path)


def on_this_machine(settings: Settings) -> Settings:
    """Return settings with an accelerator that this machine has; warn if it is not the requested one."""
    trainer = settings.trainer
    if available(trainer.accelerator):
        return settings
    log.warning(
        "the run asks for trainer.accelerator=%s, which is not here: another one is used",
        trainer.accelerator,
    )
    return replace(settings, trainer=replace(trainer, accelerator="auto"))


def open_finished(run: Path, command: str) -> FinishedRun:
    """Read a complete run from its folder.

    Args:
        run: The run's folder.
        command: Name of the command that needs it, for messages.

    Raises:
        InputError: The folder holds no complete run, or one of an earlier version that cannot be repeated.
    """
    config, record = load_config(run), read_record(run)
    if record is None or record["status"] != "complete":
        state = "has no record" if record is None else f"is {record['status']}"
        raise InputError(f"run={run} {state}: {command} needs a complete run")
    check_exact(record, run)
    return FinishedRun(run, config, record, read_checkpoint(run / BEST))
