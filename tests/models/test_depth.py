"""A backbone of the first stages alone is the whole network up to there, averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import save_file
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models import registry
from xray_tl.models.cut import CannotCutError, first_part
from xray_tl.models.depth import at_depth
from xray_tl.models.fold import folded
from xray_tl.models.freeze import frozen_sha256
from xray_tl.models.registry import BackboneSpec, backbone_names, build_backbone, check_sizes
from xray_tl.models.stages import Backbone
from xray_tl.models.weights import Provenance, Trunk, tensors_sha256

RANDOM = WeightsConfig("random")
LAYER = "encoder.layers.encoder_layer_"
ENDS = {
    "resnet18": ("maxpool", "layer1", "layer2", "layer3"),
    "resnet50": ("maxpool", "layer1", "layer2", "layer3"),
    "vgg16": ("features.4", "features.9", "features.16", "features.23", "features.30", "classifier.2"),
    "densenet121": ("features.pool0", *(f"features.transition{i}" for i in (1, 2, 3))),
    "efficientnet_b0": ("features.1", "features.2", "features.3", "features.5"),
    "efficientnet_lite0": ("blocks.0", "blocks.1", "blocks.2", "blocks.4"),
    "convnext_tiny": ("features.0", "features.1", "features.3", "features.5"),
    "vit_b_16": ("encoder.dropout", f"{LAYER}2", f"{LAYER}5", f"{LAYER}8"),
    "timm/test_resnet": ("maxpool", "layer1", "layer2", "layer3"),
    "timm/test_convnext": ("stem", "stages.0", "stages.1", "stages.2"),
    "timm/vit_tiny_patch16_224": ("norm_pre", *(f"blocks.{i}" for i in range(11))),
    "timm/swin_tiny_patch4_window7_224": ("patch_embed", "layers.0", "layers.1", "layers.2"),
}
"""The module of the whole network behind which each depth ends, but the last."""
LAST_CHANNEL = ("timm/swin_tiny_patch4_window7_224",)
"""Networks whose maps are [B, H, W, C]."""
CHEAP = ("resnet18", "efficientnet_lite0", "timm/test_convnext", "timm/vit_tiny_patch16_224")


def build(
    name: str, depth: int | None = None, weights: WeightsConfig = RANDOM, size: int = 32, **options: object
) -> tuple[Backbone, Provenance]:
    """Build a backbone of a depth."""
    model = ModelConfig(name, name.partition("/")[0], depth, **options)  # type: ignore[arg-type]  # passed on
    made = weights.path
    return build_backbone(model, weights, size, lambda: Path(str(made)))


def images(size: int = 32) -> Tensor:
    """Two images that are the same at every call."""
    return torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))


def by_hand(whole: Backbone, end: str, pictures: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Average what a module of a whole network gives."""
    seen: list[Tensor] = []
    hook = whole.net.get_submodule(end).register_forward_hook(lambda *call: seen.append(call[2].clone()))
    whole(pictures)
    hook.remove()
    return seen[0].mean(axes) if seen[0].ndim > 2 else seen[0]


def test_every_backbone_is_in_this_test() -> None:
    assert {name for name in ENDS if "/" not in name} == set(backbone_names()) - {"timm"}


@pytest.mark.parametrize("name", ENDS)
def test_the_features_of_each_depth_are_the_network_s_own_maps_averaged(name: str) -> None:
    size = 64 if name in LAST_CHANNEL else 32
    trunk = registry._BUILDERS[name.partition("/")[0]](BackboneSpec(name, size))
    whole = _backbone(trunk).eval()
    tensors = whole.state_dict()
    axes = (1, 2) if name in LAST_CHANNEL else (1,) if "vit" in name else (2, 3)
    for depth, end in enumerate(ENDS[name], 1):
        part = _backbone(at_depth(trunk, name, depth, size)).eval()
        assert part.num_stages == depth
        own = part.state_dict()
        assert set(own) < set(tensors)
        assert all(torch.equal(tensor, tensors[key]) for key, tensor in own.items())
        assert all(whole.stage_of_state(key) == part.stage_of_state(key) < depth for key in own)
        assert sum(whole.stage_of_state(key) < depth for key in tensors) == len(own)
        with torch.no_grad():
            features = part(images(size))
            expected = by_hand(whole, end, images(size), axes)
        assert features.shape == (2, part.num_features)
        torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert whole.num_stages == len(ENDS[name]) + 1


def _backbone(trunk: Trunk) -> Backbone:
    return Backbone(trunk.net, trunk.num_features, trunk.stage_of, trunk.mean, trunk.std)


@pytest.mark.parametrize("name", CHEAP)
def test_random_weights_are_the_whole_network_s(name: str) -> None:
    whole, provenance = build(name)
    tensors, shas = whole.state_dict(), {provenance.sha256}
    for depth in (1, 2):
        part, provenance = build(name, depth)
        assert all(torch.equal(tensor, tensors[key]) for key, tensor in part.state_dict().items())
        assert provenance.sha256 == tensors_sha256(part.net.state_dict())
        shas.add(provenance.sha256)
    assert len(shas) == 3


