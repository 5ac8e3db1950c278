"""Golden hashes: what names a run stays the same, however the code is arranged.

Whoever changes one makes every finished run of that kind another run, and says so in the CHANGELOG.
"""

import pytest

from tests.conftest import compose_config
from xray_tl.config.identity import arm_hash, config_hash, run_name

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
    (("mode=frozen", "mode.head=trained"), "", ""),
    (("mode=lora",), "", ""),
    (("tune=rates",), "c617548d7cef9182", "71daa7b50329f191"),
    (("difficulty=hard", "shift=no_grid"), "4f5b6a3949a663b9", "fb742e0874c50293"),
]


@pytest.mark.parametrize(("options", "config", "arm"), GOLDEN, ids=lambda value: str(value)[:40])
def test_hashes_stay(options: tuple[str, ...], config: str, arm: str) -> None:
    cfg = compose_config(*options)
    assert (config_hash(cfg)[:16], arm_hash(cfg)[:16]) == (config, arm)
    assert run_name(cfg).endswith(config[:8])
