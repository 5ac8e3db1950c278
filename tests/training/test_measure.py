"""What a backbone costs: counts against published ones, rates that hang together."""

import time
from contextlib import nullcontext

import pytest
import torch

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.registry import build_backbone
from xray_tl.training import measure
from xray_tl.training.measure import Effort, Machine, gemm_limit, machine_for

CPU = machine_for(torch.device("cpu"), "32-true")
QUICK = Effort(image_size=32, batch_size=4, latency_repeats=3, repeats=1, warm_up=0)


@pytest.mark.parametrize(
    ("name", "parameters", "gmac"), [("resnet18", 11.18, 1.81), ("resnet50", 23.51, 4.09)]
)
def test_parameters_and_arithmetic_are_the_published_ones(name: str, parameters: float, gmac: float) -> None:
    # He et al. 2016 and torchvision's table, less the 1000-class head
    backbone, _ = build_backbone(ModelConfig(name, name), WeightsConfig("random"), 224)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(parameters, abs=0.01)
    backbone.eval()
    with torch.inference_mode():
        counted = measure._flops(lambda: backbone(torch.zeros(1, 1, 224, 224))) / 2e9
    assert counted == pytest.approx(gmac, rel=0.01)


def test_figures_hang_together() -> None:
    figures = measure.measure(ModelConfig("resnet18", "resnet18"), QUICK, CPU)
    assert figures["model"] == "resnet18"
    assert figures["latency_p50_ms"] <= figures["latency_p95_ms"]
    assert all(figures[key] > 0 for key in figures if key != "model")
    shares = [figures[key] for key in figures if key.endswith("_share")]
    assert len(shares) == 1 + len(measure.MODES)
    assert max(shares) < 1.2, "nothing beats a matrix product by more than its own scatter"
    assert figures["train_finetune_peak_mb"] > 11.18e6 * 16 / 1e6, "weights, gradients and two moments"


def test_a_training_step_costs_three_forward_passes() -> None:
    classifier_flops: dict[str, float] = {}
    backbone, _ = build_backbone(ModelConfig("vgg16", "vgg16"), WeightsConfig("random"), 32)
    images = torch.zeros(2, 1, 32, 32)
    for mode, opened in (("frozen", 0), ("finetune", backbone.num_stages)):
        backbone.open(opened)

        def step() -> None:
            features = backbone(images)
            if features.requires_grad:
                features.sum().backward()

        classifier_flops[mode] = measure._flops(step)
    ratio = classifier_flops["finetune"] / classifier_flops["frozen"]
    assert 2.8 < ratio < 3.0, "all but the first layer have a gradient of their input too"


def test_a_measurement_leaves_warm_up_out_and_waits() -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        time.sleep(0.02 if len(calls) > 2 else 0.2)

    times = Machine(torch.device("cpu"), nullcontext, torch.float32).seconds(action, repeats=3, warm_up=2)
    assert len(calls) == 5
    assert len(times) == 3
    assert all(0.02 <= value < 0.15 for value in times)


def test_the_limit_is_a_rate() -> None:
    assert 1 < gemm_limit(CPU, repeats=1) < 1e5  # GFLOP/s, from a slow core to a large accelerator
