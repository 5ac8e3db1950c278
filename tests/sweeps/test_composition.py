"""The jobs of a sweep as Hydra composes them."""

import pickle
from typing import Any, cast

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.conftest import TINY, compose_config
from xray_tl.config import conf_dir
from xray_tl.config.identity import run_name
from xray_tl.store.sweep_file import Job
from xray_tl.sweeps.composition import ComposedOnce


class Loader:
    """Stands for Hydra's: notes what it composes."""

    def __init__(self) -> None:
        self.composed: list[list[str]] = []

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.composed.append(sweep_overrides)
        return compose_config(*sweep_overrides)


class HydraLike(Loader):
    """Composes Hydra's own part of a configuration too."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        cfg = super().load_sweep_config(master_config, sweep_overrides)
        with open_dict(cfg):
            cfg.hydra = {"job": {}, "sweep": {"subdir": run_name(cfg)}}
        return cfg


def test_a_job_is_composed_once_to_be_checked_and_launched() -> None:
    loader = Loader()
    ComposedOnce(cast("ConfigLoader", loader))
    jobs, master = (["seed=0"], ["seed=1"]), OmegaConf.create()
    for job in jobs:  # as Hydra checks a batch
        loader.load_sweep_config(master, job)
    launched = [loader.load_sweep_config(master_config=master, sweep_overrides=list(job)) for job in jobs]
    assert [cfg.seed for cfg in launched] == [0, 1]
    assert loader.composed == [["seed=0"], ["seed=1"]]
    loader.load_sweep_config(master, jobs[0])
    assert len(loader.composed) == 3, "a job that comes again is composed again: the launched one was changed"


def test_each_job_is_noted_with_the_options_that_tell_it_from_the_others() -> None:
    loader = HydraLike()
    composed = ComposedOnce(cast("ConfigLoader", loader))
    for mode in ("finetune", "partial"):
        loader.load_sweep_config(OmegaConf.create(), ["weights=random", f"mode={mode}", "shifts=[blur]"])
    noted = composed.jobs()
    assert [name.split("-")[1] for name in noted] == ["finetune", "partial"]
    assert list(noted.values()) == [Job(("mode=finetune",), ("blur",)), Job(("mode=partial",), ("blur",))]
    first, second = noted
    composed.forget(first)
    assert list(composed.jobs()) == list(composed.shifts) == [second]


def test_jobs_that_are_the_same_run_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader()
    ComposedOnce(cast("ConfigLoader", loader))
    jobs = ("arm=resnet50_frozen weights=source", "arm=resnet50_frozen weights=random")
    for job in (*jobs, "arm=resnet50_frozen_random weights=random"):
        loader.load_sweep_config(OmegaConf.create(), job.split())
    for seed in (0, 1):  # refused later: nothing can be said of them
        loader.load_sweep_config(OmegaConf.create(), ["model=timm", f"seed={seed}"])
    (said,) = caplog.messages
    assert said.startswith("arm=resnet50_frozen_random is the same run as arm=resnet50_frozen:")


def test_seeds_that_share_a_solved_run_are_not_warned_of_but_other_options_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loader = Loader()
    ComposedOnce(cast("ConfigLoader", loader))
    for job in ("seed=0 optim.lr=0.1", "seed=1 optim.lr=0.1", "seed=1 optim.lr=0.2"):
        for head in ("solved", "trained"):
            loader.load_sweep_config(OmegaConf.create(), ["mode=frozen", f"mode.head={head}", *job.split()])
    (said,) = caplog.messages
    assert said.startswith("optim.lr=0.2 is the same run as optim.lr=0.1: ")


@pytest.mark.parametrize(
    ("subdir", "folders"),
    [
        ("${run_name:}", None),
        ("${hydra.job.num}-${model.name}", ["0-resnet18", "1-resnet18"]),
        ("${hydra.job.id}", []),  # a launcher's own number
    ],
)
def test_the_jobs_folders_are_known_and_a_pickled_job_has_its_own_configuration_alone(
    subdir: str, folders: list[str] | None
) -> None:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        settings: dict[str, Any] = {"from_shell": False, "validate_sweep_overrides": False}
        task = [f"hydra.sweep.subdir={subdir!r}", "shifts=[low_dose]", *TINY]
        master = loader.load_configuration("config", task, RunMode.MULTIRUN, **settings)
        composed, sizes = ComposedOnce(loader), []
        configurations = []
        for seed in (0, 1):
            configurations.append(loader.load_sweep_config(master, [*task, f"seed={seed}"]))
            sizes.append(len(pickle.dumps(loader)))
        elsewhere = pickle.loads(pickle.dumps(loader))
        again = elsewhere.load_sweep_config(master, [*task, "seed=1"])
    if folders is None:
        folders = [run_name(cfg) for cfg in configurations]
    assert composed.shifts == {name: ["low_dose"] for name in folders}
    assert sizes[1] < sizes[0] + 100
    assert run_name(again) == run_name(configurations[1])
