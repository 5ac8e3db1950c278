"""A backbone cut at its freeze boundary computes what it computed whole."""

import pytest
import torch
from torch import Tensor, nn

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.cut import CannotCutError, Halves, cut
from xray_tl.models.registry import backbone_names, build_backbone

TIMM = ("resnet10t", "vit_tiny_patch16_224")
NAMES = [(name, name) for name in backbone_names() if name != "timm"] + [("timm", name) for name in TIMM]


@pytest.mark.parametrize(("registry", "name"), NAMES, ids=lambda value: value)
def test_both_halves_are_the_whole_backbone(registry: str, name: str) -> None:
    model = ModelConfig(name=name, registry=registry, dropout=0.5)
    backbone, _ = build_backbone(model, WeightsConfig(source="random"), 32)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for stages in range(backbone.num_stages):
        backbone.open(backbone.deepest(stages)).train()
        modes = [module.training for module in backbone.modules()]
        halves = backbone.cut(stages)
        assert [module.training for module in backbone.modules()] == modes
        frozen = [p for p in backbone.parameters() if not p.requires_grad]
        with torch.no_grad():
            activations = halves.before(backbone.normalise(images))
        for _ in range(2):  # the same dropout in both, and BatchNorm in both
            torch.manual_seed(1)
            whole = backbone(images)
            torch.manual_seed(1)
            torch.testing.assert_close(halves.after(activations), whole, rtol=0, atol=0)
        if stages:
            halves.after(activations).sum().backward()  # type: ignore[no-untyped-call]  # torch has no type for it
            assert any(p.grad is not None for p in backbone.parameters())
        assert all(p.grad is None for p in frozen)


class Net(nn.Module):
    """A network whose first layer is frozen in these tests."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Pass through everything."""
        return self.second(self.drop(torch.relu(self.first(x))))


class Skip(Net):
    """Hands two tensors over the boundary."""

    def forward(self, x: Tensor) -> Tensor:
        """Add what came before the second layer."""
        return self.second(self.first(x)) + x[:, :2]


class Moody(Net):
    """Does something else in training, outside its modules."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop by hand."""
        return self.second(torch.dropout(self.first(x), 0.5, self.training))


class InPlace(Net):
    """Works in place, without taking a result."""

    def forward(self, x: Tensor) -> Tensor:
        """Clear what is negative."""
        x = self.first(x)
        x.relu_()
        return self.second(x)


class Constant(Net):
    """Holds a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.full((3,), 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Scale by it."""
        return self.second(self.first(x) * self.factor)


class Choosy(Net):
    """Decides by a value."""

    def forward(self, x: Tensor) -> Tensor:
        """Skip the first layer for small inputs."""
        return self.second(self.first(x) if x.sum() > 0 else x)


def halved(net: nn.Module) -> Halves:
    """Cut behind `first`; dropout lies in the open stage."""
    return cut(net, lambda name: name.startswith("second"), lambda name: name != "first")


def test_dropout_of_an_open_stage_stays_behind_the_cut() -> None:
    net, x = Net().train(), torch.ones(64, 3)
    nn.init.ones_(net.first.weight)  # or the ReLU might let nothing through that could be dropped
    halves = halved(net)
    activations = halves.before(x)
    assert torch.equal(activations[0], activations[1])
    assert len(halves.after(activations).unique(dim=0)) > 1
    net.eval()
    assert torch.equal(halves.after(activations), net(x))


def test_what_works_in_place_is_kept() -> None:
    net, x = InPlace().eval(), torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    halves = halved(net)
    assert (net.first(x) < 0).any()
    assert torch.equal(halves.after(halves.before(x)), net(x))


def test_a_tensor_of_no_stage_is_named() -> None:
    stages = {name: int(name.startswith("second")) for name in Net().state_dict()}
    with pytest.raises(CannotCutError, match="'factor' belongs to no stage"):
        cut(Constant(), lambda name: bool(stages[name]), lambda name: name != "first")


@pytest.mark.parametrize(
    ("net", "reason"),
    [(Skip(), "2 tensors cross"), (Moody(), "differs between"), (Choosy(), "cannot be followed")],
)
def test_what_cannot_be_cut_is_refused(net: nn.Module, reason: str) -> None:
    net.train()
    with pytest.raises(CannotCutError, match=reason):
        halved(net)
    assert all(module.training for module in net.modules())
