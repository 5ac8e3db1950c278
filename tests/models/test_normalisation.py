"""Normalisation travels with the weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone

MODEL = ModelConfig(name="resnet18", registry="resnet18")
CXR = ([0.5], [1 / 2048])
"""Intensities from -1024 to 1024, as some weights for chest films want them."""


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone(MODEL, WeightsConfig(source="random"), 32)[0]


def _file(folder: Path, backbone: Backbone, **metadata: str) -> str:
    path = folder / "weights.safetensors"
    save_file({name.removeprefix("net."): t for name, t in backbone.state_dict().items()}, path, metadata)
    return str(path)


def _normalised(weights: WeightsConfig) -> list[float]:
    """Return what black, grey and white become."""
    images = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 32, 32)
    normal = build_backbone(MODEL, weights, 32)[0].normalise(images)
    assert normal.shape == (3, 3, 32, 32)
    assert (normal == normal[:, :1, :1, :1]).all() or weights.mean is None
    return [round(float(value), 3) for value in normal[:, 0, 0, 0]]


def test_it_is_imagenets_unless_the_file_or_the_user_says_otherwise(
    tmp_path: Path, backbone: Backbone
) -> None:
    imagenet = [round((value - 0.485) / 0.229, 3) for value in (0.0, 0.5, 1.0)]
    assert _normalised(WeightsConfig(source="file", path=_file(tmp_path, backbone))) == imagenet
    mean, std = (json.dumps(values) for values in CXR)
    stated = _file(tmp_path, backbone, mean=mean, std=std)
    assert _normalised(WeightsConfig(source="file", path=stated)) == [-1024, 0, 1024]
    asked = WeightsConfig(source="file", path=stated, mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    assert _normalised(asked) == [-2, 0, 2]


def test_the_same_tensors_normalised_otherwise_are_other_weights(tmp_path: Path, backbone: Backbone) -> None:
    path = _file(tmp_path, backbone)
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    weights = WeightsConfig(source="file", path=path)
    hashes = [
        build_backbone(MODEL, replace(weights, mean=options.get("mean"), std=options.get("std")), 32)[
            1
        ].sha256
        for options in ({}, imagenet, {"mean": [0.5], "std": [0.2]})
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.5]}, r"weights\.mean needs the other"),
        ({"mean": [0.5], "std": [0.0]}, r"weights\.std is not valid: give one number or 3.* more than 0"),
        ({"mean": [0.5, 0.5], "std": [0.2]}, r"weights\.mean is not valid: give one number or 3"),
        (
            {"source": "random", "path": None, "mean": [0.5], "std": [0.2]},
            r"weights\.mean is for weights=file: weights=random",
        ),
    ],
)
def test_wrong_values_are_refused(
    tmp_path: Path, backbone: Backbone, options: dict[str, object], message: str
) -> None:
    weights = replace(WeightsConfig(source="file", path=_file(tmp_path, backbone)), **options)
    with pytest.raises(InputError, match=message):
        build_backbone(MODEL, weights, 32)


def test_what_is_said_of_a_file_is_nothing_to_an_arm_with_weights_of_its_own(backbone: Backbone) -> None:
    said = WeightsConfig(source="random", path="a.safetensors", mean=[0.5], std=[0.2])
    own, plain = (build_backbone(MODEL, weights, 32)[0] for weights in (said, WeightsConfig(source="random")))
    assert own.scale_and_shift() == plain.scale_and_shift()


@pytest.mark.parametrize("mean", ["grey", "[0.1, 0.2]", '{"r": 1}', "[NaN]"])
def test_metadata_that_are_no_values_are_named(tmp_path: Path, backbone: Backbone, mean: str) -> None:
    path = _file(tmp_path, backbone, mean=mean, std="[0.2]")
    with pytest.raises(InputError, match=r"weights\.safetensors: metadata mean="):
        build_backbone(MODEL, WeightsConfig(source="file", path=path), 32)


def test_a_grey_network_for_chest_films_gives_its_own_features(tmp_path: Path) -> None:
    """As torchxrayvision's DenseNet121: one channel, intensities from -1024 to 1024, eighteen findings."""
    torch.manual_seed(0)
    theirs = densenet121(num_classes=18).eval()
    theirs.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    mean, std = (json.dumps(values) for values in CXR)
    path = tmp_path / "chest.safetensors"
    save_file(theirs.state_dict() | {"op_threshs": torch.zeros(18)}, path, {"mean": mean, "std": std})
    model = ModelConfig(name="densenet121", registry="densenet121")
    ours = build_backbone(model, WeightsConfig(source="file", path=str(path)), 64)[0].eval()
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        expected = theirs.features(images * 2048 - 1024).relu().mean((2, 3))
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4)
