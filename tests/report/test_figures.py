"""Figures show the numbers of the table."""

from pathlib import Path

import numpy as np
import pytest

from tests.study.sweeps import write_scored
from tests.study.test_depths import write_depth
from tests.study.test_run_table import write_run
from xray_tl.report.figures import Bounds, draw_auroc, draw_depth, write_auroc
from xray_tl.study.analysis import analyse
from xray_tl.study.depths import by_depth
from xray_tl.study.run_table import collect

FLOORS = {
    "majority": {"auroc": 0.5, "accuracy": 0.5},
    "image_statistics": {"auroc": 0.6, "accuracy": 0.55},
}
CEILING = {"auroc": 0.95, "auroc_se": 0.01, "efficiency": 0.2, "above_ceiling": False}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    known = {"floors": FLOORS, "ceiling": CEILING}
    for seed, auroc in enumerate((0.7, 0.8, 0.9)):
        write_run(tmp_path, f"good{seed}", auroc, seed=seed, **known)
    weak = {"arm": {"model": "vgg16", "mode": "frozen", "weights": "random"}, "arm_hash": "b"}
    write_run(tmp_path, "weak", 0.62, **weak, **known)
    return tmp_path


def test_floors_below_arms_below_the_ceiling(sweep: Path) -> None:
    axes = draw_auroc(collect(sweep)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [
        "majority",
        "image statistics",
        "vgg16 frozen random (1)",
        "resnet18 frozen random (3)",
    ]
    points = {
        (round(float(x), 6), float(y))
        for line in axes.lines
        if line.get_marker() in ("o", "s")
        for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True)
    }
    assert points == {(0.5, 0), (0.6, 1), (0.62, 2), (0.7, 3), (0.8, 3), (0.9, 3)}
    bar = next(line for line in axes.lines if line.get_linewidth() == 5)
    half = 4.302653 * 0.1 / np.sqrt(3)  # t, two degrees of freedom
    assert np.asarray(bar.get_xdata()) == pytest.approx([0.8 - half, 0.8 + half])
    ceilings = [line for line in axes.lines if np.asarray(line.get_xdata()) == pytest.approx([0.95, 0.95])]
    assert len(ceilings) == 4, "the rows of floors have it too"


def test_a_sweep_without_ceiling_or_floors_is_drawn_too(tmp_path: Path) -> None:
    write_run(tmp_path, "run")
    path = write_auroc(collect(tmp_path), tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial-*"))


def test_a_learning_curve_shows_the_floors_of_its_best_arm_alone(tmp_path: Path) -> None:
    for count, area in ((100, 0.6), (400, 0.7)):
        floors = {"majority": FLOORS["majority"], "image_statistics": {"auroc": area, "accuracy": 0.55}}
        metrics = {"test": {"auroc": area + 0.1}}
        for seed in range(1 if count == 400 else 2):
            write_scored(
                tmp_path,
                1.0,
                seed,
                options={"data.n_train": count},
                data_hash=f"{count} images",
                floors=floors,
                ceiling=CEILING,
                metrics=metrics,
            )
    axes = draw_auroc(collect(tmp_path)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["majority", "image statistics"]
    assert len(labels) == 4
    squares = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() == "s"]
    assert squares == [0.5, 0.7]


@pytest.mark.parametrize("known", [True, False])
def test_depths_stand_between_floor_and_ceiling(tmp_path: Path, known: bool) -> None:
    for depth in (1, 4, None):
        write_depth(tmp_path, "resnet18", depth)
    done = analyse(tmp_path)
    estimates = done.comparison.analysis.arms
    bounds = Bounds(0.6, 0.95) if known else Bounds(np.nan, np.nan)
    axes = draw_depth(by_depth(done.arms), estimates, bounds).axes[0]
    (curve,) = (line for line in axes.lines if line.get_label() == "resnet18 frozen random")
    labels = [f"resnet18{suffix} frozen random" for suffix in ("-d1", "-d4", "")]
    assert np.asarray(curve.get_xdata()) == pytest.approx([1, 4, 5])
    assert np.asarray(curve.get_ydata()) == pytest.approx([estimates[label].value for label in labels])
    bars = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_linewidth() == 3]
    assert bars == [pytest.approx([estimates[label].lower, estimates[label].upper]) for label in labels]
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("o", "s")] == ["o", "o", "s"]
    said = [text.get_text() for text in axes.texts]
    assert said == (["pooled pixels\n0.600", "best possible\n0.950"] if known else [])
