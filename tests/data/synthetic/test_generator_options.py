"""Every range of the synthetic data set's options is kept, and its file states every value."""

import math
from typing import Any

import pytest
from omegaconf import OmegaConf

from xray_tl.config import SyntheticDataConfig, conf_dir
from xray_tl.data.synthetic.generator_options import RANGES, RESERVED_SEEDS, validate
from xray_tl.errors import InputError


def with_option(option: str, value: object) -> SyntheticDataConfig:
    config = SyntheticDataConfig()
    *path, name = option.split(".")
    node: Any = config
    for part in path:
        node = getattr(node, part)
    setattr(node, name, [value] if option in ("radii", "contrasts", "mild_contrasts") else value)
    return config


@pytest.mark.parametrize("option", RANGES)
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_range_is_kept(option: str, end: str) -> None:
    allowed = RANGES[option]
    beyond = allowed.low - 1 if end == "low" else allowed.high + 1
    outside = [beyond, math.nan] + ([getattr(allowed, end)] if end in allowed.open_ends else [])
    for value in outside:
        with pytest.raises(InputError, match=rf"^data\.{option}=.*is not valid: choose in [\[(]") as caught:
            validate(with_option(option, value))
        assert "\n" not in str(caught.value)
    if end not in allowed.open_ends:
        validate(with_option(option, getattr(allowed, end)))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (100, "data.image_size=100 is not a multiple of 16: the nearest are 96 and 112"),
        (40, "data.image_size=40 is not a multiple of 16: the nearest are 32 and 48"),
        (16, "data.image_size=16 is too small: the smallest is 32"),
        (-32, "data.image_size=-32 is too small: the smallest is 32"),
    ],
)
def test_image_sizes(size: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(SyntheticDataConfig(image_size=size))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": "strong"}, "data.contrast=strong is unknown: choose from iso, physical"),
        (
            {"finding": "tumour"},
            "data.finding=tumour is unknown: choose from ",
        ),
        ({"radii": []}, "data.radii is empty"),
        ({"contrasts": []}, "data.contrasts is empty"),
        ({"radii": [10.0, 12.0, 14.0, 16.0, 18.0]}, "data.radii gives 30 templates"),
    ],
)
def test_other_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(SyntheticDataConfig(**options))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("option", ["seed", "train_seed"])
def test_reserved_seeds_are_no_target_task_s(option: str) -> None:
    validate(with_option(option, RESERVED_SEEDS[0] - 1))
    for seed in RESERVED_SEEDS:
        with pytest.raises(InputError, match=rf"data\.{option}=.* is not valid"):
            validate(with_option(option, seed))


def test_the_group_file_states_every_value() -> None:
    file = OmegaConf.load(f"{conf_dir()}/data/synthetic.yaml")
    del file["defaults"]
    assert OmegaConf.to_container(file) == OmegaConf.to_container(OmegaConf.structured(SyntheticDataConfig))
