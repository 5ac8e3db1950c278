"""The registry: names, refusals, and random trunks that depend on their seed alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models import backbones
from xray_tl.models.registry import backbone_names, build_backbone, register_backbone
from xray_tl.models.weights import Provenance

CONF = Path(__file__).parents[2] / "conf"
RANDOM = WeightsConfig(source="random")


def _build_random(
    name: str = "resnet18", stem: str = "repeat", seed: int = 0
) -> tuple[nn.Module, Provenance]:
    model = ModelConfig(name=name, registry=name, stem=stem)
    return build_backbone(model, WeightsConfig(source="random", seed=seed), 32)


def test_every_backbone_has_a_file_and_every_file_a_backbone() -> None:
    assert {file.stem for file in (CONF / "model").glob("*.yaml")} == set(backbone_names())


@pytest.mark.parametrize("name", backbone_names())
def test_a_file_opens_with_its_command_and_names_its_backbone(name: str) -> None:
    file = CONF / "model" / f"{name}.yaml"
    values = OmegaConf.load(file)
    assert values.get("registry", None if name == "timm" else values.name) == name
    assert values.memory_format in ("channels_last", "contiguous")
    assert f"python -m xray_tl.train model={name}" in file.read_text()


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="resnet18 is registered twice"):
        register_backbone(backbones.resnet18)


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (
            ModelConfig(name="resnet5", registry="resnet5"),
            32,
            r"model\.name=resnet5 is unknown.*resnet50, timm",
        ),
        (ModelConfig(name="mine", registry="resnet5"), 32, r"model\.registry=resnet5 is unknown.*vgg16"),
        (
            ModelConfig("resnet18", "resnet18", stem="grey"),
            32,
            r"model\.stem=grey is unknown.*repeat, convert",
        ),
        (ModelConfig("resnet18", "resnet18"), 16, r"data\.image_size=16 is too small.*32"),
        (ModelConfig("vit_b_16", "vit_b_16"), 40, r"data\.image_size=40.*multiple of 16"),
        (
            ModelConfig("resnet81", "timm"),
            32,
            r"model\.name=resnet81 is no backbone of timm; close: .*resnet18",
        ),
        (ModelConfig("rdnet_tiny", "timm"), 32, r"model\.name=rdnet_tiny: timm does not say .* stages"),
        (ModelConfig("test_vit.x", "timm"), 32, r"model\.name=test_vit\.x.*choose from test_vit\.r160_in1k"),
        (ModelConfig("vit_tiny_patch16_224", "timm"), 40, r"data\.image_size=40 does not suit vit_tiny.*224"),
    ],
)
def test_a_refusal_names_the_option_and_the_choices(model: ModelConfig, size: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_backbone(model, RANDOM, size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "timm/test_vit"])
def test_a_random_trunk_depends_on_its_seed_alone(name: str) -> None:
    registry = name.partition("/")[0]
    shas = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        torch.rand(global_seed)
        shas.append(build_backbone(ModelConfig(name, registry), RANDOM, 32)[1].sha256)
    other = build_backbone(ModelConfig(name, registry), WeightsConfig("random", seed=1), 32)[1]
    assert shas[0] == shas[1] != other.sha256


def test_building_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _build_random()
    assert torch.equal(torch.rand(3), expected)


def test_the_stem_does_not_change_what_is_drawn() -> None:
    repeat, repeat_provenance = _build_random(stem="repeat")
    convert, convert_provenance = _build_random(stem="convert")
    assert repeat_provenance == convert_provenance
    assert re.fullmatch("[0-9a-f]{64}", repeat_provenance.sha256)
    own, summed = repeat.state_dict(), convert.state_dict()
    torch.testing.assert_close(
        summed.pop("net.conv1.weight"), own.pop("net.conv1.weight").sum(1, keepdim=True)
    )
    assert all(torch.equal(own[name], summed[name]) for name in own)


def test_dropout_is_the_backbone_s_own_unless_stated() -> None:
    def rates(dropout: float | None) -> set[float]:
        model = ModelConfig("vgg16", "vgg16", dropout=dropout)
        net = build_backbone(model, RANDOM, 32)[0].net
        return {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)}

    assert rates(None) == {0.5}
    assert rates(0.0) == {0.0}
