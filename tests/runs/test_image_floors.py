"""A run's floors: those of its own images, computed once a data set."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.conftest import TINY, compose_config
from xray_tl.config import typed
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.runs import image_floors as floors
from xray_tl.runs.run import run
from xray_tl.store.records import read_record

Tiny = Callable[..., DictConfig]


def data(*overrides: str) -> XrayDataModule:
    module = XrayDataModule(typed(compose_config(*TINY, *overrides)).data, seed=0)
    module.setup()
    return module


def test_every_run_of_a_data_set_records_the_same_floors(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tiny("mode=frozen", "data.seed=41"), tmp_path / "a")["floors"]
    assert set(first) == set(floors.FLOORS)
    assert first["majority"]["auroc"] == 0.5
    monkeypatch.setattr(floors, "_score", lambda _: pytest.fail("computed again"))
    run(tiny("mode=frozen", "data.seed=41", "seed=1"), tmp_path / "b")
    stored = read_record(tmp_path / "b")
    assert stored is not None
    assert stored["floors"] == first
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        floors.describe_floors(data("data.seed=42"))


def test_a_bright_mark_on_positives_lifts_the_statistics() -> None:
    plain, marked = (
        floors.describe_floors(data("data.n_train=200", "data.n_test=100", *marker))
        for marker in ((), ("data.marker.train=1", "data.marker.test=1"))
    )
    assert marked["image_statistics"]["auroc"] > 0.95 > plain["image_statistics"]["auroc"]


def test_images_rendered_on_demand_give_the_same_floors() -> None:
    kept = floors._score(data())
    for name, values in floors._score(data("data.memory_limit_gb=0")).items():
        assert (values == kept[name]).all()
