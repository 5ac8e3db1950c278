"""Places of worker processes: divided, locked, and left again."""

import os
import threading
from pathlib import Path

import pytest
import torch

from tests.sweeps.test_side_by_side import pinned
from xray_tl.data.films.processes import own_cores
from xray_tl.sweeps import places
from xray_tl.sweeps.places import Place


@pytest.mark.parametrize(
    ("present", "at_once", "expected"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([2, 3, 8, 9], 2, [[2, 3], [8, 9]]),
        (list(range(7)), 3, [[0, 1], [2, 3], [4, 5, 6]]),
        ([0, 1], 4, [[0], [1]]),
        ([5], 1, [[5]]),
    ],
)
def test_cores_are_divided_among_neighbours_and_none_is_shared(
    present: list[int], at_once: int, expected: list[list[int]]
) -> None:
    assert [place.cores for place in places.divide(present, at_once)] == expected


def test_each_job_has_a_device_of_its_own_as_far_as_they_last() -> None:
    divided = places.divide([0, 1, 2, 3], 2, ["GPU-a", "GPU-b"])
    assert divided == [Place([0, 1], "GPU-a"), Place([2, 3], "GPU-b")]
    shared = places.divide([0, 1, 2, 3], 3, ["0", "1"])
    assert [place.device for place in shared] == ["0", "1", "0"]


def test_a_process_that_finds_no_free_place_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(places, "TRIES", 2)
    monkeypatch.setattr(places, "held", [])
    both = [Place([0]), Place([1, 2], "1")]
    assert [places._free_place(tmp_path, both) for _ in range(3)] == [*both, None]
    (tmp_path / "file").touch()
    assert places._free_place(tmp_path / "file", both) is None, "there is no place for locks"
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    here = own_cores()
    places.take_place(tmp_path / "file", both)
    assert (os.environ["OMP_NUM_THREADS"], own_cores()) == ("1", here), "threads as ever, pinned to no core"


@pinned
def test_weights_are_made_on_all_cores_to_which_no_thread_keeps() -> None:
    everywhere, group, threads = own_cores(), own_cores()[:1], torch.get_num_threads()
    end = threading.Event()
    places.pin(group)
    try:
        with places.on_cores(everywhere):
            assert own_cores() == everywhere
            assert torch.get_num_threads() == len(everywhere)
            started = threading.Thread(target=end.wait)
            started.start()
        assert own_cores() == group
        assert sorted(os.sched_getaffinity(started.native_id or 0)) == group
        assert torch.get_num_threads() == threads
    finally:
        end.set()
        places.pin(everywhere)
