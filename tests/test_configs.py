"""Every option composes and is documented; names in YAML and in code are the same."""

import copy
import re
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from tests.conftest import compose_config, option_names
from xray_tl.config import conf_dir, typed
from xray_tl.config.identity import CHANGES_RESULT, COSMETIC, OPTIONAL, arm_hash, config_hash, run_name
from xray_tl.config.validation import validate
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.models.freeze import policy_names
from xray_tl.observers.ideal_scores import ideal_logit
from xray_tl.statistics.bounds import bounds

CONF = Path(conf_dir())
GROUPS = (
    "model",
    "mode",
    "weights",
    "data",
    "difficulty",
    "shift",
    "augment",
    "optim",
    "tune",
    "trainer",
    "logger",
    "arm",
    "study",
)
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
# What an option asks the user for, and nothing else can be composed without.
REQUIRED = {
    ("model", "timm"): ["model.name=resnet10t"],
    **{("data", name): ["data.root=films"] for name in ("folder", "dicom", "nih", "medmnist")},
    ("data", "csv"): ["data.root=films", "data.table=labels.csv"],
    ("study", "cross_validation"): ["data.root=films"],
}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_option_composes_and_is_valid(group: str, option: str) -> None:
    cfg = compose_config(f"{group}={option}", *REQUIRED.get((group, option), []))
    validate(cfg)
    typed(cfg)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_file_opens_with_purpose_and_command(group: str, option: str) -> None:
    head = (CONF / group / f"{option}.yaml").read_text().split("defaults:")[0]
    assert head.startswith("# ")
    assert "python -m xray_tl." in head


@pytest.mark.parametrize(
    "group", ["mode", "weights", "trainer", "logger", "augment", "optim", "tune", "data"]
)
def test_file_is_named_like_its_name(group: str) -> None:
    key = "source" if group == "weights" else "name"
    for _, option in (pair for pair in OPTIONS if pair[0] == group):
        assert compose_config(f"{group}={option}")[group][key] == option


@pytest.mark.parametrize("group", ["difficulty", "shift"])
def test_a_group_of_data_options_names_itself(group: str) -> None:
    for _, option in (pair for pair in OPTIONS if pair[0] == group):
        assert compose_config(f"{group}={option}").data[group] == option


@pytest.mark.parametrize("shift", [option for group, option in OPTIONS if group == "shift"])
def test_a_shift_changes_images_or_labels(shift: str) -> None:
    hashes = [
        XrayDataModule(typed(compose_config(*overrides)).data, seed=0).data_hash()
        for overrides in ((), (f"shift={shift}",))
    ]
    assert (hashes[0] == hashes[1]) == (shift == "none")


LEVELS = [option for group, option in OPTIONS if group == "difficulty" and option != "own"]


@pytest.mark.parametrize("finding", ["nodule", "opacity"])
@pytest.mark.parametrize("size", [64, *(pytest.param(size, marks=pytest.mark.slow) for size in (128, 224))])
def test_a_difficulty_has_the_ceiling_that_its_file_states(finding: str, size: int) -> None:
    ceilings = {}
    for level in LEVELS:
        text = (CONF / "difficulty" / f"{level}.yaml").read_text()
        stated = re.search(
            rf"^# *{size} px: nodule (?P<nodule>0\.\d+), opacity (?P<opacity>0\.\d+)$", text, re.M
        )
        assert stated, f"{level}.yaml states no ceiling at {size} px"
        options = (f"difficulty={level}", f"data.finding={finding}", f"data.image_size={size}")
        source = SyntheticRadiographs.open(typed(compose_config(*options)).data, "test")
        best = bounds(ideal_logit(source, 500))
        # the file's own figure comes from 2000 images; it is rounded to three places
        error = best["auroc_se"] * (1 + 500 / 2000) ** 0.5
        assert abs(best["auroc"] - float(stated[finding])) < 4 * error + 0.0005
        ceilings[level] = best["auroc"]
    assert ceilings["easy"] > ceilings["medium"] > ceilings["hard"]


def test_a_difficulty_is_refused_for_a_finding_that_it_is_not_made_for() -> None:
    with pytest.raises(InputError, match=r"difficulty=hard is not made for data\.finding=mass"):
        typed(compose_config("difficulty=hard", "data.finding=mass"))


