"""Atlas of a test set for the report: one small image per case, with the finding outlined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, max_pool2d

from xray_tl.config import data_schema, typed_node
from xray_tl.data.sources import open_data
from xray_tl.data.splits import RENDERED_AT_ONCE, Source
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.store.files import atomic_path
from xray_tl.store.records import read_record
from xray_tl.store.run_folder import load_config
from xray_tl.study.study_folder import atlas_path

TILE = 96
"""Largest side of an image, in pixels."""
COLUMNS = 25
LARGEST = 2000
"""Largest number of images in an atlas; the first ones are taken."""
OUTLINE = 255
"""Index of the outline's colour; the others are greys."""
_ORANGE = (255, 176, 0)


def write_missing(folder: Path, runs: pd.DataFrame) -> None:
    """Write the missing atlas of every test set of a sweep, from the configuration of one of its runs.

    Args:
        folder: The sweep's folder.
        runs: One row per run.
    """
    for test_set, row in runs[runs["status"] == "complete"].groupby("test_set").first().iterrows():
        path = atlas_path(folder, str(test_set))
        if path.exists():
            continue
        run = folder / str(row["run_dir"])
        cfg, record = load_config(run), read_record(run) or {}
        if cfg.data.name == "synthetic":
            cfg.data.d0, cfg.data.target_auroc = record["data"]["d0"], None
        opened = open_data(typed_node(cfg.data, data_schema(cfg.data)), torch.device("cpu"))
        source, count = opened.sources["test"], opened.sizes["test"]
        if opened.collection is not None and opened.collection.folds is not None:
            source = opened.collection.source(None)  # each fold tests on images of its own
            count = len(source)
        write_atlas(source, min(count, LARGEST), path)


def write_atlas(source: Source, count: int, path: Path) -> None:
    """Draw the first images of a source, by index, into one PNG; findings are outlined where known.

    Args:
        source: The test images.
        count: Number of images.
        path: File to write.
    """
    side = min(TILE, source.images(torch.tensor([0])).shape[-1])
    parts = [_tiles(source, part, side) for part in torch.split(torch.arange(count), RENDERED_AT_ONCE)]
    tiles = np.concatenate(parts)
    rows = -(-count // COLUMNS)
    sheet = np.zeros((rows * side, COLUMNS * side), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        y, x = index // COLUMNS * side, index % COLUMNS * side
        sheet[y : y + side, x : x + side] = tile
    image = Image.fromarray(sheet, mode="P")
    image.putpalette([*(grey for level in range(OUTLINE) for grey in (level,) * 3), *_ORANGE])
    notes = PngInfo()
    notes.add_text("side", str(side))
    notes.add_text("columns", str(COLUMNS))
    notes.add_text("cases", str(count))
    if source.names is not None:
        notes.add_itxt("names", json.dumps(source.names[:count]))
    with atomic_path(path) as partial:
        image.save(partial, format="PNG", pnginfo=notes, optimize=True)


def _tiles(source: Source, indices: torch.Tensor, side: int) -> NDArray[np.uint8]:
    drawn = source.render(indices) if isinstance(source, SyntheticRadiographs) else None
    image = source.images(indices) if drawn is None else drawn.image
    grey = (adaptive_avg_pool2d(image, side)[:, 0] * (OUTLINE - 1)).round().clamp(0, OUTLINE - 1)
    if drawn is None:
        return grey.to(torch.uint8).numpy()
    mask = adaptive_max_pool2d(drawn.mask[:, None].float(), side)
    edge = (max_pool2d(mask, 3, stride=1, padding=1) - mask)[:, 0] > 0
    return grey.masked_fill(edge, OUTLINE).to(torch.uint8).cpu().numpy()
