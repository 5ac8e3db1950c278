"""Weights of somebody else's, however they are named."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from safetensors.torch import save_file
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import Backbone


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return tv.resnet18().state_dict()


def _build(weights: WeightsConfig) -> Backbone:
    model = ModelConfig(name="resnet18", registry="resnet18")
    return build_backbone(model, weights, 64)[0]


def _load(tensors: object, folder: Path) -> Backbone:
    path = folder / "weights.pth"
    torch.save(tensors, path)
    return _build(WeightsConfig("file", path=str(path)))


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


class _Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_not_executed(suffix: str, zipped: bool, tmp_path: Path) -> None:
    trace, file = tmp_path / "trace", tmp_path / f"weights.{suffix}"
    content = tv.resnet18().state_dict() | {"conv1.weight": _Malicious(trace)}
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps({"state_dict": _Malicious(trace)}))
    with pytest.raises(InputError, match=r"weights\.path=.* cannot be read.*nothing in it was executed"):
        _build(WeightsConfig("file", path=str(file)))
    assert not trace.exists()


def _bad_file(kind: str, folder: Path) -> Path:
    """Write a file that is no set of weights for a ResNet-18."""
    state, file = tv.resnet18().state_dict(), folder / "weights.pth"
    match kind:
        case "missing":
            pass
        case "folder":
            file.mkdir()
        case "empty":
            file.touch()
        case "text":
            file.write_text("<html>404</html>")
        case "truncated":
            torch.save(state, file)
            file.write_bytes(file.read_bytes()[:100_000])
        case "truncated.safetensors":
            file = folder / kind
            save_file(state, file)
            file.write_bytes(file.read_bytes()[:100_000])
        case "tensor":
            torch.save(torch.zeros(3), file)
        case "numbers":
            torch.save({"conv1.weight": 3}, file)
        case "other architecture":
            torch.save(tv.efficientnet_b0().state_dict(), file)
        case "lacks a stage":
            torch.save({name: tensor for name, tensor in state.items() if "layer4" not in name}, file)
        case "other shape":
            torch.save(state | {"layer4.1.conv2.weight": torch.zeros(512, 512, 1, 1)}, file)
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "is not a file; expected safetensors"),
        ("folder", "is not a file; expected safetensors"),
        ("empty", "cannot be read"),
        ("text", "cannot be read"),
        ("truncated", "cannot be read: it is damaged or incomplete"),
        ("truncated.safetensors", "cannot be read: it is damaged or incomplete"),
        ("tensor", "holds no state_dict"),
        ("numbers", "holds no state_dict"),
        (
            "other architecture",
            r"fills 0% of model resnet18, 90% are needed: conv1\.weight is missing; .* more; .* are not used",
        ),
        (
            "lacks a stage",
            r"fills 25% of model resnet18, 90% are needed: layer4\.0\.conv1\.weight is missing",
        ),
        ("other shape", r"layer4\.1\.conv2\.weight is \(512, 512, 1, 1\), not \(512, 512, 3, 3\)"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(kind: str, message: str, tmp_path: Path) -> None:
    file = _bad_file(kind, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        _build(WeightsConfig("file", path=str(file)))
    assert f"weights.path={file}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_needs_its_path() -> None:
    with pytest.raises(InputError, match=r"weights=file needs weights\.path=FILE"):
        _build(WeightsConfig("file"))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.0."])
def test_layers_that_are_numbered_have_their_names(
    state: dict[str, Tensor], tmp_path: Path, prefix: str
) -> None:
    """As RadImageNet's files: `nn.Sequential(*net.children())` without the classifier."""
    net = tv.resnet18()
    net.load_state_dict(state)
    numbered = nn.Sequential(*list(net.children())[:-1]).state_dict()
    assert "4.0.conv1.weight" in numbered
    backbone = _load({f"{prefix}{name}": tensor for name, tensor in numbered.items()}, tmp_path)
    for name, tensor in backbone.net.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_two_networks_in_a_file_are_not_chosen_by_the_alphabet(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    both = {f"{name}.{key}": tensor for name in ("student", "teacher") for key, tensor in state.items()}
    with pytest.raises(InputError, match=r"networks that fit alike, 'student\.' and 'teacher\.': keep one"):
        _load(both, tmp_path)


def test_what_a_pickle_wants_is_named(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing in it was executed\): it wants pathlib\.\w+"):
        _load({"state_dict": state, "folder": Path("a")}, tmp_path)


def test_a_checkpoint_of_a_run_brings_its_normalisation(state: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {"state_dict": state, "scale_and_shift": [[4.0] * 3, [-2.0] * 3]}
    assert _load(kept, tmp_path).scale_and_shift() == [[4.0] * 3, [-2.0] * 3]
