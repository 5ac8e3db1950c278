"""Source weights: what is trained, that it is made once, and what becomes of an interrupted one."""

import errno
import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from safetensors.torch import load_file

from tests.conftest import SMALL, TINY, compose_config
from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig, typed
from xray_tl.data.synthetic.source_task import FINDINGS, SourceTask
from xray_tl.errors import InputError, RunError
from xray_tl.models.registry import build_backbone
from xray_tl.models.weights import tensors_sha256
from xray_tl.runs import source_weights
from xray_tl.runs.kept_weights import find_weights
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.runs.source_weights import LAST, RECIPE, WEIGHTS, Learned, are_made
from xray_tl.store.files import atomic_path
from xray_tl.store.records import read_record
from xray_tl.training import pretraining, source_recipes
from xray_tl.training.checkpoints import AtomicCheckpointIO
from xray_tl.training.source_recipes import Recipe

RESNET18 = ModelConfig("resnet18", "resnet18")
SOURCE = WeightsConfig("source")
TRAINER = TrainerConfig("cpu", accelerator="cpu", progress_bar=False)


@pytest.fixture(autouse=True)
def _tiny_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {"small": Recipe(32, 2, image_size=32), "full": Recipe(32, 3, image_size=32)}
    monkeypatch.setattr(source_recipes, "_RECIPES", {})
    monkeypatch.setattr(source_recipes, "_DEFAULT", recipes)
    monkeypatch.setattr(pretraining, "HELD_OUT", 32)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XRAY_TL_SPARE", str(tmp_path / "spare"))
    return tmp_path / "cache"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let training take no time; note the folders that it was to keep its checkpoints in."""
    folders: list[Path] = []

    def at_once(*args: object) -> Learned:
        folder = args[-1]
        assert isinstance(folder, Path)
        folders.append(folder)
        return {"x": torch.ones(2)}, {"mass": 0.5}

    monkeypatch.setattr(source_weights, "pretrain", at_once)
    return folders


def make(model: ModelConfig = RESNET18, weights: WeightsConfig = SOURCE) -> Path:
    return source_weights.source_weights(model, weights, TRAINER)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_the_whole_trunk_is_trained_and_fits(cache: Path, name: str) -> None:
    model = ModelConfig(name, name)
    trained = load_file(make(model))
    random, _ = build_backbone(model, WeightsConfig("random"), 32)
    fresh = random.net.state_dict()
    assert set(trained) == set(fresh)
    unchanged = [key for key in fresh if torch.equal(trained[key], fresh[key])]
    assert not unchanged
    for stem, size in (("repeat", 64), ("convert", 32)):
        build_backbone(replace(model, stem=stem), SOURCE, size, lambda: make(model))


@pytest.mark.parametrize("name", ["efficientnet_b0", "vgg16"])
def test_nothing_is_dropped_and_the_rest_trains(name: str) -> None:
    backbone, _ = build_backbone(ModelConfig(name, name), WeightsConfig("random"), 32)
    images = SourceTask(32).render(torch.arange(2))
    module = pretraining.SourceTraining(backbone, images, Recipe(2, 1), seed=0)
    names = ("Dropout", "StochasticDepth")
    dropping = [part for part in module.modules() if type(part).__name__ in names]
    assert dropping
    assert not any(part.training for part in dropping)
    assert all(part.training for part in module.modules() if part not in dropping)


def test_the_gradient_is_clipped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watch(self: torch.optim.AdamW, closure: Callable[[], float]) -> float:
        loss = closure()  # Lightning computes and clips the gradient in there
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
        step(self)
        return loss

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    make()
    assert max(norms) == pytest.approx(1.0, rel=1e-3), "the first gradients are larger"


def test_the_recipe_says_how_and_what_was_learned(cache: Path) -> None:
    file = make()
    recipe = json.loads((file.parent / RECIPE).read_text())
    assert recipe["recipe"]["images"] == 32
    assert recipe["recipe"]["epochs"] == 2
    assert set(recipe["learned"]) == {*FINDINGS, "parameters"}
    assert file.parent.name.startswith("resnet18-small-")
    assert not (file.parent / LAST).exists(), "the checkpoint goes when the weights are whole"


def test_they_are_made_once_and_follow_from_the_budget_and_seed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    first = make()
    files = {make(weights=other) for other in (replace(SOURCE, seed=1), replace(SOURCE, budget="full"))}
    assert len({tensors_sha256(load_file(file)) for file in {first, *files}}) == 3
    content = first.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(source_weights, "pretrain", lambda *_: pytest.fail("trained again"))
        assert make() == first
        assert make(weights=replace(SOURCE, recipe="V2", path="elsewhere")) == first
    first.unlink()
    torch.manual_seed(2)
    make()
    assert first.read_bytes() == content, "deterministic, whatever the generators were at"


def test_beyond_64_px_each_size_has_its_own_made_of_windows(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def make_for(image_size: int | None, model: ModelConfig = RESNET18) -> Path:
        return source_weights.source_weights(model, SOURCE, TRAINER, image_size)

    small = make_for(64)
    assert small == make_for(32) == make_for(None)
    large = make_for(96)
    assert "64 synthetic images (32 px of films of 96 px) x 1 epochs" in caplog.text
    assert large != make_for(128)
    recipes = [json.loads((file.parent / RECIPE).read_text()) for file in (small, large)]
    assert [recipe["recipe"]["film_size"] for recipe in recipes] == [None, 96]
    assert len({recipe["sha256"] for recipe in recipes}) == 2


class Stop(Callback):
    """Ctrl-C at the start of the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("damaged", [False, True])
