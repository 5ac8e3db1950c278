"""Rates over the run, and groups that follow stages."""

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from omegaconf import DictConfig
from torch import nn

from xray_tl.config import OptimConfig, typed
from xray_tl.runs.parts import assemble
from xray_tl.training.optim import POSITIONS, build_optimizer, decays, rate_factor


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


@pytest.mark.parametrize(
    ("name", "exempt"),
    [
        ("convnextv2_atto", "stages.0.blocks.0.conv_dw.bias"),
        ("edgenext_xx_small", "temperature"),
        ("fastvit_t8", "gamma"),
        ("nf_regnet_b0", "gain"),
        ("swin_tiny_patch4_window7_224", "relative_position_bias_table"),
        ("swinv2_tiny_window8_256", "logit_scale"),
        ("twins_pcpvt_small", "pos_block.0.proj.0.weight"),
        ("vit_small_patch16_dinov3", "reg_token"),
        ("deit_tiny_distilled_patch16_224", "dist_token"),
        ("visformer_tiny", "pos_embed1"),
        ("vit_relpos_small_patch16_224", "rel_pos.mlp.fc1.weight"),
        ("swinv2_cr_tiny_224", "meta_mlp.fc1.weight"),
        ("xcit_nano_12_p16_224", "token_projection.weight"),
    ],
)
def test_only_what_a_layer_multiplies_by_decays(name: str, exempt: str) -> None:
    """Whatever timm's authors leave out of the decay is left out here, and scales of every shape."""
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    listed = net.no_weight_decay() if hasattr(net, "no_weight_decay") else set()
    plain = {key for key, parameter in net.named_parameters() if not decays(key, parameter)}
    patterns = [re.escape(part).replace(r"\*", ".*") for part in listed]
    named = {key for key, _ in net.named_parameters() if any(re.search(p, key) for p in patterns)}
    assert named <= plain
    assert any(exempt in key for key in plain)
    layers = {key for key, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    positions = {key for key in layers if POSITIONS.intersection(key.split("."))}
    assert plain.isdisjoint({f"{key}.weight" for key in layers - positions} - named)


def test_convnexts_layer_scale_does_not_decay() -> None:
    with torch.device("meta"):
        net = torchvision.models.convnext_tiny()
    plain = {key for key, parameter in net.named_parameters() if not decays(key, parameter)}
    assert {key for key, _ in net.named_parameters() if key.endswith("layer_scale")} <= plain


def test_head_and_backbone_have_their_own_rates_and_stages_decay(tiny: Callable[..., DictConfig]) -> None:
    cfg = tiny("mode=discriminative", "mode.layer_decay=0.5", "mode.head_lr=3e-3", "optim.lr=8e-4")
    task = assemble(typed(cfg)).task
    groups = build_optimizer(task.classifier, task.policy, task.mode, task.optim).param_groups
    rates = {group["name"]: group["lr"] for group in groups if not group["name"].endswith("_no_decay")}
    assert rates.pop("head") == 3e-3
    assert list(rates.values()) == pytest.approx([8e-4, 4e-4, 2e-4, 1e-4, 5e-5])
    assert list(rates) == list(reversed(task.classifier.backbone.stage_names))
