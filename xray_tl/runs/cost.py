"""Benchmark of a backbone on this machine: arithmetic, latency, throughput, memory, share of the limit.

The limit is the rate at which this machine multiplies large matrices in the measured precision. No
convolution is faster, so a share tells how much faster the same arithmetic could be. Memory has no such
limit, nor has the image generator, which spends its time on random numbers, filters and exponentials.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from xray_tl.config import ModeConfig, ModelConfig, OptimConfig, SyntheticDataConfig, WeightsConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.models.classifier import XrayClassifier
from xray_tl.models.cut import CannotCutError
from xray_tl.models.freeze import build_policy
from xray_tl.models.registry import build_backbone
from xray_tl.models.stages import MEMORY_FORMATS, Backbone
from xray_tl.models.trainable import Trainable
from xray_tl.training.device import autocast
from xray_tl.training.optim import build_optimizer

log = logging.getLogger(__name__)

T = TypeVar("T")
GEMM_SIZE = 2048
MODES = {
    "finetune": ModeConfig("finetune", head_lr=1e-3),
    "partial": ModeConfig("partial", head_lr=1e-3, trainable_stages=1),
    "frozen": ModeConfig("frozen", head_lr=1e-3),
}
"""The measured ways of training: everything, the deepest stage and the head, the head only."""
_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Effort:
    """Image size, batch size and numbers of repeated measurements.

    Attributes:
        image_size: Side of the images in pixels.
        batch_size: Images per batch in the throughput measurements.
        latency_repeats: Number of timed passes of a single image.
        repeats: Number of timed batches; their median is reported.
        warm_up: Calls before each measurement that are not timed.
    """

    image_size: int
    batch_size: int
    latency_repeats: int
    repeats: int
    warm_up: int


@dataclass(frozen=True)
class Machine:
    """The device and the precision that are measured.

    Attributes:
        device: CPU or accelerator.
        autocast: Returns a context manager in which computation uses the measured precision.
        dtype: Data type of a matrix product in that precision.
    """

    device: torch.device
    autocast: Callable[[], AbstractContextManager[Any]]
    dtype: torch.dtype

    def wait(self) -> None:
        """Wait until the device has finished all queued work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, action: Callable[[], object], repeats: int, warm_up: int) -> list[float]:
        """Return the duration of each of `repeats` calls of an action, in seconds."""
        times = []
        for call in range(warm_up + repeats):
            self.wait()
            start = time.perf_counter()
            action()
            self.wait()
            if call >= warm_up:
                times.append(time.perf_counter() - start)
        return times


def machine_for(device: torch.device, precision: str) -> Machine:
    """Return the machine for a device and Lightning's precision, `32-true` or `bf16-mixed`."""
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    return Machine(device, partial(autocast, precision, device), dtype)


def gemm_limit(machine: Machine, repeats: int = 7) -> float:
    """Return the rate of a product of two 2048 x 2048 matrices, GFLOP/s: the best of a few calls."""
    a, b = (torch.rand(GEMM_SIZE, GEMM_SIZE, device=machine.device, dtype=machine.dtype) for _ in range(2))
    return 2 * GEMM_SIZE**3 / min(machine.seconds(lambda: a @ b, repeats, 2)) / 1e9


def measure(model: ModelConfig, effort: Effort, machine: Machine) -> dict[str, Any]:
    """Measure one backbone with a binary head and random weights.

    Returns:
        Parameters in millions, GMAC per image, latency in milliseconds, throughput in images per second and
        peak memory in megabytes (None where the system does not report it). Keys with `share` are fractions
        of the machine's limit `gemm_gflops`. A training step counts a forward pass of the whole network,
        without a feature cache, and a backward pass of the part that trains.
    """
    source = SyntheticRadiographs(SyntheticDataConfig(image_size=effort.image_size), split="train", seed=0)
    images = source.render(torch.arange(effort.batch_size)).image.to(machine.device)
    limit = gemm_limit(machine)
    backbone, _ = build_backbone(model, WeightsConfig(source="random"), effort.image_size)
    classifier = XrayClassifier(backbone, 1, 0)
    classifier.to(machine.device).to(memory_format=MEMORY_FORMATS[model.memory_format])
    result: dict[str, Any] = {
        "parameters_m": sum(parameter.numel() for parameter in classifier.parameters()) / 1e6,
        "gemm_gflops": limit,
        **_inference(classifier, images, effort, machine, limit),
    }
    for mode, config in MODES.items():
        result |= _training(mode, config, classifier, images, effort, machine, limit)
    indices = torch.arange(effort.batch_size)
    generate = machine.seconds(lambda: source.render(indices), effort.repeats, effort.warm_up)
    return result | {"generator_images_s": effort.batch_size / float(np.median(generate))}


