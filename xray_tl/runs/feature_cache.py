"""Feature cache: the activations at the freeze boundary, computed once and stored on disk.

The activations depend only on the frozen weights and the images. Those of a backbone that never trains are
its features. The key of a cache entry covers everything that its values depend on, so all epochs, seeds and
jobs can share it. The key of the stored arrays is `crossing`, as in earlier versions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from xray_tl.data.films.radiographs import RadiographSource
from xray_tl.data.splits import Batch, EvenBatches, OnDemandSplit
from xray_tl.data.synthetic.rng import SPLITS
from xray_tl.errors import RunError
from xray_tl.models.cut import CannotCutError, Halves
from xray_tl.models.fold import folded
from xray_tl.models.freeze import frozen_sha256
from xray_tl.models.trainable import Trainable
from xray_tl.runs.parts import Parts
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember

log = logging.getLogger(__name__)

FEATURES = 4
"""Version of the cached values; raise it whenever a code change alters a value."""

AT_ONCE = 32
"""Images per forward pass; independent of the run's batch size, because all runs share the result."""

# The same round figures for every machine, so that the same command decides the same way everywhere.
FLOP_PER_S = {"cpu": 1e11, "mps": 2e12, "cuda": 2e13}
BYTES_PER_S = 3e8  # rate of copying, hashing and writing together


@dataclass(frozen=True)
class Balance:
    """Rough estimate of what caching the activations at a freeze boundary costs and saves.

    Attributes:
        gigabytes: Size of the activations of all images.
        cost_s: Seconds to store them.
        saves_s: Seconds of computing that they save in this run.
    """

    gigabytes: float
    cost_s: float
    saves_s: float

    def __str__(self) -> str:
        return f"{self.gigabytes:.2g} GB, about {self.cost_s:.0f} s to keep, about {self.saves_s:.0f} s saved"