def test_an_interrupted_training_goes_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damaged: bool
) -> None:
    whole = make().read_bytes()
    for file in (cache / "source").glob("*/*"):
        file.unlink()
    build: Callable[..., Trainer] = pretraining.build_trainer
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "build_trainer", lambda *args: build(*args[:-1], [*args[-1], Stop()]))
        with pytest.raises(KeyboardInterrupt):
            make()
    (last,) = (cache / "source").glob(f"*/{LAST}")
    assert not (last.parent / RECIPE).exists()
    if damaged:
        last.write_bytes(last.read_bytes()[:-100])
    caplog.set_level("INFO")
    assert make().read_bytes() == whole
    assert ("training starts again" if damaged else "going on from epoch 1") in caplog.text


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("name", [WEIGHTS, RECIPE])
def test_a_damaged_entry_is_made_again_and_mentioned(
    cache: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    file = make()
    content = file.read_bytes()
    cut(file.parent / name)
    assert make().read_bytes() == content
    assert "is corrupt" in caplog.text


def test_parallel_jobs_wait_for_the_one_that_trains(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trained: list[int] = []
    started = threading.Event()

    def slowly(*_: object) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        started.set()
        time.sleep(0.3)
        trained.append(1)
        return {"x": torch.ones(2)}, {"mass": 0.5}

    monkeypatch.setattr(source_weights, "pretrain", slowly)
    caplog.set_level("INFO")
    other = threading.Thread(target=make)
    other.start()
    started.wait()
    make()
    other.join()
    assert len(trained) == 1
    assert "another process makes" in caplog.text


def test_the_memory_format_is_part_of_what_they_are(cache: Path) -> None:
    assert make(replace(RESNET18, memory_format="contiguous")) != make()


def test_a_diverged_training_is_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe(32, 2, image_size=32, lr=1e30)
    with monkeypatch.context() as patch:
        patch.setattr(source_recipes, "_DEFAULT", {"small": recipe})
        with pytest.raises(RunError, match=r"the loss became (nan|inf) in epoch"):
            make()
    assert not list(cache.rglob("*.safetensors"))
    assert "cannot be written to" not in caplog.text


def test_a_backbone_that_is_tied_to_its_image_size_is_refused_before_it_is_trained(cache: Path) -> None:
    # An MLP-Mixer has a weight for each pair of patches.
    model = ModelConfig("mixer_s32_224", "timm")
    with pytest.raises(InputError, match=r"trained at 32 px does not fit model .*data\.image_size=32"):
        source_weights.source_weights(model, SOURCE, TRAINER, 64)
    assert not cache.exists()


def test_what_cannot_be_made_is_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"weights\.budget=large is unknown: choose from small, full"):
        make(weights=replace(SOURCE, budget="large"))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"XRAY_TL_CACHE.*cannot be written to"):
        source_weights.source_weights(RESNET18, SOURCE, TRAINER, instead=source_weights.refuse)


