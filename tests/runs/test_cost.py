"""What a backbone costs: counts against published ones, rates that hang together."""

import logging
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from xray_tl.config import ModelConfig, WeightsConfig
from xray_tl.models.registry import build_backbone
from xray_tl.models.trainable import Trainable
from xray_tl.runs import cost as measure
from xray_tl.runs.cost import Effort, Machine, gemm_limit, machine_for
from xray_tl.store.allocator import keep_large_blocks

CPU = machine_for(torch.device("cpu"), "32-true")
QUICK = Effort(image_size=32, batch_size=4, latency_repeats=3, repeats=1, warm_up=0)


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    keep_large_blocks()
    return measure.measure(ModelConfig("resnet18", "resnet18"), QUICK, CPU)


@pytest.mark.parametrize(
    ("name", "parameters", "gmac"),
    [("resnet18", 11.18, 1.81), ("resnet50", 23.51, 4.09), ("vit_b_16", 85.80, 17.56)],
)
def test_parameters_and_arithmetic_are_the_published_ones(name: str, parameters: float, gmac: float) -> None:
    # He et al. 2016 and torchvision's table, less the 1000-class head; fused attention counts, too
    backbone, _ = build_backbone(ModelConfig(name, name), WeightsConfig("random"), 224)
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(parameters, abs=0.01)
    backbone.eval()
    with torch.inference_mode():
        counted = measure.count_flops(lambda: backbone(torch.zeros(1, 1, 224, 224))) / 2e9
    assert counted == pytest.approx(gmac, rel=0.01)


def test_figures_hang_together(figures: dict[str, Any]) -> None:
    assert figures["latency_p50_ms"] <= figures["latency_p95_ms"]
    assert all(value > 0 for value in figures.values() if value is not None)
    shares = [figures[key] for key in figures if key.endswith("_share")]
    assert len(shares) == 2 + len(measure.MODES)
    assert max(shares) < 1.2, "nothing beats a matrix product by more than its own scatter"


def test_shares_are_of_the_arithmetic_that_a_mode_has(figures: dict[str, Any]) -> None:
    limit = figures["gemm_gflops"]
    single = figures["latency_share"] * limit * figures["latency_p50_ms"] / 1e3
    assert single / 2 == pytest.approx(figures["gmac"])
    gmac = {
        mode: figures[f"train_{mode}_share"] * limit / figures[f"train_{mode}_images_s"] / 2
        for mode in measure.MODES
    }
    assert gmac["frozen"] == pytest.approx(figures["gmac"], rel=1e-4), "no backward pass but the head's"
    # Of layer4, on one pixel: gradients of five weights, and of the inputs of the three behind its first.
    first, behind = 9 * 256 * 512 + 256 * 512, 3 * 9 * 512 * 512
    assert gmac["partial"] - gmac["frozen"] == pytest.approx((first + 2 * behind) / 1e9, rel=1e-3)
    assert 2.8 < gmac["finetune"] / gmac["frozen"] < 3.0


def test_a_mode_does_not_inherit_the_peak_of_the_one_before(figures: dict[str, Any]) -> None:
    if figures["train_finetune_peak_mb"] is None:
        pytest.skip("the system does not tell how much memory is held")
    gradients_and_moments = 3 * 4 * 11.17
    saved = figures["train_finetune_peak_mb"] - figures["train_frozen_peak_mb"]
    assert saved > 0.8 * gradients_and_moments


def test_a_peak_starts_from_what_is_held() -> None:
    if not keep_large_blocks():
        pytest.skip("another C library returns what is freed by its own rules")

    def hold() -> None:
        held = [torch.ones(100_000_000)]
        held.append(held)  # type: ignore[arg-type]  # freed by the collector alone

    _, with_tensor = measure._with_peak(CPU.device, hold)
    _, without = measure._with_peak(CPU.device, lambda: None)
    assert with_tensor is not None
    assert without is not None
    assert with_tensor - without > 0.95 * 400


def test_a_peak_that_the_system_does_not_tell_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(measure, "_CLEAR_REFS", tmp_path)  # a folder: nobody may write to it, not even root
    with caplog.at_level(logging.WARNING):
        figures = measure.measure(ModelConfig("resnet18", "resnet18"), QUICK, CPU)
    assert [figures[f"train_{mode}_peak_mb"] for mode in measure.MODES] == [None] * 3
    assert figures["train_frozen_images_s"] > 0
    (line,) = caplog.messages
    assert line.startswith("peak memory stays unknown: ")
    monkeypatch.undo()
    silent = tmp_path / "status"
    silent.write_text("Name:\tpython\n")
    monkeypatch.setattr(measure, "_STATUS", silent)
    assert measure._with_peak(CPU.device, lambda: "done") == ("done", None)


def test_a_training_step_costs_three_forward_passes() -> None:
    classifier_flops: dict[str, float] = {}
    backbone, _ = build_backbone(ModelConfig("vgg16", "vgg16"), WeightsConfig("random"), 32)
    images = torch.zeros(2, 1, 32, 32)
    for mode, opened in (("frozen", 0), ("finetune", backbone.num_stages)):
        backbone.open(backbone.deepest(opened))

        def step() -> None:
            features = backbone(images)
            if features.requires_grad:
                features.sum().backward()

        classifier_flops[mode] = measure.count_flops(step)
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


def test_the_share_behind_the_boundary_follows_from_what_trains() -> None:
    backbone, _ = build_backbone(ModelConfig("resnet18", "resnet18"), WeightsConfig("random"), 64)
    shares = [measure.share_behind(backbone, backbone.deepest(count), 64) for count in range(6)]
    assert shares[0] == 0
    assert shares[5] == 1
    assert shares == sorted(shares)
    # layer4 of ResNet18, 2 x 2 maps: 3 x 3 from 512 channels three times, from 256 once; a shortcut of 1 x 1.
    layer4 = 4 * (9 * (3 * 512 * 512 + 256 * 512) + 256 * 512)
    images = torch.zeros(1, 1, 64, 64)
    with torch.inference_mode():
        whole = measure.count_flops(lambda: backbone(images)) / 2
    assert shares[1] == pytest.approx(layer4 / whole, rel=1e-6)
    assert measure.share_behind(backbone, Trainable((0,)), 64) == 1
