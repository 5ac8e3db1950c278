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


def _count(policy: FreezePolicy, epoch: int, *losses: float) -> int:
    """Return how many of the deepest stages train in an epoch, after these validation losses."""
    trainable = policy.trains(epoch, [{"val_loss": loss} for loss in losses])
    assert trainable == Trainable.deepest(len(trainable.stages), STAGES)
    return len(trainable.stages)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("finetune", {}, [5, 5, 5, 5, 5, 5]),
        ("frozen", {}, [0, 0, 0, 0, 0, 0]),
        ("partial", {"trainable_stages": 2}, [2, 2, 2, 2, 2, 2]),
        ("gradual", {"unfreeze_every": 1}, [0, 1, 2, 3, 4, 5]),
        ("gradual", {"unfreeze_every": 3}, [0, 0, 0, 1, 1, 1]),
        ("discriminative", {"layer_decay": 0.5}, [5, 5, 5, 5, 5, 5]),
    ],
)
def test_open_stages_by_epoch(name: str, options: dict[str, object], expected: list[int]) -> None:
    policy = _policy(name, **options)
    assert [_count(policy, epoch) for epoch in range(EPOCHS)] == expected
    assert policy.at_end == Trainable.deepest(expected[-1], STAGES)


def test_lp_ft_opens_when_the_head_has_converged() -> None:
    policy = _policy("lp_ft", head_epochs=0.9, head_tolerance=0.01)
    assert _count(policy, 1, 0.7) == 0
    assert _count(policy, 2, 0.7, 0.6) == 0
    assert _count(policy, 3, 0.7, 0.6, 0.598) == STAGES
    # Open stays open, whatever the loss does later.
    assert _count(policy, 4, 0.7, 0.6, 0.598, 0.3) == STAGES


@pytest.mark.parametrize("epochs", [2, 3, 6])
def test_lp_ft_always_ends_with_everything_open(epochs: int) -> None:
    policy = _policy("lp_ft", epochs, head_epochs=0.99, head_tolerance=0.0)
    falling = [1 / (epoch + 1) for epoch in range(epochs)]
    opened = [_count(policy, epoch, *falling[:epoch]) for epoch in range(epochs)]
    assert opened == [0] * (epochs - 1) + [STAGES]
    assert policy.at_end == Trainable.deepest(STAGES, STAGES)


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
