"""Features of a frozen trunk: the same results, computed once, never read for other images or weights."""

import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from tests.conftest import TINY, compose_config
from tests.data.films.radiograph_files import write_classes
from xray_tl.config import typed
from xray_tl.models.cut import Halves
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable
from xray_tl.runs import feature_cache, random_trunk
from xray_tl.runs.feature_cache import FeatureCache
from xray_tl.runs.parts import assemble
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS
from xray_tl.store.run_folder import BEST
from xray_tl.training.checkpoints import read_checkpoint

Tiny = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the images that pass through a trunk."""
    seen: list[int] = []
    enter = Backbone.normalise

    def counted(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return enter(self, images)

    monkeypatch.setattr(Backbone, "normalise", counted)
    return seen


# Not an untrained EfficientNet: its features hardly differ between images, so that standardising them shows
# the rounding of any two batch sizes (8e-3 in a logit).
@pytest.mark.parametrize(("model", "weights"), [("resnet18", "random"), ("efficientnet_lite0", "imagenet")])
def test_cached_and_uncached_runs_agree(tiny: Tiny, tmp_path: Path, model: str, weights: str) -> None:
    options = (f"model={model}", f"weights={weights}", "mode=frozen")
    logits = {}
    for cache in ("auto", "off"):
        record = run(tiny(*options, f"feature_cache={cache}"), tmp_path / cache)
        assert record["time"]["feature_cache"] == {"auto": "miss", "off": "off"}[cache]
        logits[cache] = pd.read_csv(tmp_path / cache / PREDICTIONS)["logit"].to_numpy()
    np.testing.assert_allclose(logits["auto"], logits["off"], atol=1e-4, rtol=0)
    assert logits["off"].std() > 1e-3, "else the check above could not fail"


def test_every_image_passes_once_for_all_epochs_and_seeds(
    tiny: Tiny, tmp_path: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_trunk, "BATCHNORM_IMAGES", 10)
    first = run(tiny("mode=frozen", "weights=random"), tmp_path / "0")
    images = 24 + 16 + 16
    once = images + 10  # some of the training images for BatchNorm's statistics too
    assert sum(passes) == once
    second = run(tiny("mode=frozen", "weights=random", "seed=1", "trainer.max_epochs=4"), tmp_path / "1")
    assert sum(passes) == once
    assert (first["time"]["feature_cache"], second["time"]["feature_cache"]) == ("miss", "hit")
    assert first["frozen"] == second["frozen"]


def _film_options(tmp_path: Path, *options: str) -> DictConfig:
    """Compose a run on 40 films of 20 patients, from weights in a file."""
    root, weights = tmp_path / "films", tmp_path / "weights.safetensors"
    if not root.exists():
        write_classes(root, 40, per_patient=2)
        torch.manual_seed(0)
        save_file(resnet18().state_dict(), weights)
    own = [item for item in TINY if not item.startswith(("data.", "weights="))]
    data = ("data=folder", f"data.root={root}", "data.patient_regex='^([0-9]+)_'", "data.image_size=32")
    return compose_config(*own, *data, "weights=file", f"weights.path={weights}", "mode=frozen", *options)


def test_every_image_of_a_folder_passes_once_for_all_folds_and_splits(
    tmp_path: Path, passes: list[int]
) -> None:
    for fold in range(3):
        run(_film_options(tmp_path, "data.folds=3", f"data.fold={fold}"), tmp_path / str(fold))
    run(_film_options(tmp_path, "data.seed=5"), tmp_path / "another split")
    assert sum(passes) == 40
    run(_film_options(tmp_path, "data.n_train=10"), tmp_path / "fewer")
    assert 40 < sum(passes) < 40 + 40, "what is not used does not pass, and is not read from where all is"


def test_a_run_on_films_is_evaluated_from_its_own_features(tmp_path: Path, passes: list[int]) -> None:
    folder = tmp_path / "run"
    run(_film_options(tmp_path, "data.seed=2"), folder)
    assert sum(passes) == 40
    text = evaluate(compose_config(f"run={folder}", name="evaluate"), folder, [])
    assert "came out exactly" in text
    assert sum(passes) == 40


def test_features_shared_by_folds_are_those_of_their_own_images(tmp_path: Path) -> None:
    """Standardising an untrained trunk enlarges rounding, to 4e-4 of a logit; images differ by .3 or more."""
    logits = {}
    for cache in ("auto", "off"):
        for fold in range(2):  # the second fold finds the features of the first
            options = ("mode.head=trained", "data.folds=2", f"data.fold={fold}", f"feature_cache={cache}")
            run(_film_options(tmp_path, *options), tmp_path / f"{cache}{fold}")
        logits[cache] = pd.read_csv(tmp_path / f"{cache}1" / PREDICTIONS)["logit"].to_numpy()
    np.testing.assert_allclose(logits["auto"], logits["off"], atol=1e-2, rtol=0)
    assert logits["off"].std() > 0.3, "else the check above could not fail"


@pytest.mark.parametrize("mode", ["frozen", "gradual"])
def test_a_cache_that_is_emptied_midway_changes_nothing(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """What crosses each boundary is then made anew, and what was read stays in memory."""
    stages = {"frozen": (), "gradual": ("trainer.max_epochs=4", "mode.unfreeze_every=2")}[mode]
    cfg = tiny(f"mode={mode}", *stages)
    run(cfg, tmp_path / "left alone")
    enter, entries = FeatureCache.enter, []

    def enter_and_empty(self: FeatureCache, trainable: Trainable) -> None:
        enter(self, trainable)
        entries.append(len(list((tmp_path / "other" / "features").glob("*.safetensors"))))
        shutil.rmtree(tmp_path / "other", ignore_errors=True)

    monkeypatch.setattr(FeatureCache, "enter", enter_and_empty)
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "other"))
    run(cfg, tmp_path / "emptied")
    assert sum(count > 0 for count in entries) >= {"frozen": 1, "gradual": 2}[mode], "boundaries kept"
    tables = [(tmp_path / name / PREDICTIONS).read_bytes() for name in ("left alone", "emptied")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("mode", ["frozen", "partial"])
def test_a_hit_is_bitwise_a_miss(tiny: Tiny, tmp_path: Path, mode: str) -> None:
    cfg = tiny(f"mode={mode}", "trainer.max_epochs=1")
    for name in ("miss", "hit"):
        assert run(cfg, tmp_path / name)["time"]["feature_cache"] == name
    tables = [(tmp_path / name / PREDICTIONS).read_bytes() for name in ("miss", "hit")]
    assert tables[0] == tables[1]
    checkpoints = [
        torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("miss", "hit")
    ]
    assert all(torch.equal(tensor, checkpoints[1][key]) for key, tensor in checkpoints[0].items())


def test_a_sweep_s_frozen_trunk_is_built_once_and_never_shared_with_one_that_trains(tiny: Tiny) -> None:
    def trunk(*overrides: str) -> Backbone:
        return assemble(typed(tiny(*overrides))).task.classifier.backbone

    frozen = trunk("mode=frozen")
    assert trunk("mode=frozen", "seed=1", "data.seed=2", "mode.head_lr=0.1") is frozen
    assert trunk("mode=frozen", "weights.seed=1") is not frozen
    frozen = trunk("mode=frozen")
    trained = trunk("mode=finetune")
    assert trained is not frozen
    assert trunk("mode=frozen") not in (frozen, trained)


def _settled(*options: str) -> dict[str, Tensor]:
    """Return the buffers of an untrained trunk once its BatchNorm statistics are estimated."""
    parts = assemble(typed(compose_config(*TINY, *options)))
    random_trunk.settle_batchnorm(parts)
    return {name: buffer.clone() for name, buffer in parts.task.classifier.backbone.named_buffers()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(buffer, other[name]) for name, buffer in one.items())


def test_statistics_are_kept_by_the_layers_that_they_are_of() -> None:
    """Two stages of ResNet18 have as many layers: beside each, other layers are frozen, and as many."""
    options = [("mode=surgical", f"mode.stage={stage}") for stage in (3, 4)]
    kept = [_settled(*stage) for stage in options]
    assert not _same(*kept)
    assert all(
        _same(_settled(*stage, "feature_cache=off"), one) for stage, one in zip(options, kept, strict=True)
    )


@pytest.mark.parametrize("mode", ["lp_ft", "gradual"])
def test_a_head_that_starts_solved_stands_on_the_statistics_of_a_frozen_trunk(mode: str) -> None:
    frozen = _settled("mode=frozen")
    assert not _same(_settled("mode=finetune"), frozen), "else the check below could not fail"
    assert _same(_settled(f"mode={mode}"), frozen)


@pytest.mark.parametrize("mode", ["finetune", "discriminative"])
def test_a_trunk_that_trains_whole_sees_images(tiny: Tiny, tmp_path: Path, mode: str) -> None:
    record = run(tiny(f"mode={mode}"), tmp_path / "run")
    assert record["time"]["feature_cache"] == "off"
    assert not (tmp_path / "cache" / "features").exists()


PARTLY = {
    "partial": ("mode.trainable_stages=2",),
    # findings plain enough for the solved head that it starts from to tell images apart
    "gradual": ("trainer.max_epochs=4", "mode.unfreeze_every=2", "data.d0=60"),
}


@pytest.mark.parametrize("mode", PARTLY)
def test_a_partly_frozen_run_agrees_with_one_on_images(tiny: Tiny, tmp_path: Path, mode: str) -> None:
    # Adam's steps have the size of its rate, whatever a gradient's: rounding between batch sizes turns some
    # of them around, as many as the processor has it. At these rates all of them move no logit by 1e-2.
    options = (f"mode={mode}", "optim.lr=1e-6", "mode.head_lr=1e-5", *PARTLY[mode])
    start = assemble(typed(tiny(*options))).task.state_dict()
    records = {
        cache: run(tiny(*options, f"feature_cache={cache}"), tmp_path / cache) for cache in ("auto", "off")
    }
    assert [record["time"]["feature_cache"] for record in records.values()] == ["miss", "off"]
    logits = {cache: pd.read_csv(tmp_path / cache / PREDICTIONS)["logit"].to_numpy() for cache in records}
    np.testing.assert_allclose(logits["auto"], logits["off"], atol=1e-2, rtol=0)
    assert logits["off"].std() > 0.1, "else the check above could not fail"
    assert records["auto"]["frozen"] == records["off"]["frozen"]
    moved = {cache: _movement(start, tmp_path / cache / BEST) for cache in records}
    assert float(moved["off"].norm()) > 0
    assert float((moved["auto"] - moved["off"]).norm()) < 0.5 * float(moved["off"].norm())


def _movement(start: dict[str, Tensor], checkpoint: Path) -> Tensor:
    """Return how far training has moved each weight."""
    end = read_checkpoint(checkpoint)["state_dict"]
    return torch.cat(
        [(end[name] - start[name]).flatten() for name in start if name in end and name.endswith("weight")]
    )


def test_the_frozen_part_of_a_partial_run_sees_every_image_once(
    tiny: Tiny, tmp_path: Path, passes: list[int]
) -> None:
    run(tiny("mode=partial", "weights.source=file", f"weights.path={_trunk(tmp_path)}"), tmp_path / "run")
    assert sum(passes) == 24 + 16 + 16 + 4, "two to try both halves, one to weigh them, one for the record"


def _trunk(folder: Path) -> Path:
    """Write a trunk that needs no BatchNorm statistics."""
    backbone = assemble(typed(compose_config(*TINY))).task.classifier.backbone
    torch.save(backbone.net.state_dict(), folder / "trunk.pt")
    return folder / "trunk.pt"


def test_what_takes_longer_to_keep_than_it_saves_is_not_kept(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feature_cache, "BYTES_PER_S", 1.0)
    caplog.set_level(logging.INFO)
    assert run(tiny("mode=partial"), tmp_path / "run")["time"]["feature_cache"] == "off"
    assert re.search(r"feature cache off .* GB, about \d+ s to keep, about 0 s saved", caplog.text)
    assert run(tiny("mode=frozen"), tmp_path / "frozen")["time"]["feature_cache"] == "miss"


def test_features_too_large_for_memory_are_not_kept(tiny: Tiny, tmp_path: Path) -> None:
    record = run(tiny("mode=frozen", "mode.head=trained", "data.memory_limit_gb=0.00001"), tmp_path / "run")
    assert record["time"]["feature_cache"] == "off"


def test_what_lies_behind_another_boundary_is_not_taken(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropout in front of its blocks moves a vision transformer's boundary, and no tensor's shape."""
    monkeypatch.setattr(feature_cache, "BYTES_PER_S", 1e12)
    options = ("model=timm", "model.name=vit_tiny_patch16_224", "mode=partial", "mode.trainable_stages=1")
    for dropout, outcome in (("null", "miss"), ("0.1", "miss"), ("null", "hit")):
        folder = tmp_path / f"{outcome}{dropout}"
        assert run(tiny(*options, f"model.dropout={dropout}"), folder)["time"]["feature_cache"] == outcome


def test_a_damaged_entry_is_computed_again(tiny: Tiny, tmp_path: Path, passes: list[int]) -> None:
    run(tiny("mode=frozen"), tmp_path / "a")
    before = (tmp_path / "a" / PREDICTIONS).read_bytes()
    for file in (tmp_path / "cache" / "features").glob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-2] ^= 1
        file.write_bytes(bytes(content))
    seen = sum(passes)
    run(tiny("mode=frozen"), tmp_path / "b")
    assert sum(passes) == seen + 24 + 16 + 16
    assert (tmp_path / "b" / PREDICTIONS).read_bytes() == before


def test_halves_that_are_not_the_whole_are_not_used(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cut = Backbone.cut

    def wrong(self: Backbone, behind: int) -> Halves:
        halves = cut(self, behind)
        return replace(halves, before=nn.Sequential(halves.before, nn.Hardtanh(-0.1, 0.1)))

    monkeypatch.setattr(Backbone, "cut", wrong)
    record = run(tiny("mode=partial", "mode.trainable_stages=1"), tmp_path / "run")
    assert record["time"]["feature_cache"] == "off"
    assert "not the same cut in two as whole" in caplog.text
