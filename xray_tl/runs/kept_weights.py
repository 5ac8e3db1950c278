"""Copies of source weights beside the runs that use them, found again by hash on any machine."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from xray_tl.config import ModelConfig, Settings
from xray_tl.errors import InputError, RunError
from xray_tl.models.registry import build_backbone
from xray_tl.runs.source_weights import WEIGHTS, file_prefix
from xray_tl.store.cache import cache_folder
from xray_tl.store.files import atomic_path
from xray_tl.store.temporary import has_spare_folder, spare_folder

log = logging.getLogger(__name__)

KEPT = "weights"
"""Subfolder of a sweep's or a single run's folder that holds the source weights of its runs."""


def keep_weights(place: Path, run: Path, settings: Settings, sha256: str) -> None:
    """Copy a run's source weights into a folder, named by the hash of the backbone that they give.

    The copy is a hard link where the file system supports links: it takes no space and stays when the cache
    removes its entry. A failed copy is only logged: the run is usable as long as the cache has the weights.

    Args:
        place: The folder in which the subfolder `weights` lies.
        run: The run's folder.
        settings: The run's configuration.
        sha256: Hash of its backbone as loaded.
    """
    kept = place / KEPT / f"{sha256}.safetensors"
    if kept.is_file():
        return
    try:
        file = find_weights(run, settings, sha256)
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, kept)
        except FileExistsError:  # another job of the sweep was faster
            return
        except OSError:  # another file system, or one without links
            with atomic_path(kept) as partial:
                shutil.copyfile(file, partial)
    except (OSError, InputError, RunError) as error:
        log.warning(
            "the source weights %s are not kept in %s (%s): without the cache's copy the run cannot be "
            "tested again",
            sha256[:12],
            kept.parent,
            error,
        )


def find_weights(run: Path, settings: Settings, sha256: str) -> Path:
    """Find the source weights that give a backbone of a known hash: beside a run, or in the cache.

    It does not matter which device trained them: existing files are used, and none is trained again.

    Args:
        run: The run's folder.
        settings: Its configuration: the backbone, and the image size, to which some backbones adapt.
        sha256: Hash of the backbone as loaded.

    Raises:
        InputError: They are in neither place.
    """
    for file in _candidates(run, settings.model, sha256):
        if file.is_file() and _hash_of_trunk(file, settings) == sha256:
            return file
    raise InputError(
        f"run={run} stands on source weights of {settings.model.name} with sha256 {sha256[:12]}…, which are "
        f"neither beside it ({run.parent / KEPT}, {run / KEPT}) nor in the cache "
        f"({cache_folder() / 'source'}): copy them there from the machine that trained it"
    )


def _hash_of_trunk(file: Path, settings: Settings) -> str | None:
    """Return the hash of the backbone that a file gives; `None` if it is damaged or does not fit."""
    weights = replace(settings.weights, source="source")
    try:
        return build_backbone(settings.model, weights, settings.data.image_size, lambda: file)[1].sha256
    except InputError:
        return None


def _candidates(run: Path, model: ModelConfig, sha256: str) -> Iterator[Path]:
    yield from (place / KEPT / f"{sha256}.safetensors" for place in (run, run.parent))
    for place in (cache_folder(), *([spare_folder()] if has_spare_folder() else [])):
        yield from sorted((place / "source").glob(f"{file_prefix(model)}-*/{WEIGHTS}"))
