"""Studies: every arm they name is there, and each passes in small."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY, compose_config
from tests.data.films.radiograph_files import write_classes
from xray_tl.config import conf_dir, typed
from xray_tl.config.identity import arm_hash, config_hash, run_name
from xray_tl.config.validation import validate
from xray_tl.models.normalisation import check_normalisation
from xray_tl.runs.run import run

STUDIES = sorted((Path(conf_dir()) / "study").glob("*.yaml"), key=lambda path: path.stem)


def _is_of_files(path: Path) -> bool:
    """Tell whether a study takes the user's own radiographs."""
    return {"override /data": "folder"} in OmegaConf.load(path).get("defaults", [])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_all_its_arms_and_seeds_can_be_trained(path: Path) -> None:
    study = OmegaConf.load(path)
    assert study.hydra.mode == "MULTIRUN"
    params = study.hydra.sweeper.params
    assert study.hydra.sweep.dir == f"outputs/study/{path.stem}"
    weights = str(params.get("weights", "")).split(",")
    for arm in params.arm.split(","):
        for source in weights:
            extra = [f"weights={source}"] if source else []
            extra += ["data.root=films"] if _is_of_files(path) else []
            cfg = compose_config(f"study={path.stem}", f"arm={arm}", *extra)
            validate(cfg)
            assert not {str(seed) for seed in cfg.tune.seeds} & set(str(params.get("seed", "")).split(","))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_weights_on_the_command_line_leave_its_arms_apart(path: Path) -> None:
    extra = ["data.root=films", "data.fold=0"] if _is_of_files(path) else []
    arms = OmegaConf.load(path).hydra.sweeper.params.arm.split(",")
    own = ("weights=file", "weights.path=a.safetensors", "weights.mean=[0.5]", "weights.std=[0.25]")
    for weights in (("weights=source",), own):
        cfgs = [compose_config(f"study={path.stem}", *weights, f"arm={arm}", *extra) for arm in arms]
        assert len({run_name(cfg) for cfg in cfgs}) == len(arms)
        for cfg in cfgs:
            check_normalisation(typed(cfg).weights)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_it_passes_in_small(path: Path, tmp_path: Path) -> None:
    tiny = [item for item in TINY if not item.startswith("model=")]
    if _is_of_files(path):
        root = write_classes(tmp_path / "films", 40)
        tiny = [item for item in tiny if not item.startswith("data.")]
        tiny += [f"data.root={root}", "data.image_size=32", "data.fold=0"]
    small = ("trainer.max_epochs=1", "tune.rates=[]", "shifts=[]", "arm=resnet50_frozen", "weights=random")
    assert run(compose_config(f"study={path.stem}", *tiny, *small), tmp_path)["status"] == "complete"


def test_each_seed_of_the_study_of_training_sets_has_its_own() -> None:
    cfg = compose_config("study=training_sets", "arm=resnet50_frozen", "seed=3")
    assert (cfg.data.train_seed, cfg.data.seed) == (3, 0)
    assert typed(cfg).data.train_seed == 3, "for the run too, whose data have a seed of their own"


def test_each_seed_of_the_study_of_pretraining_has_its_own_weights() -> None:
    one, other = (compose_config("study=pretraining", "arm=resnet50_frozen", f"seed={n}") for n in (0, 3))
    assert (one.weights.seed, other.weights.seed) == (0, 3)
    assert [typed(cfg).weights.seed for cfg in (one, other)] == [0, 3]
    assert arm_hash(one) == arm_hash(other)
    assert config_hash(one) != config_hash(other), "a solved head is another on other weights"
    quick = compose_config("study=quick", "arm=resnet50_frozen")
    assert config_hash(one) == config_hash(quick), "its first set is the one of study=quick"
