"""A finished run on another machine: without the cache, the source weights' file, or the accelerator."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.conftest import TINY, compose_config
from xray_tl.config import TrainerConfig
from xray_tl.errors import InputError
from xray_tl.runs import parts as assembly
from xray_tl.runs.kept_weights import KEPT
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.runs.score_films import open_scorer
from xray_tl.store.records import RECORD, read_record
from xray_tl.sweeps.job import do_job
from xray_tl.training import pretraining, source_recipes
from xray_tl.training.source_recipes import Recipe

CPU = TrainerConfig(accelerator="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do two jobs of a sweep on source weights of resnet18, made in next to no time."""
    place = tmp_path_factory.mktemp("elsewhere")
    recipe = {"small": Recipe(16, 1, image_size=32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAY_TL_CACHE", str(place / "cache"))
        patch.setattr(source_recipes, "_DEFAULT", recipe)
        patch.setattr(pretraining, "HELD_OUT", 32)
        for seed in (0, 1):
            cfg = compose_config(*TINY, "weights=source", "mode=frozen", f"seed={seed}")
            assert do_job(cfg, place / "sweep" / str(seed)) is None
        run(compose_config(*TINY, "weights=source", "mode=finetune"), place / "alone")
        run(compose_config(*TINY, "weights=source", "mode=frozen"), place / "single")
        resized = ("model=timm", "model.name=test_vit", "data.image_size=64")  # its positions are made for 32
        run(compose_config(*TINY, *resized, "weights=source", "mode=frozen"), place / "resized")
    return place


@pytest.fixture
def elsewhere(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move what was trained to a machine with an empty cache, on which nothing may be made."""
    for name in ("sweep", "alone", "single", "resized"):
        shutil.copytree(trained / name, tmp_path / name)
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "empty"))

    def refuse(*args: object) -> None:
        raise AssertionError("source weights are made")

    monkeypatch.setattr(assembly, "source_weights", refuse)
    assembly.forget_trunk()
    return tmp_path


def _evaluate(folder: Path) -> str:
    return evaluate(compose_config(f"run={folder}", name="evaluate"), folder, [])


@pytest.mark.parametrize("name", ["sweep/0", "sweep/1", "single", "resized"])
def test_a_frozen_run_finds_its_weights_beside_it(elsewhere: Path, name: str) -> None:
    assert "came out exactly" in _evaluate(elsewhere / name)
    assert open_scorer(elsewhere / name, CPU).record["weights"]["source"] == "source"


def test_a_sweep_keeps_one_file_and_a_fine_tuned_run_none(elsewhere: Path) -> None:
    record = read_record(elsewhere / "sweep" / "0")
    assert record is not None
    places = [elsewhere / name for name in ("alone", "single", "sweep")]
    kept = [path.relative_to(elsewhere).as_posix() for place in places for path in place.rglob(f"{KEPT}/*")]
    name = f"{KEPT}/{record['weights']['sha256']}.safetensors"
    assert sorted(kept) == [f"single/{name}", f"sweep/{name}"]


def test_the_cache_of_any_device_serves(
    elsewhere: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source weights of another device lie under another key, and are the ones by their tensors' hash."""
    shutil.rmtree(elsewhere / "sweep" / KEPT)
    entry = next((trained / "cache" / "source").glob("resnet18-*"))
    other = entry.name[:-12] + "0" * 12
    shutil.copytree(entry, elsewhere / "empty" / "source" / other)
    assert "came out exactly" in _evaluate(elsewhere / "sweep" / "0")


@pytest.mark.parametrize("damaged", [True, False])
def test_weights_that_are_nowhere_are_named_with_where_they_belong(elsewhere: Path, damaged: bool) -> None:
    kept = elsewhere / "sweep" / KEPT
    if damaged:
        next(kept.iterdir()).write_bytes(b"nothing")
    else:
        shutil.rmtree(kept)
    expected = rf"source weights of resnet18 with sha256 \w+….*{re.escape(str(kept))}.*copy them there"
    with pytest.raises(InputError, match=expected):
        _evaluate(elsewhere / "sweep" / "1")
    with pytest.raises(InputError, match=expected):
        open_scorer(elsewhere / "sweep" / "1", CPU)


@pytest.mark.parametrize("name", ["sweep/0", "alone"])
def test_the_accelerator_that_trained_it_need_not_be_here(
    elsewhere: Path, name: str, caplog: pytest.LogCaptureFixture, tiny: Callable[..., DictConfig]
) -> None:
    folder = elsewhere / name
    path = folder / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("accelerator: cpu", "accelerator: cuda"))
    record = json.loads((folder / RECORD).read_text())
    record["environment"]["device"] = "cuda (another)"
    record["metrics"]["test"]["loss"] += 1e-4
    (folder / RECORD).write_text(json.dumps(record))
    with caplog.at_level(logging.WARNING):
        text = _evaluate(folder)
    assert "trainer.accelerator=cuda, which is not here" in caplog.text
    assert "recorded by cuda (another), and cpu" in text
    assert "rounds in its own way: metrics differ by at most 1.0e-04" in text
    assert open_scorer(folder, CPU).device.type == "cpu"
