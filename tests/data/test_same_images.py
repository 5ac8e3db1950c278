"""Which images are the same ones."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.films.radiograph_files import films, write_classes, write_png16
from xray_tl.config import AcquisitionConfig, MarkerConfig, RadiographDataConfig, SyntheticDataConfig
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.films.collection import open_collection
from xray_tl.data.films.radiographs import RadiographSource
from xray_tl.data.same_images import name_images
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs

BASE = SyntheticDataConfig(image_size=32, n_train=20, n_val=20, n_test=20, finding="nodule")


def _named(config: SyntheticDataConfig | RadiographDataConfig, target_auroc: float | None = None) -> str:
    return str(XrayDataModule(config, seed=0, target_auroc=target_auroc).describe()["test_set"])


@pytest.mark.parametrize(
    "changes",
    [{"train_seed": 5}, {"n_train": 30}, {"batch_size": 4}, {"marker": MarkerConfig(train=0.5, test=None)}],
)
def test_what_a_network_is_trained_on_makes_no_other_test_set(changes: dict[str, object]) -> None:
    assert _named(replace(BASE, **changes)) == _named(BASE)


def test_other_images_are_another_test_set() -> None:
    others = (
        {"seed": 1},
        {"finding": "opacity"},
        {"d0": 4.0},
        {"d0": 4.0001},
        {"acquisition": AcquisitionConfig(kerma=0.25)},
        {"prevalence": 0.4},
        {"n_test": 21},
        {"marker": MarkerConfig(train=None, test=0.5)},
    )
    names = [_named(BASE), *(_named(replace(BASE, **changes)) for changes in others)]
    assert len(set(names)) == len(names)


def test_two_machines_that_find_another_last_digit_of_d0_test_on_the_same_images() -> None:
    found = [replace(BASE, d0=d0) for d0 in (4.387, 4.388)]
    assert len({_named(config, 0.9) for config in found}) == 1
    assert len({_named(config) for config in found}) == 2, "stated, they are two tasks"
    assert _named(found[0], 0.9) != _named(found[0], 0.91)


def test_the_last_digit_of_a_sine_is_no_other_image(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SyntheticRadiographs.open(replace(BASE, finding="cavity"), "test")
    own = source.identity()
    moved = source.identity()
    row = own["finding"]["shapes"][0][1][0]
    moved["finding"]["shapes"][0][1][0] = math.nextafter(row, 2)
    names = []
    for identity in (own, moved):
        monkeypatch.setattr(source, "identity", lambda identity=identity: identity)
        names.append(name_images(source, 20))
    assert own != moved
    assert names[0] == names[1]


def test_films_are_known_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))
    root = write_classes(tmp_path / "films", 40)
    config = RadiographDataConfig(name="folder", root=str(root), image_size=32)
    first = _named(config)
    assert _named(replace(config, image_size=64)) == first, "read at another size"
    assert _named(replace(config, n_train=8)) == first
    assert _named(replace(config, seed=1)) != first, "other films"
    collection = open_collection(config)
    source = collection.source("test")
    turned = RadiographSource(collection, "test", source.rows[::-1], source.device)
    assert name_images(turned, len(source)) == name_images(source, len(source)) == first, "in any order"
    moved = root.rename(tmp_path / "elsewhere")
    assert _named(replace(config, root=str(moved))) == first
    changed = moved / source.names[0]
    write_png16(changed.with_suffix(""), np.float32(1) - films(1)[0][0])
    split = tmp_path / "split.csv"
    collection.split_table().to_csv(split, index=False)
    assert _named(replace(config, root=str(moved), split_file=str(split))) != first, "one film is another"
