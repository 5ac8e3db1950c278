"""VGG's fc6 on the average of its map: trained as one matrix, and a whole VGG again."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import VGG, resnet18

from xray_tl.models.averaged import AveragedMap


@pytest.fixture
def vgg() -> VGG:
    """Return a VGG of one small convolution, whose last map has half the image's side."""
    torch.manual_seed(0)
    net = VGG(nn.Sequential(nn.Conv2d(3, 512, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), init_weights=False)
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 8), nn.ReLU())
    return net.eval()


def images(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("size", "tolerance"), [(2, 1e-5), (4, 1e-5), (14, 1e-5), (8, 0.05)])
def test_expanded_it_computes_what_was_trained(vgg: VGG, size: int, tolerance: float) -> None:
    before = {name: value.shape for name, value in vgg.state_dict().items()}
    averaged = AveragedMap(vgg)
    trained = vgg(images(size))
    averaged.expand()
    assert {name: value.shape for name, value in vgg.state_dict().items()} == before
    assert (vgg(images(size)) - trained).abs().max() <= tolerance * trained.abs().max()


def test_it_starts_from_the_drawn_weights_and_draws_nothing(vgg: VGG) -> None:
    drawn = vgg.classifier[0].weight.detach().clone()
    generators = torch.get_rng_state()
    averaged = AveragedMap(vgg)
    assert torch.equal(torch.get_rng_state(), generators)
    one = vgg.classifier[0].weight.detach()
    torch.testing.assert_close(one, drawn.view(8, 512, 49).sum(2) / 7)
    assert float(one.std() / drawn.std()) == pytest.approx(1, abs=0.1)
    averaged.expand()
    assert torch.equal(torch.get_rng_state(), generators)


def test_other_networks_stay_as_they_are() -> None:
    net = resnet18()
    before = copy.deepcopy(net.state_dict())
    AveragedMap(net).expand()
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