def test_hydra_shares_its_store_but_not_what_it_hands_out() -> None:
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    handed_out = store.load("schema/mode.yaml").node
    handed_out.name = "changed"
    assert OmegaConf.is_missing(store.load("schema/mode.yaml").node, "name")


def test_modes_in_registry_and_config_are_the_same() -> None:
    files = sorted(path.stem for path in (CONF / "mode").glob("*.yaml"))
    assert policy_names() == files


def test_every_option_is_either_part_of_the_result_or_cosmetic() -> None:
    leaves = option_names()
    listed = (*CHANGES_RESULT, *OPTIONAL, *COSMETIC)
    assert len(set(listed)) == len(listed)
    for leaf in leaves:
        places = [key for key in listed if leaf == key or leaf.startswith(f"{key}.")]
        assert len(places) == 1, f"{leaf} must stand in exactly one of CHANGES_RESULT, OPTIONAL and COSMETIC"
    for key in listed:
        assert any(leaf == key or leaf.startswith(f"{key}.") for leaf in leaves), f"{key} is no option"


@pytest.mark.parametrize("override", ["trainer.progress_bar=false", "logger=none", "data.num_workers=3"])
def test_cosmetic_options_do_not_move_the_hash(override: str) -> None:
    assert config_hash(compose_config(override)) == config_hash(compose_config())


def test_a_run_of_an_earlier_version_keeps_its_hash() -> None:
    cfg = compose_config()
    earlier = OmegaConf.create(OmegaConf.to_container(cfg))
    del earlier.optim["sampling"]
    assert (config_hash(earlier), arm_hash(earlier)) == (config_hash(cfg), arm_hash(cfg))
    assert config_hash(compose_config("optim.sampling=balanced")) != config_hash(cfg)


def test_a_file_of_weights_moves_the_hash_of_those_alone_who_take_it() -> None:
    path = "weights.path=a.safetensors"
    for weights, same in (("random", True), ("file", False)):
        hashes = {
            config_hash(compose_config(f"weights={weights}", *extra)) for extra in ((path,), (f"{path}2",))
        }
        assert (len(hashes) == 1) is same


@pytest.mark.parametrize(
    "override", ["seed=1", "data.acquisition.kvp=90", "mode.head_lr=2e-3", "data.n_val=9"]
)
def test_options_that_change_a_result_move_the_hash(override: str) -> None:
    assert config_hash(compose_config(override)) != config_hash(compose_config())


def test_an_arm_is_everything_but_the_seeds() -> None:
    seeds = compose_config("seed=1", "data.seed=2", "data.train_seed=3")
    assert arm_hash(seeds) == arm_hash(compose_config())
    assert arm_hash(compose_config("optim.lr=3e-3")) != arm_hash(compose_config())


def test_run_name_has_arm_seed_and_hash() -> None:
    cfg = compose_config("model=vgg16", "mode=frozen", "weights=random", "seed=3")
    assert run_name(cfg) == f"vgg16-frozen-random-solved-{config_hash(cfg)[:8]}"
    timm = compose_config("model=timm", "model.name=resnet10t")
    assert run_name(timm).startswith("timm-resnet10t-finetune-auto-s0-")


def test_a_stored_configuration_has_the_hash_of_the_composed_one(tmp_path: Path) -> None:
    cfg = compose_config("model=timm", "model.name=resnet10t", "data.d0=3", "optim.lr=1")
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    stored = OmegaConf.load(tmp_path / "config.yaml")
    assert isinstance(stored, DictConfig)
    assert config_hash(stored) == config_hash(cfg)


def test_folds_are_runs_of_one_arm() -> None:
    options = ("data=folder", "data.root=films", "data.folds=3")
    folds = [compose_config(*options, f"data.fold={fold}") for fold in range(3)]
    assert len({arm_hash(cfg) for cfg in folds}) == 1
    assert len({config_hash(cfg) for cfg in folds}) == 3
    assert arm_hash(compose_config("data=folder", "data.root=films", "data.folds=4")) != arm_hash(folds[0])
