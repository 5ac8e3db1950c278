"""Initial weights of a trunk: ImageNet, source, random or from a file; and their provenance."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from xray_tl.config import WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.file_weights import check_values, fitting, unwrapped, with_names, without_prefix
from xray_tl.models.pretrained import ImageNetSource, UnavailableError
from xray_tl.models.stage_map import StageOf

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LEARNED = "learned"
"""Key of a source-weights file's metadata: what was learned, as JSON."""
SOURCES = ("auto", "imagenet", "source", "random", "file")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """Provenance of the weights that a run started from.

    Attributes:
        source: `imagenet`, `source`, `random` or `file`.
        name: The weights' published name, the budget, the seed, or the file's name.
        sha256: Hash of the trunk's tensors as loaded, before the stem is converted. It includes mean and
            standard deviation of the normalisation where they are not the trunk's own.
        image_size: Side in pixels of the images for which published weights are made.
        learned: `source`: AUROC of each finding, and explained variance, on held-out images of the source
            task; `None` where the file does not say.
    """

    source: str
    name: str
    sha256: str
    image_size: int | None = None
    learned: dict[str, float] | None = None


def _unchanged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return tensors


@dataclass(frozen=True)
class Trunk:
    """A network without its classifier, with random weights, its stages, and how its weights are loaded.

    Attributes:
        net: Images [B, 3, H, W] -> features [B, num_features].
        num_features: Number of features.
        stage_of: Stage of each parameter and buffer.
        head: Dotted names of the classifier that weights files hold and `net` lacks.
        imagenet: Where the ImageNet weights come from.
        adapt: Renames or resizes the tensors of a file to what `net` expects.
        read: Reads the tensors of the published ImageNet file; `None` reads them as any other file.
        mean: Mean of each input channel in the source task.
        std: Standard deviation of each input channel in the source task.
        image_size: Side in pixels of the images of the source task.
        whole: The network before its last stages were cut off; `None`: none were.
    """

    net: nn.Module
    num_features: int
    stage_of: StageOf
    head: tuple[str, ...]
    imagenet: ImageNetSource
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _unchanged
    read: Callable[[Path], dict[str, Tensor]] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    image_size: int = 224
    whole: nn.Module | None = None

    @property
    def cut_off(self) -> frozenset[str]:
        """Return the names of the tensors of the stages that were cut off, which files may hold."""
        return (
            frozenset(self.whole.state_dict().keys() - self.net.state_dict().keys())
            if self.whole
            else frozenset()
        )


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of tensors' names, types, shapes and values, for any order, device and memory format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


MakeSource = Callable[[], Path]
"""Returns the file of a backbone's source weights, training it first where there is none."""


def load_weights(
    trunk: Trunk, model: str, weights: WeightsConfig, make_source: MakeSource | None = None
) -> Provenance:
    """Load the requested weights into a newly built trunk, in place.

    Args:
        trunk: The trunk.
        model: Its name, for messages.
        weights: The requested weights.
        make_source: Returns the file of source weights; this package cannot train them.

    Raises:
        InputError: They are not available, or do not fit; the message names the option and the choices.
    """
    learned: dict[str, float] | None = None
    match weights.source:
        case "random":
            source, name = "random", f"seed {weights.seed}"
        case "file":
            source, name = "file", _load_file(trunk, model, weights)
        case "imagenet":
            try:
                source, name = _load_imagenet(trunk, model, weights)
            except UnavailableError as error:
                raise InputError(
                    f"weights=imagenet: no ImageNet weights for {model}: {error}; "
                    "or choose weights=source, weights=random or weights=file weights.path=FILE"
                ) from error
        case "source":
            source, name, learned = _load_source(trunk, model, weights, make_source)
        case "auto":
            try:
                source, name = _load_imagenet(trunk, model, weights)
            except UnavailableError as error:
                log.warning(_source_instead(model, str(error)))
                source, name, learned = _load_source(trunk, model, weights, make_source)
        case unknown:
            raise InputError(f"weights.source={unknown} is unknown; choose from {', '.join(SOURCES)}")
    return Provenance(source, name, tensors_sha256(trunk.net.state_dict()), learned=learned)


def _load_file(trunk: Trunk, model: str, weights: WeightsConfig) -> str:
    if weights.path is None:
        raise InputError(f"weights=file needs weights.path=FILE: safetensors or a state_dict of {model}")
    file = Path(weights.path).expanduser()
    expected, heads = trunk.net.state_dict(), tuple(f"{name}." for name in trunk.head)
    origin = f"weights.path={file}"
    named = with_names(read_tensors(file), trunk.whole or trunk.net)
    tensors = trunk.adapt(without_prefix(named, expected))
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}
    meant = {name: tensor for name, tensor in tensors.items() if name in expected or name not in own}
    check_values(meant, expected, origin)
    try:
        taken = fitting(own, trunk.net, trunk.head, model, origin, trunk.cut_off)
    except InputError as error:
        filled = _filled_stages(own, trunk) if own.keys() <= expected.keys() else 0
        if trunk.whole is not None or not filled:
            raise
        raise InputError(f"{error}; it fills the first {filled} stages: model.depth={filled}") from error
    trunk.net.load_state_dict(taken, strict=False)
    return file.name


