"""Freeze policies: which stages train when."""

from dataclasses import replace

import pytest

from xray_tl.config import ModeConfig
from xray_tl.errors import InputError
from xray_tl.models.freeze import FreezePolicy, build_policy, register_policy
from xray_tl.models.trainable import Trainable

STAGES, EPOCHS = 5, 6


def _policy(name: str, epochs: int = EPOCHS, **options: object) -> FreezePolicy:
    return build_policy(replace(ModeConfig(name=name), **options), STAGES, epochs)


def _count(policy: FreezePolicy, epoch: int) -> int:
    """Return how many of the deepest stages train in an epoch."""
    trainable = policy.trains(epoch)
    assert trainable == Trainable.deepest(len(trainable.stages), STAGES)
    return len(trainable.stages)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("finetune", {}, [5, 5, 5, 5, 5, 5]),
        ("frozen", {}, [0, 0, 0, 0, 0, 0]),
        ("partial", {"trainable_stages": 2}, [2, 2, 2, 2, 2, 2]),
        ("gradual", {"unfreeze_every": 1}, [1, 2, 3, 4, 5, 5]),
        ("gradual", {"unfreeze_every": 3}, [1, 1, 1, 2, 2, 2]),
        ("lp_ft", {}, [5, 5, 5, 5, 5, 5]),
        ("discriminative", {"layer_decay": 0.5}, [5, 5, 5, 5, 5, 5]),
    ],
)
def test_open_stages_by_epoch(name: str, options: dict[str, object], expected: list[int]) -> None:
    policy = _policy(name, **options)
    assert [_count(policy, epoch) for epoch in range(EPOCHS)] == expected
    assert policy.at_end == Trainable.deepest(expected[-1], STAGES)


@pytest.mark.parametrize("name", ["norm", "bias", "lora"])
def test_a_kind_of_parameters_trains_in_all_stages_or_in_the_deepest(name: str) -> None:
    assert _policy(name).at_end == Trainable((0, 1, 2, 3, 4), name)
    assert _policy(name, trainable_stages=2).trains(0) == Trainable((3, 4), name)


def test_one_stage_trains_counted_from_the_input() -> None:
    assert _policy("surgical", stage=2).at_end == Trainable((1,))
    for stage in (0, 6):
        with pytest.raises(InputError, match=rf"mode\.stage={stage} is out of range: .* stages 1 to 5"):
            _policy("surgical", stage=stage)


def test_rates_decay_towards_the_input() -> None:
    policy = _policy("discriminative", layer_decay=0.5)
    assert [policy.rate(depth) for depth in range(3)] == [1, 0.5, 0.25]


@pytest.mark.parametrize("count", [0, 6])
def test_too_many_or_no_stages(count: int) -> None:
    with pytest.raises(InputError, match=r"mode\.trainable_stages=.* stages 1 to 5"):
        _policy("partial", trainable_stages=count)


def test_unknown_mode_names_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"mode\.name=half .*discriminative, finetune, frozen"):
        _policy("half")


def test_a_name_is_registered_once() -> None:
    def frozen(mode: ModeConfig, stages: int, epochs: int) -> FreezePolicy:
        raise AssertionError("refused before it is called")

    with pytest.raises(ValueError, match="twice"):
        register_policy(frozen)
