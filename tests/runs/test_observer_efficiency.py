"""A run's ceiling: that of its own test images, and an alarm where a model lies above it."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from xray_tl.data.synthetic.radiograph import Radiographs, SyntheticRadiographs
from xray_tl.models.registry import backbone_names
from xray_tl.runs.run import run
from xray_tl.statistics.bounds import against_ceiling, bounds
from xray_tl.store.records import PREDICTIONS, read_record

Tiny = Callable[..., DictConfig]


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / PREDICTIONS).open() as file:
        return list(csv.DictReader(file))


def test_the_ceiling_is_that_of_the_test_images(tiny: Tiny, tmp_path: Path) -> None:
    record = run(tiny("mode=frozen", "data.d0=3"), tmp_path)
    rows = [row for row in read_rows(tmp_path) if row["split"] == "test"]
    truth, logit, ideal = (
        np.array([float(row[name]) for row in rows]) for name in ("truth", "logit", "ideal_logit")
    )
    best = bounds(ideal)
    assert 0.6 < best["auroc"] < 0.97
    assert {name: record["ceiling"][name] for name in best} == best
    against = against_ceiling(truth, logit, ideal, seed=0)
    assert {name: record["ceiling"][name] for name in against} == against
    stored = read_record(tmp_path)
    assert stored is not None
    contract = {"auroc", "auroc_se", "accuracy", "nll", "efficiency", "efficiency_ci"}
    assert contract <= set(stored["ceiling"])


def test_a_model_above_the_ceiling_is_a_defect(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Test images whose labels can be read off the picture, which the observer is not told.
    whole = SyntheticRadiographs.render

    def leak(self: SyntheticRadiographs, indices: torch.Tensor) -> Radiographs:
        drawn = whole(self, indices)
        drawn.image[:, :, :8] = drawn.label[:, None, None, None].float()
        return drawn

    monkeypatch.setattr(SyntheticRadiographs, "render", leak)
    cfg = tiny("data.d0=1", "data.n_test=64", "data.n_train=48", "trainer.max_epochs=6")
    record = run(cfg, tmp_path)
    assert record["metrics"]["test"]["auroc"] > 0.95
    assert record["ceiling"]["above_ceiling"]
    assert "a defect of the experiment" in caplog.text


LARGE = ("vgg16", "vit_b_16")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in backbone_names()],
)
def test_no_trained_network_is_above_the_ceiling(tiny: Tiny, tmp_path: Path, name: str) -> None:
    # Strong findings and many flips: a task that networks learn, with a ceiling well below 1.
    model = ("model=timm", "model.name=test_resnet") if name == "timm" else (f"model={name}",)
    flips = ("data.flip_negative=0.2", "data.flip_positive=0.2", "data.d0=80")
    sizes = ("data.n_train=96", "data.n_test=128", "data.batch_size=16")
    record = run(tiny(*model, *flips, *sizes), tmp_path)
    ceiling = record["ceiling"]
    assert ceiling["auroc"] == pytest.approx(0.8, abs=0.02)
    assert not ceiling["above_ceiling"]
    assert ceiling["excess_ci"][0] <= 0