class FeatureCache:
    """Replaces a run's images by the activations at its freeze boundary, where that saves time.

    Args:
        parts: The run; its backbone is ready for use: weights loaded, BatchNorm statistics estimated.
        splits: Which of `train`, `val` and `test` the run needs.
        frozen: Hash of the tensors that never train, if it is known already.
        of_whole: Whether to compute the features of the whole image set from which the splits are drawn, so
            that other splits of it (other folds) can share them.
    """

    def __init__(
        self,
        parts: Parts,
        splits: Iterable[str] = SPLITS,
        frozen: str | None = None,
        *,
        of_whole: bool = True,
    ) -> None:
        self.parts, self.splits, self._frozen, self._of_whole = parts, tuple(splits), frozen, of_whole
        self._entered: int | None = None
        self._used = self._missed = False
        self._whole: Any = None  # activations of the whole image set, while they are needed

    @property
    def outcome(self) -> str:
        """Return the outcome for the record: `hit` (all from the cache), `miss` (computed now) or `off`."""
        return "off" if not self._used else "miss" if self._missed else "hit"

    def enter(self, trainable: Trainable) -> None:
        """Load the activations in front of all that trains, or images where caching does not pay.

        Args:
            trainable: What trains from now on; everything else has never changed.
        """
        self._enter(self.parts.task.classifier.backbone.boundary(trainable))

    def _enter(self, behind: int) -> None:
        """Load the activations at a freeze boundary; `behind` is how many stages lie behind it."""
        if behind == self._entered:
            return
        self._entered = behind
        backbone, data = self.parts.task.classifier.backbone, self.parts.data
        backbone.enter(None)
        data.use_images()
        halves = self._worth_it(behind)
        if halves is None:
            return
        in_front = backbone.deepest(behind)
        trunk = self._frozen if in_front == self.parts.task.policy.at_end else None
        trunk = trunk or frozen_sha256(backbone, in_front)[1]
        for split in self._needed(behind):
            data.use_activations(split, torch.from_numpy(self._kept(split, trunk, behind, halves)))
        self._whole = None
        backbone.enter(halves)
        self._used = True

    def enter_tested(self) -> None:
        """Load the tested network's input: activations if all has trained that ever trains, else images.

        The backbone holds the best epoch, with what trained in that epoch open. Where this is less than at
        the end of training, images pass the whole backbone: stages that were closed in that epoch compute in
        fp32, and test images are cached only at the boundary of the end.
        """
        backbone, at_end = self.parts.task.classifier.backbone, self.parts.task.policy.at_end
        self._enter(backbone.boundary(at_end) if backbone.trainable == at_end else backbone.num_stages)

    def _is_last(self, behind: int) -> bool:
        """Tell whether this is the boundary at the end of training."""
        return behind == self.parts.task.classifier.backbone.boundary(self.parts.task.policy.at_end)

    def _needed(self, behind: int) -> tuple[str, ...]:
        """Return the splits that are needed at a boundary; `test` only at that of the end."""
        return tuple(split for split in self.splits if self._is_last(behind) or split != "test")

    def _worth_it(self, behind: int) -> Halves | None:
        """Return the backbone cut at the boundary if caching pays; else log the reason and return `None`."""
        settings, backbone = self.parts.settings, self.parts.task.classifier.backbone
        if settings.feature_cache == "off":
            log.info("feature cache off: feature_cache=off")
            return None
        if settings.augment.active:
            log.info("feature cache off: augmentation makes new images")
            return None
        if behind == backbone.num_stages:
            log.debug("feature cache off: the first stage trains")
            return None
        try:
            halves = backbone.cut(behind)
        except CannotCutError as reason:
            log.info(
                "feature cache off, the images pass the whole backbone: %s cannot be cut: %s",
                settings.model.name,
                reason,
            )
            return None
        return halves if self._pays(halves, behind) else None

    def _pays(self, halves: Halves, behind: int) -> bool:
        """Compare the cost of caching with the time saved; log both where the comparison decides."""
        data, backbone = self.parts.data, self.parts.task.classifier.backbone
        limit = data.config.memory_limit_gb
        if not behind and 4e-9 * backbone.num_features * sum(data.sizes.values()) <= limit:
            return True  # features of a whole frozen backbone are small and shared by every seed and arm
        balance = self._weigh(halves, behind)
        fits = data.in_memory and balance.gigabytes <= limit
        kept = bool(behind) and fits and balance.saves_s > balance.cost_s
        if kept and not self._agree(halves):
            log.warning(
                "feature cache off: %s is not the same cut in two as whole; this is a defect of xray_tl",
                self.parts.settings.model.name,
            )
            return False
        log.info(
            "%s in front of the last %d stages: %s (data.memory_limit_gb=%g%s)",
            "kept" if kept else "feature cache off",
            behind,
            balance,
            limit,
            "" if fits else " is too little",
        )
        return kept

    @torch.inference_mode()
    def _agree(self, halves: Halves) -> bool:
        """Check on one image that the two halves compute the same as the whole backbone."""
        backbone, device = self.parts.task.classifier.backbone, self.parts.device
        modes = {module: module.training for module in backbone.modules()}
        backbone.eval()
        image = self.parts.data.sources[self.splits[0]].images(torch.arange(1)).to(device)
        whole = backbone(image)
        halved = halves.after(halves.before(backbone.normalise(image))).float()
        for module, mode in modes.items():
            module.training = mode
        scale = float(whole.abs().max())
        return torch.allclose(whole, halved, rtol=0, atol=1e-3 * scale)

    def _weigh(self, halves: Halves, behind: int) -> Balance:
        """Estimate what caching costs and saves from operation counts; nothing is timed."""
        parts = self.parts
        settings, policy, sizes = parts.settings, parts.task.policy, parts.data.sizes
        size = settings.data.image_size
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            images = torch.zeros(1, 1, size, size, device=parts.device)
            activations = halves.before(parts.task.classifier.backbone.normalise(images))
        boundary, last = parts.task.classifier.backbone.boundary, self._is_last(behind)
        epochs = range(settings.trainer.max_epochs)
        passes = sum(boundary(policy.trains(epoch)) == behind for epoch in epochs) + last
        spared = (passes - 1) * (sizes["train"] + sizes["val"])  # the test images pass once in any case
        count = sizes["train"] + sizes["val"] + (sizes["test"] if last else 0)
        gigabytes = 4e-9 * activations.numel() * count
        return Balance(
            gigabytes,
            cost_s=1e9 * gigabytes / BYTES_PER_S,
            saves_s=spared * counter.get_total_flops() / FLOP_PER_S[parts.device.type],
        )

    def _kept(self, split: str, trunk: str | None, behind: int, halves: Halves) -> Any:  # noqa: ANN401  (an array)
        data = self.parts.data
        whole = data.whole() if self._is_last(behind) and self._of_whole else None

        def compute() -> Arrays:
            self._missed = True
            backbone = self.parts.task.classifier.backbone
            if (
                frozen_sha256(backbone, backbone.deepest(behind))[1] != trunk
            ):  # the hash may come from the previous job
                raise RunError(
                    "a frozen tensor changed between two jobs: its features would be kept as others'"
                )
            if whole is None:
                log.info("features of %d %s images", data.sizes[split], split)
                images = data.image_batches(split, AT_ONCE)
                return {"crossing": _compute(self.parts, images, data.sizes[split], halves)}
            log.info("features of %d images", len(whole))
            return {"crossing": _compute(self.parts, _batches(whole), len(whole), halves)}

        follows_from = identity(self.parts, split, trunk) | {"boundary": [behind, halves.code]}
        if whole is None:
            return remember("features", follows_from, compute)["crossing"]
        if self._whole is None:
            follows_from |= {"data": whole.identity(), "images": len(whole)}
            self._whole = remember("features", follows_from, compute)["crossing"]
        source = data.sources[split]
        assert isinstance(source, RadiographSource)
        return self._whole[source.rows]


def _batches(whole: RadiographSource) -> Iterator[Batch]:
    """Return an iterator over batches of all images of a set, in order of index."""
    images = OnDemandSplit(whole, len(whole))
    return (images.__getitems__(batch) for batch in EvenBatches(range(len(whole)), len(whole), AT_ONCE))


def identity(parts: Parts, split: str, trunk: str | None) -> dict[str, Any]:
    """Return everything that a split's cached values depend on, except their place in the backbone.

    Args:
        parts: The run.
        split: `train`, `val` or `test`.
        trunk: Hash of the frozen tensors.
    """
    model, data, backbone = parts.settings.model, parts.data, parts.task.classifier.backbone
    return {
        "features": FEATURES,
        "libraries": [torch.__version__, torchvision.__version__, timm.__version__],
        "normalise": backbone.scale_and_shift(),
        "trunk": trunk,
        "model": [model.registry, model.name, model.stem, model.memory_format],
        "data": data.sources[split].identity(),
        "images": data.sizes[split],
        "device": parts.device.type,
    }


@torch.inference_mode()
def _compute(parts: Parts, batches: Iterable[Batch], count: int, halves: Halves) -> NDArray[np.float32]:
    """Compute the activations [N, ...] of N images in fp32, whatever the run's precision is."""
    backbone = parts.task.classifier.backbone.eval()
    before = folded(halves.before)
    activations, done = torch.empty(0), 0
    for batch in batches:
        rows = before(backbone.normalise(batch.image.to(parts.device)))
        if not done:
            activations = torch.empty(count, *rows.shape[1:])
        activations[done : done + len(rows)] = rows
        done += len(rows)
    return activations.numpy()
