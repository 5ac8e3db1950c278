"""Source weights in the cache: trained once on this machine, without downloads or external images.

They depend only on the backbone, the budget, `weights.seed`, the size of the images that they are for
(beyond 64 px) and the device's arithmetic; they are those of the whole network for every `model.depth`. One
process trains them while others wait; it resumes an interrupted training; their hash is checked at every use.
If the cache cannot be written to, they are kept in a temporary folder until the command ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from xray_tl.config import ModelConfig, TrainerConfig, WeightsConfig
from xray_tl.data.synthetic.radiograph import GENERATOR
from xray_tl.data.synthetic.source_task import SOURCE
from xray_tl.errors import InputError, RunError
from xray_tl.models.registry import check_sizes
from xray_tl.models.weights import LEARNED
from xray_tl.store.cache import acquire, cache_folder
from xray_tl.store.files import LEFT_S, atomic_path, out_of_space, remove_partials, write_text
from xray_tl.store.temporary import has_spare_folder, spare_folder
from xray_tl.training.device import choose_device, choose_precision
from xray_tl.training.pretraining import LAST, pretrain
from xray_tl.training.source_recipes import BUDGETS, PRETRAINING, Recipe, recipe

log = logging.getLogger(__name__)

WEIGHTS, RECIPE = "weights.safetensors", "recipe.json"

Instead = Callable[[Path, Exception], Path]
Learned = tuple[dict[str, Tensor], dict[str, float]]


def for_now(folder: Path, error: Exception) -> Path:
    """Return a temporary folder in place of one that cannot be written to, and warn of the cost."""
    spare = _spare(folder)
    log.warning(
        "the cache %s cannot be written to, the run goes on without it: %s. Source weights are kept in %s "
        "until this command ends, and the next one trains them again",
        cache_folder(),
        error,
        spare,
    )
    spare.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # there is no such checkpoint, or no space for it
        shutil.copy(folder / LAST, spare)
    return spare


def refuse(folder: Path, error: Exception) -> Path:
    """Refuse to train source weights that cannot be stored.

    Raises:
        InputError: Always.
    """
    raise InputError(f"the cache {folder} (XRAY_TL_CACHE) cannot be written to: {error}") from error


def source_weights(
    model: ModelConfig,
    weights: WeightsConfig,
    trainer: TrainerConfig,
    image_size: int | None = None,
    instead: Instead = for_now,
) -> Path:
    """Return the file of a backbone's source weights, training them first if the cache lacks them.

    Args:
        model: The backbone.
        weights: Budget and seed.
        trainer: Accelerator and precision of the training.
        image_size: Side in pixels of the images that the backbone is for, if known.
        instead: Takes a cache folder that cannot be written to and the error; returns a replacement folder.

    Raises:
        InputError: The budget is unknown, or the weights would not fit a backbone for those images.
        KeyboardInterrupt: Training was interrupted; the next call resumes it.
    """
    device = choose_device(trainer.accelerator)
    chosen = recipe(model, weights.budget, image_size)
    identity = {
        "versions": [GENERATOR, SOURCE, PRETRAINING.get(model.registry, 1)],
        "backbone": [model.registry, model.name, model.memory_format],
        "recipe": asdict(chosen),
        "seed": weights.seed,
        "device": device.type,
        "precision": choose_precision(trainer.precision, device),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "source" / f"{file_prefix(model)}-{weights.budget}-{key[:12]}"
    if _is_whole(folder):
        return folder / WEIGHTS
    if has_spare_folder() and _is_whole(_spare(folder)):
        return _spare(folder) / WEIGHTS
    if image_size is not None:
        check_sizes(model, chosen.image_size, image_size)
    announce = partial(_announce, model, weights.budget, chosen)
    train = partial(pretrain, replace(model, stem="repeat", depth=None), weights, trainer, chosen, device)
    return _Making(identity, announce, train).make(folder, instead)


def file_prefix(model: ModelConfig) -> str:
    """Return the prefix of all folders of a backbone's source weights, for any budget, seed and device."""
    return model.name.replace("/", "-")


class _Making:
    """Source weights to be made: trained once, and stored in the cache or in a replacement folder.

    Args:
        identity: Everything that they depend on, as JSON values.
        announce: Logs that they are made in a folder.
        train: Trains them, with its checkpoints in a folder.
    """

    def __init__(
        self, identity: dict[str, Any], announce: Callable[[Path], None], train: Callable[[Path], Learned]
    ) -> None:
        self._identity, self._announce, self._train = identity, announce, train
        self._learned: Learned | None = None
        self._trains = False

    def make(self, folder: Path, instead: Instead) -> Path:
        """Return their file: in `folder`, or in the one that `instead` gives if it cannot be written to."""
        try:
            return self._make_in(folder)
        except (OSError, RunError, SafetensorError) as error:
            by_training = self._trains or isinstance(error, RunError)
            if by_training and not out_of_space(error.__cause__ or error):
                raise
            return self._make_in(instead(folder, error))

    def _make_in(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        with acquire(folder / WEIGHTS):
            if not _is_whole(folder):
                if self._learned is None:
                    self._announce(folder)
                    self._trains = True
                    self._learned = self._train(folder)
                    self._trains = False
                _keep(folder, self._identity, *self._learned)
                remove_partials(folder, LEFT_S)
            (folder / LAST).unlink(missing_ok=True)
        return folder / WEIGHTS


def _spare(folder: Path) -> Path:
    """Return the temporary folder that replaces a folder of the cache."""
    return spare_folder() / folder.relative_to(cache_folder())


def _announce(model: ModelConfig, budget: str, chosen: Recipe, folder: Path) -> None:
    log.warning(
        "SOURCE WEIGHTS of %s (budget %s) are made now, once: %d synthetic images%s x %d epochs, %s on two "
        "CPU cores for ResNet50 and VGG16. weights=random is the way past it. They are kept in %s",
        model.name,
        budget,
        chosen.images,
        f" ({chosen.image_size} px of films of {chosen.film_size} px)" if chosen.film_size else "",
        chosen.epochs,
        BUDGETS[budget],
        folder,
    )


def _is_whole(folder: Path) -> bool:
    """Tell whether a folder holds finished weights that match their recorded hash."""
    try:
        stated = json.loads((folder / RECIPE).read_text(encoding="utf-8"))["sha256"]
        with (folder / WEIGHTS).open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
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
    """Write the weights, then the recipe file that marks them as valid."""
    with atomic_path(folder / WEIGHTS) as partial:
        kept = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, partial, {LEARNED: json.dumps(learned)})
        with partial.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    stated = {**identity, "learned": learned, "torch": torch.__version__, "sha256": sha256}
    write_text(folder / RECIPE, json.dumps(stated, indent=1))
    shown = ", ".join(f"{name} {value:.3f}" for name, value in learned.items())
    log.info("source weights: %s; held-out AUROC and explained variance: %s", folder / WEIGHTS, shown)