def _inference(
    classifier: XrayClassifier, images: Tensor, effort: Effort, machine: Machine, limit: float
) -> dict[str, float]:
    classifier.eval()

    def infer(batch: Tensor) -> Tensor:
        with torch.inference_mode(), machine.autocast():
            return classifier(batch)

    flops = count_flops(lambda: infer(images[:1]))
    single = machine.seconds(lambda: infer(images[:1]), effort.latency_repeats, effort.warm_up)
    batches = machine.seconds(lambda: infer(images), effort.repeats, effort.warm_up)
    p50, p95 = (float(np.percentile(single, percent)) for percent in (50, 95))
    rate = effort.batch_size / float(np.median(batches))
    return {
        "gmac": flops / 2e9,
        "latency_p50_ms": 1e3 * p50,
        "latency_p95_ms": 1e3 * p95,
        "latency_share": flops / p50 / 1e9 / limit,
        "forward_images_s": rate,
        "forward_share": rate * flops / 1e9 / limit,
    }


def _training(
    mode: str,
    config: ModeConfig,
    classifier: XrayClassifier,
    images: Tensor,
    effort: Effort,
    machine: Machine,
    limit: float,
) -> dict[str, float | None]:
    policy = build_policy(config, classifier.backbone.num_stages, 1)
    classifier.backbone.open(policy.trains(0))
    classifier.train()
    optimizer = build_optimizer(classifier, policy, config, OptimConfig())
    truth = (torch.arange(len(images), device=images.device) % 2).float()[:, None]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with machine.autocast():
            logits = classifier(images)
        loss: Tensor = functional.binary_cross_entropy_with_logits(logits, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    flops = count_flops(step)
    times, peak = _with_peak(machine.device, lambda: machine.seconds(step, effort.repeats, effort.warm_up))
    rate = len(images) / float(np.median(times))
    optimizer.zero_grad(set_to_none=True)
    return {
        f"train_{mode}_images_s": rate,
        f"train_{mode}_share": rate * flops / len(images) / 1e9 / limit,
        f"train_{mode}_peak_mb": peak,
    }


@torch.inference_mode()
def share_behind(backbone: Backbone, trainable: Trainable, image_size: int) -> float:
    """Return the share of a backbone's operations that lie behind the freeze boundary while a part trains.

    What lies in front of it needs no backward pass, and its output can be kept. A backbone that cannot be cut
    lies behind it as a whole, unless nothing in it trains.
    """
    behind = backbone.boundary(trainable)
    if behind in (0, backbone.num_stages):
        return float(behind > 0)
    try:
        before = backbone.cut(behind).before
    except CannotCutError:
        return 1.0
    images = torch.zeros(1, 1, image_size, image_size, device=next(backbone.parameters()).device)
    was_training = backbone.training
    backbone.eval()
    entered = backbone.normalise(images)
    front, whole = (count_flops(partial(net, entered)) for net in (before, backbone.net))
    backbone.train(was_training)
    return 1 - front / whole


def count_flops(action: Callable[[], object]) -> float:
    """Count the floating-point operations of an action; a multiply-add counts as two.

    The counter cannot count fused attention on the CPU or the fused encoder layer of inference, so both are
    switched off while it counts.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            action()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.get_total_flops())


def _with_peak(device: torch.device, action: Callable[[], T]) -> tuple[T, float | None]:
    """Run an action; return its result and the peak memory in MB, of the GPU or of the whole process.

    On the CPU, memory that an earlier measurement has freed is returned to the system first. The peak is
    `None` where the system does not report it.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return action(), torch.cuda.max_memory_allocated(device) / 1e6
    if device.type != "cpu":
        _say_unknown(f"{device.type} does not count it")
        return action(), None
    _return_freed()
    try:
        _CLEAR_REFS.write_text("5")  # reset the peak to the memory in use now
    except OSError as error:
        _say_unknown(str(error))
        return action(), None
    return action(), _process_peak_mb()


def _return_freed() -> None:
    """Make glibc return all free memory to the system, even what `keep_large_blocks` makes it keep."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return


def _process_peak_mb() -> float | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    _say_unknown(f"{_STATUS} has no VmHWM")
    return None


@cache  # warn once per process, not once per backbone and mode
def _say_unknown(reason: str) -> None:
    log.warning("peak memory stays unknown: %s", reason)
