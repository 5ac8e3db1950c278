"""Optimizer groups that follow the freeze policy, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import AdamW

from xray_tl.config import ModeConfig, OptimConfig
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.freeze import FreezePolicy
from xray_tl.models.trainable import NOTHING, Trainable

POSITIONS = {"cpb_mlp", "meta_mlp", "pos_block", "pos_embd", "pos_embed", "rel_pos", "shared_rel_pos"}
"""timm's names of modules that compute positions; most of their authors exclude them from weight decay."""

NamedParameters = Iterable[tuple[str, nn.Parameter]]


def rate_factor(step: int, steps: int, optim: OptimConfig) -> float:
    """Return the factor of the full learning rate at a step: linear warm-up, then cosine or constant."""
    warmup = math.ceil(optim.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if optim.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def build_optimizer(
    classifier: XrayClassifier, policy: FreezePolicy, mode: ModeConfig, optim: OptimConfig
) -> AdamW:
    """Build fused AdamW over the head and what trains of the backbone, and nothing else."""
    groups = parameter_groups("head", classifier.head.named_parameters(), mode.head_lr, optim)
    optimizer = AdamW(groups, lr=mode.head_lr, fused=True)
    add_trainable(optimizer, classifier, policy, optim)
    return optimizer


def add_trainable(
    optimizer: AdamW,
    classifier: XrayClassifier,
    policy: FreezePolicy,
    optim: OptimConfig,
    before: Trainable = NOTHING,
) -> None:
    """Add to an optimizer what trains now and did not train `before`, one or two groups a stage."""
    backbone = classifier.backbone
    known = backbone.names(before)
    for depth, stage in enumerate(reversed(range(backbone.num_stages))):
        new = [(n, p) for n, p in backbone.stage_parameters(stage) if p.requires_grad and n not in known]
        rate = optim.lr * policy.rate(depth)
        for group in parameter_groups(backbone.stage_names[stage], new, rate, optim):
            optimizer.add_param_group(group)


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether weight decay applies to a parameter: only to kernels and matrices of layers.

    For all others zero is not a neutral value: scales, shifts and biases, gains and temperatures of any
    shape, tokens, tables of positions, and modules that compute such tables.
    """
    *modules, own = name.split(".")
    return parameter.ndim > 1 and "weight" in own and not POSITIONS.intersection(modules)


def parameter_groups(
    name: str, parameters: NamedParameters, rate: float, optim: OptimConfig
) -> list[dict[str, Any]]:
    """Return optimizer groups of parameters: one with weight decay and one without."""
    decay: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for key, parameter in parameters:
        (decay if decays(key, parameter) else plain).append(parameter)
    groups = ((name, decay, optim.weight_decay), (f"{name}_no_decay", plain, 0.0))
    return [
        {"name": label, "params": chosen, "weight_decay": weight, "lr": rate, "full_lr": rate}
        for label, chosen, weight in groups
        if chosen
    ]
