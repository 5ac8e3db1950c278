"""Names of arms as plans write them."""

from pathlib import Path

import pytest

from tests.conftest import compose_config
from xray_tl.config import conf_dir
from xray_tl.config.named_arms import arm_name, check_arm, split_arm
from xray_tl.errors import InputError


def _files(group: str) -> list[str]:
    return [path.stem for path in (Path(conf_dir()) / group).glob("*.yaml")]


def test_an_arm_is_a_file_options_or_both() -> None:
    assert arm_name("b  mode=frozen data.n_train=9") == "b data.n_train=9 mode=frozen"
    assert split_arm("b mode=frozen data.n_train=9") == ("b", {"mode": "frozen", "data.n_train": "9"})
    assert split_arm("mode=frozen") == (None, {"mode": "frozen"})
    for text in ("a b", "mode=frozen a"):
        with pytest.raises(InputError, match=f'"{text}" is no arm'):
            arm_name(text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "resnet51_frozen",
            r"names no arm: resnet51_frozen is not one of .*vgg16_frozen",
        ),
        ("model=resnet51", r"names no arm: model=resnet51 is not one of"),
        ("seed=1", r"names no arm: seed is no option that tells arms apart"),
        ("data.seed=1", r"names no arm: data\.seed is no option"),
        ("optim.speed=1", r"names no arm: optim\.speed is no option"),
    ],
)
def test_what_names_no_arm_is_refused(asked: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_arm(asked, "planned: q", compose_config(), _files)
