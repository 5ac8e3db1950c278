"""Backbone divided into ordered stages: a part of it trains, everything else stays unchanged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from xray_tl.errors import InputError
from xray_tl.models.cut import CannotCutError, Halves, cut
from xray_tl.models.stage_map import StageOf, stage_names, stages_of_modules, stages_of_state
from xray_tl.models.trainable import KINDS, Trainable, select

log = logging.getLogger(__name__)

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
STEMS = ("repeat", "convert")


class Backbone(nn.Module):
    """A network of which a part trains; the rest keeps its parameters and BatchNorm statistics.

    Names of parameters and buffers are those of this module's `state_dict()`, all below `net.`.

    Args:
        net: The network without its classifier: images [B, 3, H, W] -> features [B, D].
        num_features: D.
        stage_of: Gives each parameter and buffer of `net` its stage, 0 nearest to the input.
        mean: Mean of each input channel in the source task, for intensities in [0, 1].
        std: Standard deviation of each input channel in the source task.
        stem: `repeat` gives the network the one channel three times; `convert` sums the first convolution's
            weights over its input channels, which is the same if all channels share mean and deviation.

    Raises:
        ValueError: A parameter or buffer belongs to no stage, or a stage is empty.
        InputError: The stem is unknown, or the network's first convolution cannot be converted.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(
        self,
        net: nn.Module,
        num_features: int,
        stage_of: StageOf,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        stem: str = "repeat",
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise InputError(f"model.stem={stem} is unknown; choose from {', '.join(STEMS)}")
        self.net = net
        self.num_features = num_features
        self.stem = stem
        self._place = stage_of
        self.index_stages()
        self.num_stages = 1 + max(self._stage_of_state.values())
        self.stage_names = stage_names(self._stage_of_state, self.num_stages)
        means, stds = torch.tensor(mean), torch.tensor(std)
        if stem == "convert":
            _sum_input_channels(_first_conv(net))
            means, stds = means.mean(dim=0, keepdim=True), stds.mean(dim=0, keepdim=True)
        # (images - mean) / std as one multiply-add per pixel.
        self.register_buffer("_scale", 1 / stds, persistent=False)
        self.register_buffer("_shift", -means / stds, persistent=False)
        self._behind: Callable[[Tensor], Tensor] | None = None
        self._cut_at: tuple[int, Halves] | None = None
        self.open(self.deepest(self.num_stages))

    def index_stages(self) -> None:
        """Find the stage of every parameter, buffer and module; again after parameters were added."""
        self._stage_of_state = stages_of_state(self.net, self._place)
        self._stage_of_module = stages_of_modules(self.net, self._place, self._stage_of_state)
        self._cut_at = None

    def forward(self, images: Tensor) -> Tensor:
        """Compute features [B, D], float32, of images [B, 1, H, W] with intensities in [0, 1].

        After `enter`, the input is the activations at the freeze boundary. Under autocast the stages in front
        of all that train still compute in float32: rounding to bf16 would look like a signal where features
        hardly differ between images, and cached activations must equal those of every other pass.
        """
        if self._behind is not None:
            return self._behind(images).float()
        trains_first = self.boundary(self.trainable) == self.num_stages
        if trains_first or not torch.is_autocast_enabled(images.device.type):
            return self.net(self.normalise(images)).float()
        halves = self._halves()
        with torch.autocast(images.device.type, enabled=False):
            activations = halves.before(self.normalise(images))
        return halves.after(activations).float()

    def _halves(self) -> Halves:
        """Return the halves at the present boundary, cut once; without a cut, all computes in fp32."""
        behind = self.boundary(self.trainable)
        if self._cut_at is None or self._cut_at[0] != behind:
            try:
                halves = self.cut(behind)
            except CannotCutError as reason:
                log.info("all of the backbone computes in fp32, since it cannot be cut: %s", reason)
                halves = Halves(self.net, nn.Identity())
            self._cut_at = behind, halves
        return self._cut_at[1]

    def boundary(self, trainable: Trainable) -> int:
        """Return how many stages lie behind the freeze boundary: the first that trains, and all after it."""
        return self.num_stages - min(trainable.stages, default=self.num_stages)

    def cut(self, behind: int) -> Halves:
        """Cut this backbone's network, on the device where it is, in front of its deepest stages.

        The features are `after(before(normalise(images)))`.

        Args:
            behind: How many stages lie behind the cut.

        Raises:
            CannotCutError: It cannot be cut there.
        """
        if not behind:
            return Halves(self.net, nn.Identity())
        first = self.num_stages - behind
        return cut(
            self.net,
            lambda name: self._stage_of_state[name] >= first,
            lambda name: self._stage_of_module[name] >= first,
        )

    def enter(self, halves: Halves | None) -> None:
        """Take activations at a freeze boundary as input from now on; `None`: images again."""
        # Stored as a method: a module here would become a submodule and part of the state.
        self._behind = None if halves is None else halves.after.__call__

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise images [B, 1, H, W] to [B, C, H, W], in the memory format of the weights."""
        first = _first_conv(self.net)
        if first is not None and first.weight.stride(1) == 1:  # channels_last
            return torch.addcmul(self._shift, images.permute(0, 2, 3, 1), self._scale).permute(0, 3, 1, 2)
        return torch.addcmul(self._shift.view(1, -1, 1, 1), images, self._scale.view(1, -1, 1, 1))

    def scale_and_shift(self) -> list[list[float]]:
        """Return the factors and the offsets of `normalise`, one per channel."""
        return [self._scale.tolist(), self._shift.tolist()]

    def use_scale_and_shift(self, values: list[list[float]]) -> None:
        """Set the factors and offsets of `normalise` to those of another backbone's `scale_and_shift`."""
        for own, value in zip((self._scale, self._shift), values, strict=True):
            own.copy_(torch.tensor(value))

    def deepest(self, count: int) -> Trainable:
        """Return the deepest `count` stages, whole."""
        return Trainable.deepest(count, self.num_stages)

    def open(self, trainable: Trainable) -> Self:
        """Make a part of the backbone trainable and freeze the rest.

        Raises:
            InputError: There is nothing of this kind in these stages.
        """
        chosen = self.names(trainable)
        if trainable.stages and not chosen:
            within = ", ".join(self.stage_names[stage] for stage in trainable.stages)
            raise InputError(
                f"mode={trainable.kind} has nothing to train: there is no {KINDS[trainable.kind]} in {within}"
            )
        self.trainable, self._open = trainable, chosen
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in chosen)
        return self.train(self.training)

    def names(self, trainable: Trainable) -> frozenset[str]:
        """Return the names, as in `state_dict()`, of what changes while a part of the backbone trains."""
        return frozenset(f"net.{name}" for name in select(self.net, self._stage_of_state, trainable))

    def train(self, mode: bool = True) -> Self:
        """Set the mode but keep what is frozen in eval: no BatchNorm statistic changes, dropout stays off."""
        super().train(mode)
        trained = self.trained_modules()
        for module in self.net.modules():
            module.training = mode and module in trained
        return self

    def trained_modules(self) -> set[nn.Module]:
        """Return the modules in stages that train, but for those whose buffers must keep their values."""
        found = set()
        for name, module in self.net.named_modules():
            prefix = f"net.{name}." if name else "net."
            buffers = [prefix + key for key, _ in module.named_buffers(recurse=False)]
            if self._stage_of_module[name] in self.trainable.stages and (
                not buffers or not self._open.isdisjoint(buffers)
            ):
                found.add(module)
        return found

    def stage_of_state(self, name: str) -> int:
        """Return the stage of a parameter or buffer, named as in `state_dict()`."""
        return self._stage_of_state[name.removeprefix("net.")]

    def stage_parameters(self, stage: int) -> list[tuple[str, nn.Parameter]]:
        """List the parameters of one stage with their names."""
        return [(name, p) for name, p in self.named_parameters() if self.stage_of_state(name) == stage]


def _first_conv(net: nn.Module) -> nn.Conv2d | None:
    return next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)


@torch.no_grad()
def _sum_input_channels(conv: nn.Conv2d | None) -> None:
    """Replace a convolution's input channels by a single one with the same output for a grey image."""
    refusal = InputError("model.stem=convert: the first layer cannot be converted; use model.stem=repeat")
    if conv is None or conv.groups > 1:
        raise refusal
    side = 2 * max(conv.kernel_size)
    probe = torch.linspace(0, 1, side * side).view(1, 1, side, side)
    expected = conv(probe.expand(-1, conv.in_channels, -1, -1))
    conv.weight = nn.Parameter(conv.weight.sum(dim=1, keepdim=True))
    conv.in_channels = 1
    # Weight-standardised convolutions, for one, are not linear in their weights.
    if not torch.allclose(conv(probe), expected, rtol=1e-4, atol=1e-5):
        raise refusal
