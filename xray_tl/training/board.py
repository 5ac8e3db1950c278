"""What a run shows in TensorBoard: figures of the test split, and hparams beside final metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_curve
from torch.utils.tensorboard.summary import hparams as hparams_summary

from xray_tl.data.splits import Targets
from xray_tl.evaluation.metrics import reliability
from xray_tl.training.predictions import Predictions

matplotlib.use("Agg")

_GREY = "#8a8a8a"


class RunLogger(TensorBoardLogger):
    """TensorBoard events in one file a process: figures and hparams come after training."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Log into `folder`; what an earlier process logged from `purge_step` on is not shown."""
        super().__init__(save_dir=folder, name="", version="", default_hp_metric=False, purge_step=purge_step)

    def finalize(self, status: str) -> None:
        """Flush only: Lightning finalizes after each fit, and a closed writer would open a new file."""
        self.experiment.flush()

    def close(self) -> None:
        """Close the file."""
        self.experiment.close()


def write_figures(
    logger: TensorBoardLogger, test: Predictions, targets: Targets, thresholds: list[float], step: int
) -> None:
    """Draw the test split's figures, one curve or matrix a target."""
    draw = {"roc": _roc, "reliability": _reliability}
    for name, plot in draw.items():
        figure, axes = _canvas()
        for column, target in enumerate(targets.names):
            plot(axes, test, column, target)
        axes.legend(frameon=False, loc="lower right")
        logger.experiment.add_figure(f"test/{name}", figure, step)
    for column, target in enumerate(targets.names):
        figure, axes = _canvas()
        _confusion(axes, test, column, target, thresholds[column])
        logger.experiment.add_figure(f"test/confusion/{target}", figure, step)


def write_ceiling(logger: TensorBoardLogger, auroc: float, step: int) -> None:
    """Draw the best possible AUROC as a horizontal line beside `test/auroc`, and all areas in one chart.

    Args:
        logger: The run's logger.
        auroc: Of the ideal observer on the test images.
        step: The last step of training.
    """
    for at in (0, step):
        logger.experiment.add_scalar("test/auroc_ceiling", auroc, at)
    tags = ["val/auroc", "test/auroc$", "test/auroc_ceiling"]
    layout = {"AUROC": {"validation, test and ceiling": ["Multiline", tags]}}
    logger.experiment.add_custom_scalars(layout)


def write_hparams(
    logger: TensorBoardLogger, options: Mapping[str, str | float], metrics: Mapping[str, float], step: int
) -> None:
    """Write final metrics, as scalars and beside the options in the hparams page, into the run's own events.

    `add_hparams` of torch's writer would open a second run.
    """
    for part in hparams_summary(dict(options), dict(metrics)):  # type: ignore[no-untyped-call]
        logger.experiment.file_writer.add_summary(part)
    for name, value in metrics.items():
        logger.experiment.add_scalar(name, value, step)


def _canvas() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 4.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _roc(axes: Axes, test: Predictions, column: int, target: str) -> None:
    fpr, tpr, _ = roc_curve(test.truth[:, column], test.logit[:, column])
    area = float(((fpr[1:] - fpr[:-1]) * (tpr[1:] + tpr[:-1]) / 2).sum())
    axes.plot(fpr, tpr, lw=2, label=f"{target}: AUROC {area:.3f}")
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        title="ROC, test",
        aspect="equal",
        xlim=(0, 1),
        ylim=(0, 1),
    )


def _reliability(axes: Axes, test: Predictions, column: int, target: str) -> None:
    mean, rate, share = zip(*reliability(test.truth[:, column], test.probability[:, column]), strict=True)
    line = axes.plot(mean, rate, lw=1.5, label=target)[0]
    axes.scatter(mean, rate, s=[10 + 400 * part for part in share], color=line.get_color())
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")
    axes.set(xlabel="predicted probability", ylabel="observed rate", title="Reliability, test (area: images)")
    axes.set(aspect="equal", xlim=(0, 1), ylim=(0, 1))


def _confusion(axes: Axes, test: Predictions, column: int, target: str, threshold: float) -> None:
    counts = confusion_matrix(test.truth[:, column], test.probability[:, column] >= threshold, labels=[0, 1])
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=counts.sum(1).max())
    for (row, col), count in [((r, c), counts[r, c]) for r in (0, 1) for c in (0, 1)]:
        dark = count > 0.6 * counts.sum(1).max()
        axes.text(
            col, row, f"{count}", ha="center", va="center", fontsize=15, color="white" if dark else "black"
        )
    axes.set(
        xticks=[0, 1], yticks=[0, 1], xticklabels=["absent", "present"], yticklabels=["absent", "present"]
    )
    axes.set(xlabel="decided", ylabel="truth", title=f"{target}, test, threshold {threshold:.3f}")
