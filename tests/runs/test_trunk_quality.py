"""What initial weights are worth on the reference task: measured once, without a trace in the run."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from sklearn.metrics import roc_auc_score

from tests.conftest import SMALL, TINY, compose_config
from xray_tl.config import SyntheticDataConfig, typed
from xray_tl.data.synthetic.generator_options import RESERVED_SEEDS
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.runs import trunk_quality
from xray_tl.runs.parts import Parts, assemble
from xray_tl.runs.run import run
from xray_tl.runs.trunk_quality import describe_quality

Tiny = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measure on few images, in a cache of its own."""
    monkeypatch.setattr(trunk_quality, "TRAIN", 60)
    monkeypatch.setattr(trunk_quality, "TEST", 40)
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def options(tmp_path: Path) -> tuple[str, ...]:
    """Return the options of a run whose weights come from a file."""
    backbone = assemble(typed(compose_config(*TINY, *SMALL))).task.classifier.backbone
    torch.save(backbone.net.state_dict(), tmp_path / "trunk.pt")
    return (*SMALL, "weights=file", f"weights.path={tmp_path / 'trunk.pt'}", "weights.measure=true")


def _rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts: list[int] = []
    render = SyntheticRadiographs.render

    def noted(self: SyntheticRadiographs, indices: torch.Tensor) -> object:
        counts.append(len(indices))
        return render(self, indices)

    monkeypatch.setattr(SyntheticRadiographs, "render", noted)
    return counts


def test_it_is_measured_once_for_weights_and_size_whatever_the_run(
    tiny: Tiny, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = _rendered(monkeypatch)
    first = describe_quality(assemble(typed(tiny(*options))))
    assert sum(counts) == 100
    others = ("seed=3", "data.seed=5", "data.finding=nodule", "mode=frozen", "data.n_train=32")
    assert describe_quality(assemble(typed(tiny(*options, *others)))) == first
    assert sum(counts) == 100, "kept"
    larger = describe_quality(assemble(typed(tiny(*options, "data.image_size=48"))))
    assert sum(counts) == 200
    assert larger is not None
    assert larger["image_size"] == 48


def test_it_leaves_the_run_as_it_was(tiny: Tiny, options: tuple[str, ...]) -> None:
    parts = assemble(typed(tiny(*options)))
    backbone = parts.task.classifier.backbone
    before = {name: tensor.clone() for name, tensor in parts.task.state_dict().items()}
    modes = [module.training for module in backbone.modules()]
    generator = torch.get_rng_state()
    describe_quality(parts)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in backbone.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in parts.task.state_dict().items())


def test_its_numbers_are_those_of_the_kept_scores(
    tiny: Tiny, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, np.ndarray] = {}
    measure = trunk_quality._measure

    def noted(parts: Parts) -> dict[str, np.ndarray]:
        kept.update(measure(parts))
        return kept

    monkeypatch.setattr(trunk_quality, "_measure", noted)
    found = describe_quality(assemble(typed(tiny(*options))))
    assert found is not None
    trunk, pixels = (roc_auc_score(kept["truth"], kept[name]) for name in ("trunk", "pixels"))
    assert found["auroc"] == pytest.approx(trunk)
    assert found["pooled_pixels"] == pytest.approx(pixels)
    assert found["difference"] == pytest.approx(trunk - pixels)
    films = SyntheticRadiographs(
        SyntheticDataConfig(image_size=32), split="test", seed=RESERVED_SEEDS[-1], device="cpu"
    )
    assert kept["truth"].tolist() == films.labels(torch.arange(60, 100))[1].tolist(), "the images held out"


def test_weights_that_do_not_beat_pooled_pixels_are_told_before_training(
    tiny: Tiny, options: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        record = run(tiny(*options), tmp_path / "run")
    quality = record["weights"]["quality"]
    assert not quality["difference"] > 2 * quality["difference_se"], "an untrained network in a file"
    (line,) = [m for m in caplog.messages if m.startswith("the initial weights of test_resnet (file, ")]
    assert "pooled pixels at 32 px: frozen and solved, AUROC " in line


def test_untrained_weights_are_not_measured(tiny: Tiny, options: tuple[str, ...]) -> None:
    assert describe_quality(assemble(typed(tiny("weights.measure=true")))) is None
    assert describe_quality(assemble(typed(tiny(*options, "weights.measure=false")))) is None
