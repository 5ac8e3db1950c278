"""The lead marker: where it is, how large, and on which images."""

import pytest
import torch

from xray_tl.config import MarkerConfig, SyntheticDataConfig
from xray_tl.data.synthetic.marker import LETTER, stamp
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs


@pytest.mark.parametrize("size", [32, 64, 224])
def test_an_upright_letter_in_the_corner_of_marked_images_only(size: int) -> None:
    image = torch.full((3, size, size), 0.25)
    stamped = stamp(image.clone(), torch.tensor([True, False, True]))
    assert torch.equal(stamped[1], image[1])
    assert torch.equal(stamped[0], stamped[2])
    white = stamped[0] == 1
    rows, columns = white.any(1).nonzero()[:, 0], white.any(0).nonzero()[:, 0]
    height, width = len(rows), len(columns)
    assert height >= max(len(LETTER), 0.09 * size)
    assert int(rows[-1]) < 0.3 * size
    assert int(columns[-1]) < 0.25 * size
    assert 0.5 < width / height < 1
    assert bool(white[rows, columns[0]].all()), "its stem"
    assert bool(white[rows[-1], columns].all()), "its foot"
    assert not bool(white[rows[0], columns[-1]])


def test_only_marked_images_change_and_only_in_the_corner() -> None:
    plain, marked = (
        SyntheticRadiographs(SyntheticDataConfig(image_size=32, marker=marker), split="train", seed=0)
        for marker in (MarkerConfig(), MarkerConfig(train=1.0))
    )
    indices = torch.arange(20)
    before, after = plain.render(indices), marked.render(indices)
    assert not bool(before.marked.any())
    assert torch.equal(after.marked, after.label == 1), "a correlation of 1 is the label itself"
    changed = (before.image != after.image).flatten(1).any(1)
    assert torch.equal(changed, after.marked)
    assert torch.equal(before.image[:, :, 10:, 10:], after.image[:, :, 10:, 10:])
    assert torch.equal(before.label, after.label)
