"""Golden hashes: what names a run stays the same, however the code is arranged.

Whoever changes one makes every finished run of that kind another run, and says so in the CHANGELOG.
"""

import pytest

from tests.conftest import compose_config
from xray_tl.config.identity import arm_hash, backbone_name, config_hash, run_name
from xray_tl.config.validation import validate
from xray_tl.errors import InputError

# Options, and the first 16 hex digits of config_hash and arm_hash.
GOLDEN = [
    ((), "cc24f7e51508918b", "6bc2fc630fe76e27"),
    (("model=vgg16", "mode=frozen"), "3461bec54155de02", "35263f8d70f080f0"),
    (("mode=lp_ft", "weights=source", "seed=3"), "6a24cd1f9165ab24", "71548348f5a0008d"),
    (("data=folder", "data.root=films"), "561b7e3ed2c03bdd", "ab15e043dcc09796"),
    (("data=csv", "data.root=films", "data.table=t.csv"), "762e883582dce44e", "2325bad44aa4f593"),
    (("data=nih", "data.root=films"), "f30f9d007583369f", "236e9cdb483f86cc"),
    (("data=medmnist", "data.root=a.npz"), "c4fe3b0c32af2a7a", "6ab58453a37e628d"),
    (("weights=file", "weights.path=w.pth"), "f562bb6a85e91ad6", "f8ae71b644680de2"),
    (("mode=frozen", "mode.head=trained"), "5cf7acbe0148c6e4", "26db45763eb11922"),
    (("mode=lora",), "dc25a45730e1f3a0", "5e9cfbe923d6c0e3"),
    (("tune=rates",), "bdfaa0267effa690", "2b1a3f768749358c"),
    (("difficulty=hard", "shift=no_grid"), "fc15d32661165b72", "736455f8d51f22a2"),
]


@pytest.mark.parametrize(("options", "config", "arm"), GOLDEN, ids=lambda value: str(value)[:40])
def test_hashes_stay(options: tuple[str, ...], config: str, arm: str) -> None:
    cfg = compose_config(*options)
    assert (config_hash(cfg)[:16], arm_hash(cfg)[:16]) == (config, arm)
    assert run_name(cfg).endswith(config[:8])


def test_a_depth_is_another_run_and_none_is_what_it_was() -> None:
    whole = compose_config()
    hashes, names = set(), set()
    for depth in ("null", "1", "4"):
        cfg = compose_config(f"model.depth={depth}")
        hashes.add(config_hash(cfg))
        names.add(run_name(cfg).rpartition("-")[0])
    assert config_hash(whole) in hashes
    assert len(hashes) == 3
    assert names == {f"resnet50{suffix}-finetune-auto-s0" for suffix in ("", "-d1", "-d4")}


def test_a_depth_follows_the_name_of_a_timm_network() -> None:
    cfg = compose_config("model=timm", "model.name=test_resnet", "model.depth=2")
    assert backbone_name(cfg) == "timm/test_resnet-d2"
    assert run_name(cfg).startswith("timm-test_resnet-d2-")


@pytest.mark.parametrize("depth", ["0", "-1"])
def test_a_depth_is_at_least_one_stage(depth: str) -> None:
    with pytest.raises(InputError, match=rf"model\.depth={depth} is not valid: choose at least 1"):
        validate(compose_config(f"model.depth={depth}"))
