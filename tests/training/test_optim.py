"""Rates over the run, and groups that follow stages."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from omegaconf import DictConfig

from xray_tl.config import OptimConfig, typed
from xray_tl.training.assembly import assemble
from xray_tl.training.optim import build_optimizer, rate_factor


def test_warm_up_rises_and_cosine_falls_to_nearly_zero() -> None:
    factors = [rate_factor(step, 100, OptimConfig()) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1
    assert all(before > after for before, after in pairwise(factors[10:]))
    assert 0 < factors[-1] < 1e-3
    assert rate_factor(100, 100, OptimConfig()) == pytest.approx(0)


def test_constant_schedule_and_no_warm_up() -> None:
    optim = OptimConfig(schedule="constant", warmup=0)
    assert {rate_factor(step, 7, optim) for step in range(7)} == {1.0}


def test_norms_and_biases_do_not_decay(tiny: Callable[..., DictConfig]) -> None:
    task = assemble(typed(tiny())).task
    optimizer = task.configure_optimizers()
    assert all(group["fused"] for group in optimizer.param_groups)
    plain = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    for name, parameter in task.classifier.named_parameters():
        assert (id(parameter) in plain) == (parameter.ndim == 1), name


def test_head_and_backbone_have_their_own_rates_and_stages_decay(tiny: Callable[..., DictConfig]) -> None:
    cfg = tiny("mode=discriminative", "mode.layer_decay=0.5", "mode.head_lr=3e-3", "optim.lr=8e-4")
    task = assemble(typed(cfg)).task
    groups = build_optimizer(task.classifier, task.policy, task.mode, task.optim).param_groups
    rates = {group["name"]: group["lr"] for group in groups if not group["name"].endswith("_no_decay")}
    assert rates.pop("head") == 3e-3
    assert list(rates.values()) == pytest.approx([8e-4, 4e-4, 2e-4, 1e-4, 5e-5])
    assert list(rates) == list(reversed(task.classifier.backbone.stage_names))
