"""Source weights in the cache: made once on this machine, without a network or images from outside.

They follow from the backbone, the budget and `weights.seed` alone (and round as the device does). One process
makes them while others wait, it goes on where an earlier one was interrupted, and their hash is checked
whenever they are used.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import Tensor

from xray_tl.cache import cache_folder
from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig
from xray_tl.data.source import SOURCE
from xray_tl.data.synthetic import GENERATOR
from xray_tl.errors import InputError
from xray_tl.files import atomic_path, remove_partials, write_text
from xray_tl.models.registry import check_sizes
from xray_tl.training.device import choose_device, choose_precision
from xray_tl.training.pretraining import BUDGETS, LAST, PRETRAINING, Recipe, pretrain, recipe

log = logging.getLogger(__name__)

WEIGHTS, RECIPE = "weights.safetensors", "recipe.json"


def source_weights(
    model: ModelConfig, weights: WeightsConfig, trainer: TrainerConfig, image_size: int | None = None
) -> Path:
    """Return the file of a backbone's source weights, made first where the cache does not hold them.

    Args:
        model: The backbone.
        weights: Budget and seed.
        trainer: What it is trained on.
        image_size: Pixels a side of the images that it is for, if they are known.

    Raises:
        InputError: The budget is unknown, the weights would not fit a backbone for those images, or the cache
            cannot be written to.
        KeyboardInterrupt: Training was interrupted; the next call goes on with it.
    """
    device = choose_device(trainer.accelerator)
    chosen = recipe(model, weights.budget)
    identity = {
        "versions": [GENERATOR, SOURCE, PRETRAINING],
        "backbone": [model.registry, model.name, model.memory_format],
        "recipe": asdict(chosen),
        "seed": weights.seed,
        "device": device.type,
        "precision": choose_precision(trainer.precision, device),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "source" / f"{model.name.replace('/', '-')}-{weights.budget}-{key[:12]}"
    if _is_whole(folder):
        return folder / WEIGHTS
    if image_size is not None:
        check_sizes(model, chosen.image_size, image_size)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _acquire(folder)
    except OSError as error:
        raise InputError(f"the cache {folder} (XRAY_TL_CACHE) cannot be written to: {error}") from error
    try:
        if not _is_whole(folder):
            remove_partials(folder)
            _announce(model, weights.budget, chosen, folder)
            made = pretrain(replace(model, stem="repeat"), weights, trainer, chosen, device, folder)
            _keep(folder, identity, *made)
        (folder / LAST).unlink(missing_ok=True)
    finally:
        lock.release()
    return folder / WEIGHTS


def _acquire(folder: Path) -> FileLock:
    """Hold a folder of the cache, waiting for a process that trains in it."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        log.warning("another process makes %s: waiting for it", folder / WEIGHTS)
        lock.acquire(timeout=-1)
    return lock


def _announce(model: ModelConfig, budget: str, chosen: Recipe, folder: Path) -> None:
    log.warning(
        "SOURCE WEIGHTS of %s (budget %s) are made now, once: %d synthetic images x %d epochs, %s on two CPU "
        "cores for ResNet50 and VGG16. weights=random is the way past it. They are kept in %s",
        model.name,
        budget,
        chosen.images,
        chosen.epochs,
        BUDGETS[budget],
        folder,
    )


def _is_whole(folder: Path) -> bool:
    """Tell whether a folder holds finished weights, unchanged."""
    try:
        stated = json.loads((folder / RECIPE).read_text(encoding="utf-8"))["sha256"]
        with (folder / WEIGHTS).open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is corrupt (%s): it is made again", folder, error)
        return False
    if actual != stated:
        log.warning("%s is corrupt (its hash differs): it is made again", folder / WEIGHTS)
    return actual == stated


def _keep(
    folder: Path, identity: dict[str, Any], tensors: dict[str, Tensor], learned: dict[str, float]
) -> None:
    """Write the weights, then the recipe that makes them valid."""
    with atomic_path(folder / WEIGHTS) as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial)
        with partial.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    stated = {**identity, "learned": learned, "torch": torch.__version__, "sha256": sha256}
    write_text(folder / RECIPE, json.dumps(stated, indent=1))
    shown = ", ".join(f"{name} {value:.3f}" for name, value in learned.items())
    log.info("source weights: %s; held-out AUROC and explained variance: %s", folder / WEIGHTS, shown)
