"""Head and standardiser."""

import torch

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.classifier import Standardiser, XrayClassifier
from xray_tl.models.registry import build_backbone


def test_standardised_features_have_mean_0_and_sd_1_at_any_scale() -> None:
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).double()
    scales = torch.tensor([1.0, 1e-3, 1e-14, 1e6])
    scaled = (features * scales + 0.3 * scales).float()
    out = Standardiser(4).fit(scaled)(scaled).double()
    assert torch.allclose(out.mean(0), torch.zeros(4).double(), atol=1e-5)
    assert torch.allclose(out.std(0, correction=0), torch.ones(4).double(), atol=1e-5)


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