def _filled_stages(tensors: Mapping[str, Tensor], trunk: Trunk) -> int:
    """Return how many of a trunk's first stages a file fills, as one without fully connected layers does."""
    lacking = [
        stage
        for name, own in trunk.net.state_dict().items()
        if (stage := trunk.stage_of(name)) is not None
        and own.ndim > 1
        and (name not in tensors or tensors[name].shape != own.shape)
    ]
    return min(lacking, default=0)


def _load_imagenet(trunk: Trunk, model: str, weights: WeightsConfig) -> tuple[str, str]:
    published = trunk.imagenet.find(weights)
    fill(trunk, model, (trunk.read or read_tensors)(published.file), str(published.file))
    return "imagenet", published.name


def _load_source(
    trunk: Trunk, model: str, weights: WeightsConfig, make_source: MakeSource | None
) -> tuple[str, str, dict[str, float] | None]:
    if make_source is None:
        raise ValueError("weights=source needs make_source: runs.source_weights makes them")
    file = make_source()
    fill(trunk, model, read_tensors(file), str(file))
    with safe_open(file, framework="pt") as opened:
        stated = (opened.metadata() or {}).get(LEARNED)
    name = f"budget {weights.budget}, seed {weights.seed}"
    return "source", name, json.loads(stated) if stated else None


def _source_instead(model: str, reason: str) -> str:
    rule = "!" * 100
    return (
        f"\n{rule}\n"
        f"  NO IMAGENET WEIGHTS: {model} starts from the project's own synthetic source task instead.\n"
        f"  Asked for:  ImageNet weights (weights=auto).\n"
        f"  Missing:    {reason}.\n"
        f"  Choices:    weights=source is silent about it, weights=imagenet stops instead, weights=random\n"
        f"              starts untrained, weights=file weights.path=FILE takes weights of your own.\n"
        f"{rule}"
    )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read named tensors from safetensors or a pickled state_dict, executing no code.

    Raises:
        InputError: The file is missing, damaged or holds anything but tensors.
    """
    if not file.is_file():
        raise InputError(f"weights.path={file} is not a file; expected safetensors or a pickled state_dict")
    content: object
    try:
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # reading a damaged file can raise any exception
        raise InputError(
            f"weights.path={file} cannot be read: it is damaged or incomplete, or a pickle that holds more "
            f"than tensors (nothing in it was executed): {_blocked(error)}; expected safetensors or a "
            "pickled state_dict (torch.save(checkpoint['state_dict'], FILE), where the file is trusted)"
        ) from error
    tensors = unwrapped(content)
    if tensors is None:
        raise InputError(f"weights.path={file} holds no state_dict: expected tensors by name{_keys(content)}")
    return tensors


def _keys(content: object) -> str:
    """Return text with the first few keys of a checkpoint that holds no tensors by name."""
    if not isinstance(content, dict) or not content:
        return ""
    keys = [str(key)[:40] for key in list(content)[:5]]
    return f"; it has {', '.join(keys)}{', ...' if len(content) > 5 else ''}"


def _blocked(error: Exception) -> str:
    """Return one line on why a file could not be read: the class that a pickle needs, or the error."""
    found = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
    return f"it wants {found[1]}" if found else (str(error).splitlines() or [type(error).__name__])[0][:120]


def fill(trunk: Trunk, model: str, tensors: dict[str, Tensor], origin: str) -> None:
    """Copy tensors into a trunk; all must match, but for those of the classifier and of stages cut off.

    Raises:
        InputError: A tensor is missing, left over or of another shape, or holds NaN or infinity.
    """
    heads, cut_off = tuple(f"{name}." for name in trunk.head), trunk.cut_off
    tensors = {
        name: tensor
        for name, tensor in trunk.adapt(tensors).items()
        if not name.startswith(heads) and name not in cut_off
    }
    expected = trunk.net.state_dict()
    # Old files lack BatchNorm's counter, which no network here uses.
    missing = [n for n in expected if n not in tensors and not n.endswith(".num_batches_tracked")]
    unexpected = [n for n in tensors if n not in expected]
    misshapen = [
        f"{n} is {tuple(tensors[n].shape)}, not {tuple(expected[n].shape)}"
        for n in expected
        if n in tensors and tensors[n].shape != expected[n].shape
    ]
    faults = [
        f"{len(names)} {fault} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for fault, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshapen),
        )
        if names
    ]
    if faults:
        raise InputError(f"{origin} does not fit model {model}: tensors {', '.join(faults)}")
    check_values(tensors, expected, origin)
    trunk.net.load_state_dict(tensors, strict=True)
