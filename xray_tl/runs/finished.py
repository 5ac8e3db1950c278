"""A finished run opened again, on this machine or another: as it was trained, as its record states."""

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
    """A complete run, read back.

    Attributes:
        folder: Where it lies.
        config: Its configuration as stored.
        record: Its record.
        checkpoint: Its best epoch.
    """

    folder: Path
    config: DictConfig
    record: dict[str, Any]
    checkpoint: dict[str, Any]

    @property
    def thresholds(self) -> list[float]:
        """Return its operating points, one a target."""
        stated = self.record["threshold"]
        return stated if isinstance(stated, list) else [stated]

    def settings(self, config: DictConfig | None = None) -> Settings:
        """Return its configuration, or a changed one, as it is built again.

        Weights are those that the record names, whatever was asked for; where the checkpoint holds all of the
        network, none are loaded.
        """
        settings = typed(self.config if config is None else config)
        weights = replace(settings.weights, source=str(self.record["weights"]["source"]))
        if self.checkpoint["holds_all"]:
            weights = WeightsConfig(source="random")
        return replace(settings, weights=weights)

    @property
    def precision(self) -> str:
        """Return Lightning's name of the precision that it was trained and tested in."""
        return str(self.record["environment"]["precision"])

    def source(self, settings: Settings) -> MakeSource | None:
        """Return what finds the source weights that its trunk stands on; `None` where it needs none."""
        if settings.weights.source != "source":
            return None
        return partial(find_weights, self.folder, settings, self.record["weights"]["sha256"])

    def restore(self, task: TransferTask) -> None:
        """Load what it trained into a task that was built of its settings.

        Raises:
            InputError: The task stands on other weights, or the tensors do not fit.
        """
        path = self.folder / BEST
        if not self.checkpoint["holds_all"]:
            check_provenance(self.checkpoint, task.weights_sha256, path)
        load_weights(task, self.checkpoint, path)


def on_this_machine(settings: Settings) -> Settings:
    """Return settings with an accelerator that is here, and say so where it is not the one asked for."""
    trainer = settings.trainer
    if available(trainer.accelerator):
        return settings
    log.warning(
        "the run asks for trainer.accelerator=%s, which is not here: another one is used",
        trainer.accelerator,
    )
    return replace(settings, trainer=replace(trainer, accelerator="auto"))


def open_finished(run: Path, command: str) -> FinishedRun:
    """Read a complete run back.

    Args:
        run: The run's folder.
        command: What needs it, for messages.

    Raises:
        InputError: The folder holds no complete run, or one of an earlier version that cannot be repeated.
    """
    config, record = load_config(run), read_record(run)
    if record is None or record["status"] != "complete":
        state = "has no record" if record is None else f"is {record['status']}"
        raise InputError(f"run={run} {state}: {command} needs a complete run")
    check_exact(record, run)
    return FinishedRun(run, config, record, read_checkpoint(run / BEST))
