"""TensorBoard output of a run: the ceiling beside its curves, and hyperparameters with final metrics.

`report/board_figures.py` draws figures of the test split from the predictions, per single run or per arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams as hparams_summary

from xray_tl.training.linear_probe import LinearProbe


class RunLogger(TensorBoardLogger):
    """TensorBoard logger with one event file per process; it stays open after training for final metrics."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Log into `folder`; hide what an earlier process logged from step `purge_step` on."""
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False, purge_step=purge_step)

    def finalize(self, status: str) -> None:
        """Flush only: Lightning finalizes after each fit, and a closed writer would open a new file."""
        self.experiment.flush()

    def close(self) -> None:
        """Close the file."""
        self.experiment.close()


def write_ceiling(logger: TensorBoardLogger, auroc: float, step: int) -> None:
    """Log the best possible AUROC as a horizontal line, and define one chart of all AUROC curves.

    Args:
        logger: The run's logger.
        auroc: AUROC of the ideal observer on the test images.
        step: The last step of training.
    """
    for at in (0, step):
        logger.experiment.add_scalar("test/auroc_ceiling", auroc, at)
    tags = ["val/auroc", "test/auroc$", "test/auroc_ceiling"]
    layout = {"AUROC": {"validation, test and ceiling": ["Multiline", tags]}}
    logger.experiment.add_custom_scalars(layout)


def write_penalty_path(logger: TensorBoardLogger, probe: LinearProbe, targets: Sequence[str]) -> None:
    """Log how good the held-out patients were scored with each L2 of the grid, weakest first.

    Args:
        logger: The run's logger.
        probe: The solved head.
        targets: Names of its targets.
    """
    writer = logger.experiment
    for step, penalty in enumerate(probe.grid):
        writer.add_scalar("probe/log10_l2", np.log10(penalty), step)
        for what, path in (("loss", probe.held_out_loss), ("auroc", probe.held_out_auroc)):
            for target, value in zip(targets, () if path is None else path[step], strict=path is not None):
                writer.add_scalar(f"probe/held_out_{what}/{target}", value, step)


def write_hparams(
    logger: TensorBoardLogger, options: Mapping[str, str | float], metrics: Mapping[str, float], step: int
) -> None:
    """Write final metrics into the run's own events, as scalars and with the options in the hparams page.

    `add_hparams` of torch's writer would open a second run.
    """
    for part in hparams_summary(dict(options), dict(metrics)):  # type: ignore[no-untyped-call]
        logger.experiment.file_writer.add_summary(part)
    for name, value in metrics.items():
        logger.experiment.add_scalar(name, value, step)
