"""Images do not depend on how many threads compute them."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.arithmetic import side_by_side
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.mark.parametrize("finding", ["opacity", "nodule"])
def test_images_are_the_same_on_several_threads(threads: int, finding: str) -> None:
    """At this size torch would divide an operation among threads, at places that are not aligned."""
    source = SyntheticRadiographs(SyntheticDataConfig(image_size=208, finding=finding), split="train", seed=0)
    by: set[int] = set()

    def render(indices: Tensor) -> Tensor:
        by.add(threading.get_ident())
        return source.images(indices)

    image = side_by_side(render, 14, 3, CPU)
    assert 1 < len(by) <= threads
    assert torch.get_num_threads() == threads
    assert torch.equal(image, source.images(torch.arange(14)))


def test_an_accelerator_is_asked_by_one_thread(threads: int) -> None:
    by: set[int] = set()

    def note(indices: Tensor) -> Tensor:
        by.add(threading.get_ident())
        return indices

    assert side_by_side(note, 50, 2, torch.device("cuda")).tolist() == list(range(50))
    assert len(by) == 1
