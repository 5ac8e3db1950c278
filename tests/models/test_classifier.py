"""Head and standardiser."""

import pytest
import torch

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.classifier import Standardiser, XrayClassifier
from xray_tl.models.registry import build_backbone


def _features(count: int = 200, width: int = 8) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def test_standardised_features_have_mean_0_and_mean_variance_1() -> None:
    features = _features() * torch.tensor([1.0, 2.0, 3.0, 0.1, 0.01, 1.0, 5.0, 0.5]) + 3
    out = Standardiser(8).fit(features)(features).double()
    assert torch.allclose(out.mean(0), torch.zeros(8).double(), atol=1e-5)
    assert float(out.var(0, correction=0).mean()) == pytest.approx(1, abs=1e-5)
    assert (out.std(0, correction=0).diff() * features.std(0).diff() > 0).all(), (
        "the order of spreads is kept"
    )


@pytest.mark.parametrize("factor", [1e-14, 1e-3, 1e6])
def test_the_size_of_a_trunks_features_does_not_matter(factor: float) -> None:
    features = _features()
    plain, scaled = (Standardiser(8).fit(f)(f) for f in (features, features * factor))
    assert torch.allclose(plain, scaled, rtol=1e-4, atol=1e-5)


def test_a_unit_that_fires_in_one_training_image_does_not_explode_on_others() -> None:
    """Among features of one SD s its spread is s, and the unit that all are divided by 1/sqrt(2)."""
    features = _features(256, 64)
    features[:, 0] = 0
    features[17, 0] = 1e-3  # 16 SDs of its own
    new = torch.zeros(1, 64)
    new[0, 0] = 1.0
    spread = float(features[:, 1:].square().mean().sqrt())
    assert abs(float(Standardiser(64).fit(features)(new)[0, 0])) == pytest.approx(2**0.5 / spread, rel=0.05)


def test_what_flows_back_to_a_trunk_does_not_grow_as_its_features_shrink() -> None:
    gradients = []
    for factor in (1.0, 1e-3):
        features = (_features() * factor).requires_grad_()
        standardiser = Standardiser(8).fit(features.detach())
        standardiser(features).sum().backward()
        assert features.grad is not None
        gradients.append(features.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4)
    assert float(gradients[0].max()) == pytest.approx(1)


def test_without_statistics_the_gradient_is_left_alone() -> None:
    features = _features().requires_grad_()
    Standardiser(8)(features).square().sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, 2 * features.detach())


def test_features_without_signal_become_zero() -> None:
    constant = torch.full((50, 2), 0.1)
    constant[::2, 1] = torch.nextafter(torch.tensor(0.1), torch.tensor(1.0))  # rounding, not signal
    assert not Standardiser(2).fit(constant)(constant).any()


def test_standardiser_is_the_identity_until_fit() -> None:
    features = torch.randn(3, 4)
    assert torch.equal(Standardiser(4)(features), features)


def test_head_follows_the_seed_alone() -> None:
    def head(seed: int, weights_seed: int, stem: str) -> torch.Tensor:
        torch.rand(3)
        model = ModelConfig(name="resnet18", registry="resnet18", stem=stem)
        backbone, _ = build_backbone(model, WeightsConfig(source="random", seed=weights_seed), 32)
        return XrayClassifier(backbone, 1, seed).head.weight

    assert torch.equal(head(0, 0, "repeat"), head(0, 1, "convert"))
    assert not torch.equal(head(0, 0, "repeat"), head(1, 0, "repeat"))


def test_building_a_head_leaves_the_global_generator_alone() -> None:
    backbone, _ = build_backbone(
        ModelConfig(name="resnet18", registry="resnet18"), WeightsConfig(source="random"), 32
    )
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    XrayClassifier(backbone, 1, 0)
    assert torch.equal(torch.rand(1), expected)


def test_head_dropout_drops_features_in_training_alone() -> None:
    model = ModelConfig(name="resnet18", registry="resnet18")
    backbone, _ = build_backbone(model, WeightsConfig(source="random"), 32)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, dropping = XrayClassifier(backbone, 1, 0), XrayClassifier(backbone, 1, 0, dropout=0.5)
    assert torch.equal(plain.eval()(images), dropping.eval()(images))
    dropping.dropout.train()
    torch.manual_seed(0)
    once, twice = dropping(images), dropping(images)
    assert not torch.equal(once, twice)
