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
    ((), "28b5aad341b695f3", "a20bdbe87157d01a"),
    (("model=vgg16", "mode=frozen"), "05989f8240ef03cf", "0e53e21adc0e726f"),
    (("mode=lp_ft", "weights=source", "seed=3"), "ca7a6f30ad99a8de", "dd504b1480e6e32a"),
    (("data=folder", "data.root=films"), "63a849637d61d420", "2038eafa12b0363d"),
    (("data=csv", "data.root=films", "data.table=t.csv"), "0c55c2911615f770", "c0582755880982f5"),
    (("data=nih", "data.root=films"), "a6769bb454d2bd36", "fe4744cdc9c8e7f2"),
    (("data=medmnist", "data.root=a.npz"), "9d86db6c3ba14d91", "7d29abfccf6a1656"),
    (("weights=file", "weights.path=w.pth"), "c1af989688d7aa4d", "407d7b0337154f3d"),
    (("optim=lbfgs", "mode=frozen"), "fd1c330730beb2a1", "d467fb242f4e396a"),
    (("tune=rates",), "c617548d7cef9182", "71daa7b50329f191"),
    (("difficulty=hard", "shift=no_grid"), "4f5b6a3949a663b9", "fb742e0874c50293"),
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