def test_a_cache_that_cannot_be_written_to_costs_a_warning_before_training(
    cache: Path,
    trained: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "file"))
    files = {make(), make(replace(RESNET18, stem="convert"))}
    (file,) = files
    assert set(load_file(file)) == {"x"}
    assert trained == [file.parent]
    assert file.is_relative_to(tmp_path / "spare")
    cost, announced = caplog.messages
    assert "cannot be written to, the run goes on without it" in cost
    assert "until this command ends, and the next one trains them again" in cost
    assert "are made now, once" in announced


def test_weights_that_a_full_disk_does_not_take_last_for_the_command(
    cache: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = source_weights.save_file

    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        if path.is_relative_to(cache):
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, metadata)

    monkeypatch.setattr(source_weights, "save_file", full)
    file = make()
    assert make() == file
    assert set(load_file(file)) == {"x"}
    assert len(trained) == 1, "what is trained is not lost"
    assert not file.is_relative_to(cache)
    assert "no space left on the device" in caplog.messages[-1]
    assert "the next one trains them again" in caplog.messages[-1]


def test_training_goes_on_elsewhere_when_the_disk_fills_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make().read_bytes()
    for file in (cache / "source").glob("*/*"):
        file.unlink()
    save = AtomicCheckpointIO.save_checkpoint

    def full(
        self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: str, storage_options: object
    ) -> None:
        if checkpoint["epoch"] == 1 and Path(path).is_relative_to(cache):
            with atomic_path(Path(path)):
                raise OSError(errno.ENOSPC, "No space left on device")
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
    caplog.set_level("INFO")
    made = make()
    assert made.read_bytes() == whole
    assert not made.is_relative_to(cache)
    assert "going on from epoch 1" in caplog.text


def test_a_run_stands_on_them(cache: Path, tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    record = run(tiny("weights=source", "mode=frozen"), tmp_path / "run")
    (file,) = (cache / "source").glob(f"*/{WEIGHTS}")
    scale, shift = record["weights"].pop("scale_and_shift")
    assert scale == pytest.approx([1 / 0.229, 1 / 0.224, 1 / 0.225]), "ImageNet's, as for any other weights"
    assert shift == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert record["weights"] == {
        "source": "source",
        "name": "budget small, seed 0",
        "sha256": tensors_sha256(load_file(file)),
        "image_size": None,
        "learned": json.loads((file.parent / RECIPE).read_text())["learned"],
        "quality": None,
    }


def test_one_training_serves_every_depth_and_is_found_again(
    cache: Path, tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    places = {depth: tmp_path / f"sweep/d{depth}" for depth in (1, 3)}
    for depth, place in places.items():
        cfg = tiny(*SMALL, "weights=source", "mode=frozen", f"model.depth={depth}")
        run(cfg, place, tmp_path / "sweep")
    (file,) = (cache / "source").glob(f"*/{WEIGHTS}")
    whole = load_file(file)
    kept = {path.stem for path in (tmp_path / "sweep/weights").iterdir()}
    assert kept == {record_of(place)["weights"]["sha256"] for place in places.values()}
    shutil.rmtree(cache)
    for depth, place in places.items():
        settings = typed(compose_config(*TINY, *SMALL, "weights=source", f"model.depth={depth}"))
        sha256 = record_of(place)["weights"]["sha256"]
        assert set(load_file(find_weights(place, settings, sha256))) == set(whole)
        cfg = compose_config(f"run={place}", name="evaluate")
        assert "came out exactly" in evaluate(cfg, place, [])


def record_of(place: Path) -> dict[str, Any]:
    """Read a run's record."""
    record = read_record(place)
    assert record is not None
    return record


def test_the_source_task_s_findings_are_no_targets(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    cfg = tiny("weights=source", "data.finding=mass")
    with pytest.raises(InputError, match=r"weights=source: the source task trains on data\.finding=mass"):
        run(cfg, tmp_path / "run")
    assert not list(tmp_path.rglob("record.json"))


def test_weights_are_looked_for_on_behalf_of_another_machine(
    cache: Path, trained: list[Path], tiny: Callable[..., DictConfig]
) -> None:
    """A command that submits jobs need not have the GPU that they will have, nor know its precision."""
    settings = typed(tiny("weights=source"))
    assert not are_made(settings, "cpu")
    source_weights.source_weights(
        settings.model, settings.weights, settings.trainer, settings.data.image_size
    )
    assert are_made(settings, "cpu")
    assert not are_made(settings, "cuda")
    assert not are_made(typed(tiny("weights=source", "weights.seed=1")), "cpu")
    assert len(trained) == 1
