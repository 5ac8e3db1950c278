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
    ((), "cc24f7e51508918b", "535a628168f57464"),
    (("model=vgg16", "mode=frozen"), "3461bec54155de02", "6ec7a462223c6411"),
    (("mode=lp_ft", "weights=source", "seed=3"), "6a24cd1f9165ab24", "e21f793c83e8492a"),
    (("data=folder", "data.root=films"), "561b7e3ed2c03bdd", "aef054d262874222"),
    (("data=csv", "data.root=films", "data.table=t.csv"), "762e883582dce44e", "847716750a34ec47"),
    (("data=nih", "data.root=films"), "f30f9d007583369f", "e9b0fff7e7642813"),
    (("data=medmnist", "data.root=a.npz"), "c4fe3b0c32af2a7a", "f793cdefc4c1e94b"),
    (("weights=file", "weights.path=w.pth"), "f562bb6a85e91ad6", "cbd19238d8f02973"),
    (("mode=frozen", "mode.head=trained"), "5cf7acbe0148c6e4", "b55129293a611232"),
    (("mode=lora",), "dc25a45730e1f3a0", "d69be0e4949530dc"),
    (("tune=rates",), "293daa23f6659381", "fe0656efa6983068"),
    (("difficulty=hard", "shift=no_grid"), "fc15d32661165b72", "2ab77587375cea1f"),
]


@pytest.mark.parametrize(("options", "config", "arm"), GOLDEN, ids=lambda value: str(value)[:40])
def test_hashes_stay(options: tuple[str, ...], config: str, arm: str) -> None:
    cfg = compose_config(*options)
    assert (config_hash(cfg)[:16], arm_hash(cfg)[:16]) == (config, arm)
    assert run_name(cfg).endswith(config[:8])


def test_the_seed_of_weights_is_no_part_of_an_arm() -> None:
    for source in ("random", "source", "auto"):
        one, other = (compose_config(f"weights={source}", f"weights.seed={seed}") for seed in (0, 1))
        assert arm_hash(one) == arm_hash(other)
        assert config_hash(one) != config_hash(other)


@pytest.mark.parametrize("options", [("weights=imagenet",), ("weights=file", "weights.path=w.pth")])
def test_published_weights_are_of_no_seed(options: tuple[str, ...]) -> None:
    plain, same = compose_config(*options), compose_config(*options, "weights.seed=1")
    assert config_hash(plain) == config_hash(same)
    assert run_name(plain) == run_name(same)
    assert arm_hash(plain) == arm_hash(same)


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
