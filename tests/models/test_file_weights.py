"""Weights of somebody else's, however they are named."""

from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from torch import Tensor

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return tv.resnet18().state_dict()


def _load(tensors: object, folder: Path) -> Backbone:
    path = folder / "weights.pth"
    torch.save(tensors, path)
    model = ModelConfig(name="resnet18", registry="resnet18")
    return build_backbone(model, WeightsConfig("file", path=str(path)), 64)[0]


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "backbone.", "encoder.net.", "classifier.backbone.net."]
)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
def test_prefixes_and_wrappers_are_stripped(
    state: dict[str, Tensor], tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    named = {f"{prefix}{name}": tensor for name, tensor in state.items()} | {"head.weight": torch.zeros(3)}
    backbone = _load({wrapper: named, "epoch": 3} if wrapper else named, tmp_path)
    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_grey_stem_is_the_same_map(state: dict[str, Tensor], tmp_path: Path) -> None:
    grey = state["conv1.weight"].sum(1, keepdim=True)
    backbone = _load(state | {"conv1.weight": grey}, tmp_path)
    image = torch.rand(2, 1, 64, 64)
    spread = torch.nn.functional.conv2d(
        image.expand(-1, 3, -1, -1), backbone.net.get_parameter("conv1.weight")
    )
    torch.testing.assert_close(spread, torch.nn.functional.conv2d(image, grey), rtol=1e-4, atol=1e-5)


def test_a_little_may_be_missing_and_is_said(
    state: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = {name: tensor for name, tensor in state.items() if not name.startswith("layer1.0.conv1")}
    backbone = _load(lacking | {"projector.weight": torch.zeros(3)}, tmp_path)
    assert torch.equal(backbone.net.get_parameter("layer4.1.conv2.weight"), state["layer4.1.conv2.weight"])
    assert (
        "fills 99.7 % of model resnet18, the rest stays random: layer1.0.conv1.weight is missing"
        in caplog.text
    )
    assert "1 tensors of the file are not used (projector.weight)" in caplog.text


def test_too_much_missing_is_refused_with_the_list(state: dict[str, Tensor], tmp_path: Path) -> None:
    some = {name: tensor for name, tensor in state.items() if not name.startswith("layer4.1")}
    with pytest.raises(
        InputError, match=r"fills 58% of model resnet18, 90% are needed: layer4\.1\.conv1\.weight"
    ):
        _load(some, tmp_path)
