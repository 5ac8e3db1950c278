"""Source weights kept beside the runs that stand on them, and found again by their hash on any machine."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from xray_tl.cache import cache_folder
from xray_tl.config import ModelConfig
from xray_tl.errors import InputError, RunError
from xray_tl.files import atomic_path
from xray_tl.models.weights import tensors_sha256
from xray_tl.training.source_weights import WEIGHTS, file_prefix

log = logging.getLogger(__name__)

KEPT = "weights"
"""Folder, in a sweep's or a single run's own, of the source weights that its runs stand on."""


def keep_weights(place: Path, sha256: str, find: Callable[[], Path]) -> None:
    """Keep source weights in a folder, under the hash of their tensors.

    A hard link where the file system has them: it takes no space, and outlasts the cache's own entry. What
    cannot be kept is mentioned: the run is whole as long as the cache has it.

    Args:
        place: The folder.
        sha256: Hash of the tensors.
        find: Returns their file; not called where they are kept already.
    """
    kept = place / KEPT / f"{sha256}.safetensors"
    if kept.is_file():
        return
    try:
        file = find()
        with atomic_path(kept) as partial:
            try:
                os.link(file, partial)
            except OSError:
                shutil.copyfile(file, partial)
    except (OSError, RunError) as error:
        log.warning(
            "the source weights %s are not kept in %s (%s): without the cache's copy the run cannot be "
            "tested again",
            sha256[:12],
            kept.parent,
            error,
        )


def find_weights(run: Path, model: ModelConfig, sha256: str) -> Path:
    """Find the source weights whose tensors have a hash: beside a run, or in the cache.

    Whichever device trained them: they are taken as they are and not made again.

    Raises:
        InputError: They are in neither place.
    """
    for file in _candidates(run, model, sha256):
        with contextlib.suppress(OSError, SafetensorError):  # not there, or damaged
            if tensors_sha256(load_file(file)) == sha256:
                return file
    raise InputError(
        f"run={run} stands on source weights of {model.name} with sha256 {sha256[:12]}…, which are neither "
        f"beside it ({run.parent / KEPT}, {run / KEPT}) nor in the cache ({cache_folder() / 'source'}): copy "
        "them there from the machine that trained it"
    )


def _candidates(run: Path, model: ModelConfig, sha256: str) -> Iterator[Path]:
    name = f"{sha256}.safetensors"
    yield from (place / KEPT / name for place in (run, run.parent))
    yield from sorted((cache_folder() / "source").glob(f"{file_prefix(model)}-*/{WEIGHTS}"))
