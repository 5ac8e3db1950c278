"""Weights files of other networks than the one asked for, and of the same network with more in it."""

import logging
from pathlib import Path

import pytest
import timm
import torch
import torchvision.models as tv
from safetensors.torch import save_file
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.file_weights import check_values, fitting
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone

HEADS = {"resnet": "fc", "vgg": "classifier.6", "densenet": "classifier", "efficientnet": "classifier.1"}
HEADS |= {"convnext": "classifier.2", "vit": "heads"}


def _net(name: str) -> nn.Module:
    """A network of torchvision, or of timm, as shapes alone."""
    with torch.device("meta"):
        known = tv.list_models()
        net: nn.Module = tv.get_model(name) if name in known else timm.create_model(name.partition("/")[2])
    return net


def _fit(model: str, tensors: dict[str, Tensor], more: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Fit tensors to a network without its classifier, beside `more` that the file holds."""
    net = _net(model)
    default = str(getattr(net, "pretrained_cfg", {}).get("classifier"))
    head = next((head for family, head in HEADS.items() if model.startswith(family)), default)
    parent, _, last = head.rpartition(".")
    setattr(net.get_submodule(parent), last, nn.Identity())
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{head}.")}
    extra = {name: torch.zeros(3) for name in more}
    return fitting(kept | extra, net, (head,), model, "weights.path=a.pth")


@pytest.mark.parametrize(
    ("model", "other", "message"),
    [
        (
            "resnet50",
            "resnet101",
            r"a larger network than model resnet50: it has layer3\.6\.conv1\.weight \(",
        ),
        ("resnet50", "resnet152", r"a larger network .*: it has layer2\.4\.conv1\.weight \(and 509 more\), "),
        ("resnet18", "resnet34", "which resnet18 lacks$"),
        ("resnet50", "wide_resnet50_2", r"another network than model resnet50: layer1\.0\.conv1\.weight is"),
        ("efficientnet_b0", "efficientnet_b1", r"it has features\.1\.1\.block\.0\.0\.weight"),
        ("convnext_tiny", "convnext_small", r"it has features\.5\.9\.layer_scale"),
        ("vit_b_16", "vit_b_32", r"conv_proj\.weight is \(768, 3, 32, 32\), not \(768, 3, 16, 16\)"),
        ("densenet121", "densenet169", r"features\.transition3\.norm\.weight is \(1280,\), not \(1024,\)"),
        ("vgg16", "vgg19", r"another network .*: features\.19\.weight is"),
        ("vgg16", "vgg16_bn", r"another network .*: features\.7\.weight is"),
        ("timm/resnet26", "timm/resnet50", r"it has layer1\.2\.conv1\.weight"),
        ("timm/resnet50", "timm/seresnet50", r"it has layer1\.0\.se\.fc1\.weight"),
        ("timm/vit_tiny_patch16_224", "timm/vit_base_patch16_224", r"cls_token is \(1, 1, 768\)"),
        ("timm/vit_base_patch16_224", "timm/vit_base_patch32_224", r"pos_embed is \(1, 50, 768\)"),
        ("timm/swin_tiny_patch4_window7_224", "timm/swin_small_patch4_window7_224", "a larger network"),
    ],
)
def test_a_file_of_another_network_of_the_family_is_refused(model: str, other: str, message: str) -> None:
    with pytest.raises(InputError, match=f"weights.path=a.pth is of .*{message}") as caught:
        _fit(model, _net(other).state_dict())
    assert "\n" not in str(caught.value)
    assert _fit(model, _net(model).state_dict()), "its own file fits"


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("resnet50", ("projector.0.weight", "decoder.block1.weight", "ema.layer1.0.conv1.weight")),
        ("resnet50", ("layer1.0.conv1.total_ops", "total_params", "n_averaged", "op_threshs")),
        ("efficientnet_b0", ("classifier.0.weight", "classifier.3.weight", "classifier.3.bias")),
        ("convnext_tiny", ("classifier.4.weight",)),
        ("vgg16", ("classifier.7.weight", "classifier.9.bias")),
        ("vit_b_16", ("decoder.layers.0.weight", "mask_token", "encoder.position_ids")),
        ("timm/test_vit", ("head_dist.weight", "blocks.0.attn.relative_position_index")),
    ],
)
def test_what_lies_outside_the_trunk_is_left_out_with_a_line(
    model: str, more: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        taken = _fit(model, _net(model).state_dict(), more)
    assert not set(more) & set(taken)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert f"{len(more)} tensors of the file are not used ({more[0]})" in record.getMessage()


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("resnet50", "conv1.weight"),
        ("vit_b_16", "conv_proj.bias"),
        ("densenet121", "features.conv0.weight"),
        ("convnext_tiny", "features.0.0.bias"),
        ("timm/vit_tiny_patch16_224", "patch_embed.proj.weight"),
    ],
)
def test_a_file_without_the_first_layer_is_refused(model: str, first: str) -> None:
    lacking = {name: tensor for name, tensor in _net(model).state_dict().items() if name != first}
    with pytest.raises(InputError, match=f"lacks {first}, of the first layer of model {model}: behind"):
        _fit(model, lacking)


def test_what_is_computed_may_have_another_shape() -> None:
    net = _net("resnet18").state_dict() | {"bn1.num_batches_tracked": torch.zeros(1, dtype=torch.long)}
    assert "bn1.num_batches_tracked" not in _fit("resnet18", net)


def _load(tensors: object, folder: Path, name: str = "resnet18") -> Backbone:
    torch.save(tensors, folder / "a.pth")
    weights = WeightsConfig("file", path=str(folder / "a.pth"))
    return build_backbone(ModelConfig(name, name.partition("/")[0]), weights, 64)[0]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return tv.resnet18().state_dict()


def test_a_densenet_as_torchxrayvision_keeps_it_is_loaded(tmp_path: Path) -> None:
    """One grey channel, eighteen findings, and thresholds that are NaN where none is known."""
    torch.manual_seed(0)
    own = tv.densenet121(num_classes=18).state_dict()
    grey = own | {"features.conv0.weight": own["features.conv0.weight"].sum(1, keepdim=True)}
    net = _load(grey | {"op_threshs": torch.full((18,), torch.nan)}, tmp_path, "densenet121").net.state_dict()
    name = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(net[name], own[name])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"layer1.0.conv1.weight": torch.nan},
            r"holds NaN in layer1\.0\.conv1\.weight: it is damaged, or its",
        ),
        ({"bn1.running_var": torch.inf}, r"holds infinity in bn1\.running_var: it is damaged"),
        (
            {"bn1.weight": -torch.inf, "bn1.bias": torch.nan},
            r"holds infinity in bn1\.weight \(and 1 more tensors\)",
        ),
        ({"fc.bias": torch.nan}, r"holds NaN in fc\.bias: "),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_nan_in_a_file_is_refused_in_one_line(
    state: dict[str, Tensor], tmp_path: Path, values: dict[str, float], message: str, dtype: torch.dtype
) -> None:
    broken = {name: torch.full_like(state[name], value, dtype=dtype) for name, value in values.items()}
    with pytest.raises(InputError, match=rf"weights\.path=\S+ {message}"):
        _load(state | broken, tmp_path)


def test_large_numbers_are_finite() -> None:
    check_values({"a": torch.full((9,), 6e4, dtype=torch.float16), "b": torch.full((9,), 3e38)}, {}, "a")


def test_nan_in_source_weights_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    made = tmp_path / "made.safetensors"
    save_file(trunk | {"bn1.bias": torch.full((64,), torch.nan)}, made)
    with pytest.raises(InputError, match=r"made\.safetensors holds NaN in bn1\.bias: it is damaged"):
        build_backbone(ModelConfig("resnet18", "resnet18"), WeightsConfig("source"), 64, lambda: made)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_another_precision_are_converted(
    state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    other = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    }
    for name, tensor in _load(other, tmp_path).net.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, other[name].to(tensor.dtype))


@pytest.mark.parametrize("kind", ["complex64", "int8", "bool"])
def test_tensors_that_are_no_floats_are_refused(state: dict[str, Tensor], tmp_path: Path, kind: str) -> None:
    odd = state["conv1.weight"].to(getattr(torch, kind))
    with pytest.raises(InputError, match=rf"a\.pth holds conv1\.weight as {kind}: it takes plain floats$"):
        _load(state | {"conv1.weight": odd}, tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, which gives them up
@pytest.mark.parametrize("kind", ["qint8", "sparse_coo"])
def test_tensors_that_are_packed_are_refused(kind: str) -> None:
    own = torch.ones(2, 3)
    odd = own.to_sparse() if kind == "sparse_coo" else torch.quantize_per_tensor(own, 0.1, 0, torch.qint8)
    with pytest.raises(InputError, match=f"a holds fc as {kind}: it takes plain floats"):
        check_values({"fc": odd}, {"fc": own}, "a")


def test_a_parallel_checkpoint_with_its_average_and_optimizer_is_loaded(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    trained = {f"module.{name}": tensor for name, tensor in state.items()}
    average = {name: torch.zeros_like(tensor) for name, tensor in trained.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    whole = {"epoch": 3, "state_dict": trained, "state_dict_ema": average, "optimizer": optimizer}
    net = _load(whole, tmp_path).net
    assert torch.equal(net.get_parameter("conv1.weight"), state["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected tensors by name$"),
        ({"epoch": 3, "weights": {}}, "expected tensors by name; it has epoch, weights$"),
        ({"state_dict": {}}, "expected tensors by name; it has state_dict$"),
        ({"a.weight": torch.zeros(3)}, r"fills 0% of model resnet18.*1 tensors .* not used \(a\.weight\)$"),
    ],
)
def test_a_file_without_a_tensor_for_the_network_is_refused(
    content: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        _load(content, tmp_path)


def test_a_larger_network_is_told_behind_a_prefix_and_by_its_numbers(tmp_path: Path) -> None:
    larger = tv.resnet34()
    prefixed = {f"module.backbone.{name}": tensor for name, tensor in larger.state_dict().items()}
    with pytest.raises(InputError, match=r"it has layer1\.2\.conv1\.weight \(and 79 more\)"):
        _load({"state_dict": prefixed}, tmp_path)
    numbered = nn.Sequential(*list(larger.children())[:-1]).state_dict()
    with pytest.raises(InputError, match=r"it has layer1\.2\.conv1\.weight \(and 79 more\)"):
        _load(numbered, tmp_path)