@pytest.mark.parametrize("name", ["resnet18", "timm/test_vit"])  # whose code cannot be followed
def test_all_stages_are_the_whole_network(name: str) -> None:
    whole, provenance = build(name)
    every, same = build(name, whole.num_stages)
    assert same == provenance
    with torch.no_grad():
        assert torch.equal(every.eval()(images()), whole.eval()(images()))


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_cut_at_its_own_boundaries(name: str, depth: int) -> None:
    backbone, _ = build(name, depth, dropout=0.5)
    for stages in range(depth):
        backbone.open(backbone.deepest(stages)).train()
        halves = backbone.cut(stages)
        with torch.no_grad():
            activations = halves.before(backbone.normalise(images()))
        torch.manual_seed(1)
        whole = backbone(images())
        torch.manual_seed(1)
        torch.testing.assert_close(halves.after(activations), whole, rtol=0, atol=0)


@pytest.mark.parametrize("name", CHEAP)
def test_its_deepest_stage_trains_and_nothing_else(name: str) -> None:
    backbone, _ = build(name, 3, dropout=0.5)
    backbone.open(backbone.deepest(1)).train()
    count, before = frozen_sha256(backbone, backbone.deepest(1))
    first = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    backbone(images()).square().sum().backward()  # type: ignore[no-untyped-call]  # torch has no type for it
    optimizer.step()
    assert frozen_sha256(backbone, backbone.deepest(1)) == (count, before)
    moved = {key for key, tensor in backbone.state_dict().items() if not torch.equal(tensor, first[key])}
    assert {backbone.stage_of_state(key) for key in moved} == {2}


def test_a_frozen_one_drops_nothing() -> None:
    backbone, _ = build("vgg16", 6, dropout=0.5)
    backbone.open(backbone.deepest(0)).train()
    with torch.no_grad():
        assert torch.equal(backbone(images()), backbone(images()))
    backbone.open(backbone.deepest(1)).train()
    assert not torch.equal(backbone(images()), backbone(images()))


def test_the_stem_is_converted_and_norms_are_folded() -> None:
    backbone, _ = build("resnet18", 2)
    grey, _ = build("resnet18", 2, stem="convert")
    for one in (backbone, grey):
        one.eval()
    level = (images() - 0.449) / 0.226  # mean and deviation that the channels share
    with torch.no_grad():
        features = backbone.net(level.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.net(level), features, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(folded(backbone.net)(level.expand(-1, 3, -1, -1)), features)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(backbone.net).modules())


# Weights


@pytest.fixture(scope="module")
def vgg() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return tv.vgg16().state_dict()


def _file(tensors: dict[str, Tensor], folder: Path, source: str = "file") -> WeightsConfig:
    save_file(tensors, folder / "a.safetensors")
    return WeightsConfig(source, path=str(folder / "a.safetensors"))


