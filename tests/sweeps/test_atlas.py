"""Small images of a test set."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.sweeps.atlas import COLUMNS, OUTLINE, write_atlas


def test_an_image_stands_at_its_index_with_its_finding_outlined(tmp_path: Path) -> None:
    source = SyntheticRadiographs.open(SyntheticDataConfig(image_size=64), "test")
    write_atlas(source, 30, tmp_path / "atlas.png")
    with Image.open(tmp_path / "atlas.png") as atlas:
        assert atlas.info["side"] == "64"
        sheet = np.asarray(atlas)
    assert sheet.shape == (2 * 64, COLUMNS * 64)
    drawn = source.render(torch.arange(30))
    for index in range(30):
        y, x = index // COLUMNS * 64, index % COLUMNS * 64
        tile = sheet[y : y + 64, x : x + 64]
        edge = tile == OUTLINE
        assert edge.any() == bool(drawn.contrast[index] > 0)
        grey = (drawn.image[index, 0] * (OUTLINE - 1)).round().numpy()
        np.testing.assert_array_equal(tile[~edge], grey[~edge])
        assert not (edge & drawn.mask[index].bool().numpy()).any(), "the outline runs around the finding"
