"""Quality of a trunk before it is trained: what a linear head reaches on its features, beside pooled pixels.

Weights are made at some image size, from some images. Whether they are of use at the size of a run is
measured on a reference task that no run can have as its own, once for each trunk and size.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.generator_options import RESERVED_SEEDS
from xray_tl.data.synthetic.radiograph import GENERATOR, SyntheticRadiographs
from xray_tl.models.classifier import Standardiser
from xray_tl.models.fold import folded
from xray_tl.runs.parts import Parts
from xray_tl.statistics.covariance import auroc, delong
from xray_tl.statistics.floors import image_features
from xray_tl.statistics.two_runs import delong_test
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember
from xray_tl.training.linear_probe import solve_probe
from xray_tl.training.patient_folds import patient_folds

log = logging.getLogger(__name__)

QUALITY = 1
"""Version of the measurement; raise it whenever a code change alters its result."""

TRAIN, TEST = 300, 500
"""Images that the heads are solved on, and images that they are tested on."""

AT_ONCE = 32
"""Images per forward pass."""

Scores = NDArray[np.float64]


def describe_quality(parts: Parts) -> dict[str, Any] | None:
    """Measure a run's initial weights on the reference task, and warn where pooled pixels are as good.

    The head of the trunk and that of the pooled pixels are solved in the same way on the same images. The
    task is this project's default one (an opacity) at the run's image size, with a data seed of its own.

    Args:
        parts: The run, not trained yet.

    Returns:
        Test AUROC of the frozen trunk and its standard error (DeLong), that of pooled pixels, and their
        difference with its standard error; `None` for an untrained trunk, or where `weights.measure` is off.
    """
    settings, provenance = parts.settings, parts.provenance
    if provenance.source == "random" or not settings.weights.measure:
        return None
    model, backbone = settings.model, parts.task.classifier.backbone
    identity = {
        "quality": [QUALITY, GENERATOR, TRAIN, TEST],
        "libraries": [torch.__version__, torchvision.__version__, timm.__version__],
        "trunk": provenance.sha256,
        "model": [model.registry, model.name, model.depth, model.stem, model.memory_format],
        "normalise": backbone.scale_and_shift(),
        "image_size": settings.data.image_size,
        "device": parts.device.type,
    }
    kept = remember("quality", identity, lambda: _measure(parts))
    positive, trunk, pixels = kept["truth"] > 0.5, kept["trunk"], kept["pixels"]
    difference, difference_se, _ = delong_test(positive, trunk, pixels)
    rating = np.stack((trunk, pixels))
    area, error = auroc(positive, rating), np.sqrt(np.diag(delong(positive, rating)))
    found = {
        "auroc": float(area[0]),
        "auroc_se": float(error[0]),
        "pooled_pixels": float(area[1]),
        "difference": difference,
        "difference_se": difference_se,
        "image_size": settings.data.image_size,
        "images": [TRAIN, TEST],
    }
    _warn(parts, found)
    return found


def _warn(parts: Parts, found: dict[str, Any]) -> None:
    if found["difference"] > 2 * found["difference_se"]:
        return
    log.warning(
        "the initial weights of %s (%s, %s) are %s than pooled pixels at %d px: frozen and solved, AUROC "
        "%.3f against %.3f on the reference task. What a comparison says of this backbone may be a matter of "
        "its weights",
        parts.settings.model.name,
        parts.provenance.source,
        parts.provenance.name,
        "worse" if found["difference"] < 0 else "not clearly better",
        found["image_size"],
        found["auroc"],
        found["pooled_pixels"],
    )


def _measure(parts: Parts) -> Arrays:
    """Return the truth of the reference task's test images, and both solved heads' scores of them."""
    size = parts.settings.data.image_size
    log.info("initial weights are measured at %d px: %d images of the reference task", size, TRAIN + TEST)
    source = SyntheticRadiographs(
        SyntheticDataConfig(image_size=size), split="test", seed=RESERVED_SEEDS[-1], device=parts.device
    )
    trunk: list[Tensor] = []
    pixels: list[Tensor] = []
    truth: list[Tensor] = []
    backbone = parts.task.classifier.backbone
    was_training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        net = folded(backbone.net)
        for part in torch.split(torch.arange(TRAIN + TEST), AT_ONCE):
            batch = source.render(part)
            trunk.append(net(backbone.normalise(batch.image.to(parts.device))).float().cpu())
            pixels.append(torch.from_numpy(image_features(batch.image[:, 0].cpu().numpy())["pooled_pixels"]))
            truth.append(batch.label.cpu().double())
    backbone.train(was_training)
    label = torch.cat(truth).numpy()
    return {
        "truth": label[TRAIN:],
        "trunk": _held_out_scores(torch.cat(trunk), label),
        "pixels": _held_out_scores(torch.cat(pixels), label),
    }


def _held_out_scores(features: Tensor, label: Scores) -> Scores:
    """Solve a head on the first `TRAIN` images, and return its logits of all others."""
    standardised = Standardiser(features.shape[1]).fit(features[:TRAIN])(features).double().numpy()
    truth = label[:TRAIN, None]
    folds = patient_folds(truth, [str(index) for index in range(TRAIN)], "binary")
    head = solve_probe(standardised[:TRAIN], truth, np.ones_like(truth), "binary", folds)
    return np.asarray(standardised[TRAIN:] @ head.weight[0] + head.bias[0])