def test_a_file_without_fully_connected_layers_fills_the_convolutions(
    vgg: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = {name: tensor for name, tensor in vgg.items() if name.startswith("features.")}
    weights = _file(bare, tmp_path)
    backbone, provenance = build("vgg16", 5, weights)
    assert provenance.sha256 == tensors_sha256(bare) == tensors_sha256(backbone.net.state_dict())
    assert not caplog.records
    with pytest.raises(InputError, match=r"fills \d+% of model vgg16, 90% are needed"):
        build("vgg16", 6, weights)


def test_the_whole_network_s_file_fills_it_whatever_the_rest_is(
    vgg: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = vgg | {
        "classifier.0.weight": torch.zeros(10, 25088),
        "classifier.3.weight": torch.full((2, 2), torch.nan),
        "classifier.7.weight": torch.zeros(3),
    }
    backbone, _ = build("vgg16", 5, _file(other, tmp_path))
    assert all(torch.equal(tensor, vgg[name]) for name, tensor in backbone.net.state_dict().items())
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_file_without_the_last_stages_is_told_the_depth_that_it_fills(tmp_path: Path) -> None:
    tensors = build("resnet18")[0].net.state_dict()
    first = {name: tensor for name, tensor in tensors.items() if not name.startswith(("layer3", "layer4"))}
    path = _file(first, tmp_path)
    with pytest.raises(InputError, match=r"fills .* of model resnet18, 90% are needed.* model\.depth=3$"):
        build("resnet18", None, path)
    build("resnet18", 3, path)


def test_one_set_of_source_weights_serves_all_depths(tmp_path: Path) -> None:
    whole, provenance = build("resnet18")
    weights = _file(whole.net.state_dict(), tmp_path, "source")
    for depth in (1, 3):
        part, own = build("resnet18", depth, weights)
        assert own.sha256 == build("resnet18", depth)[1].sha256 != provenance.sha256
        assert own.source == "source"
        assert set(part.net.state_dict()) < set(whole.net.state_dict())


@pytest.mark.parametrize("source", ["file", "source"])
@pytest.mark.parametrize("lacking", ["conv1.weight", "layer1.0.conv1.weight"])
def test_a_tensor_of_the_kept_stages_is_missed(source: str, lacking: str, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in tv.resnet18().state_dict().items() if name != lacking}
    del tensors["fc.weight"], tensors["fc.bias"]
    with pytest.raises(InputError, match=r"lacks conv1|fills \d\d%|1 missing \(" + lacking):
        build("resnet18", 2, _file(tensors, tmp_path, source))


@pytest.mark.parametrize(
    ("model", "depth", "other", "message"),
    [
        ("resnet50", 4, "resnet101", r"a larger network .*: it has layer3\.\d+\."),
        ("resnet50", 2, "resnet101", r"a larger network .*: it has layer3\.\d+\."),
        ("resnet18", 2, "resnet50", r"another network .*: layer1\.0\.conv1\.weight is"),
        ("vgg16", 5, "vgg19", r"another network .*: features\.19\.weight is"),
    ],
)
def test_a_file_of_another_network_is_refused(
    model: str, depth: int, other: str, message: str, tmp_path: Path
) -> None:
    tensors = {
        name: tensor for name, tensor in tv.get_model(other).state_dict().items() if "classifier" not in name
    }
    with pytest.raises(InputError, match=message) as caught:
        build(model, depth, _file(tensors, tmp_path))
    assert "\n" not in str(caught.value)


def test_layers_by_their_place_are_named_as_in_the_whole_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    net = tv.resnet18()
    numbered = nn.Sequential(*list(net.children())[:-1]).state_dict()
    backbone, _ = build("resnet18", 3, _file(numbered, tmp_path))
    assert torch.equal(backbone.net.get_parameter("layer2.0.conv1.weight"), net.layer2[0].conv1.weight)
    assert "layers by their place" in caplog.text
    assert "not used" not in caplog.text, "those of the last stages are known"


# Refusals


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("resnet18", 9, r"model\.depth=9 .*resnet18 has stages conv1\+bn1, layer1, .* from 1 to 5"),
        ("resnet18", 0, r"model\.depth=0 .* choose from 1 to 5, or null"),
        ("timm/test_vit", 2, r"model\.depth=2: timm/test_vit cannot be cut behind .*; choose from 7, or"),
        ("timm/hrnet_w18_small", 2, r"cannot be cut .*: 2 tensors cross.*; choose from 1, 6, or null"),
    ],
)
def test_a_depth_that_a_network_does_not_have_is_refused(name: str, depth: int, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(name, depth, size=64)
    assert "\n" not in str(caught.value)


def test_sizes_are_compared_as_far_as_it_goes() -> None:
    tied = "mixer_s32_224"  # its token-mixing layers are as wide as the image has patches
    check_sizes(ModelConfig(tied, "timm", depth=1), 64, 96)
    with pytest.raises(InputError, match=r"choose data\.image_size=64"):
        check_sizes(ModelConfig(tied, "timm", depth=2), 64, 96)


class Odd(nn.Module):
    """A network whose first stage gives what a test asks for."""

    def __init__(self, shape: tuple[int, ...], layout: str = "NCHW") -> None:
        super().__init__()
        self.shape, self.output_fmt = shape, layout
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Linear(6, 2)
        self.register_buffer("level", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Reshape between the stages."""
        return self.second((self.first(x) * self.level).mean().expand(self.shape))


def _odd(shape: tuple[int, ...], layout: str = "NCHW") -> tuple[nn.Module, int]:
    net = Odd(shape, layout)
    return first_part(net, lambda name: name.startswith("second"), lambda _: False, 32)


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((1, 6, 4, 4), "NCHW", 6),
        ((1, 4, 4, 6), "NCHW", 6),
        ((1, 1, 1, 6), "NCHW", 6),
        ((1, 6, 1, 1), "NHWC", 6),
        ((1, 9, 6), "NCHW", 6),
        ((1, 6), "NCHW", 6),
    ],
)
def test_channels_are_recognised(shape: tuple[int, ...], layout: str, channels: int) -> None:
    part, found = _odd(shape, layout)
    assert found == channels
    assert part(torch.zeros(1, 3, 8, 8)).shape == (1, channels)
    assert set(part.state_dict()) == {"first.weight", "first.bias"}


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 2, 3, 4, 4), (6,)])
def test_what_is_no_map_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CannotCutError, match="neither maps, tokens nor features"):
        _odd(shape)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_cube_is_read_as_the_network_says(layout: str) -> None:
    class Cube(Odd):
        def forward(self, x: Tensor) -> Tensor:
            """Give a cube of channels and positions."""
            return self.second(self.first(x) * self.level)

    pictures = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    net = Cube((), layout)
    part, _ = first_part(net, lambda name: name.startswith("second"), lambda _: False, 6)
    axes = (2, 3) if layout == "NCHW" else (1, 2)
    torch.testing.assert_close(part(pictures), net.first(pictures).mean(axes))
