"""Groups of cores: divided, locked, and left again."""

import os
import threading
from pathlib import Path

import pytest
import torch

from tests.sweeps.test_jobs import pinned
from xray_tl.data.films.processes import own_cores
from xray_tl.sweeps import core_groups


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
    assert core_groups.core_groups(present, at_once) == expected


def test_a_process_that_finds_no_free_group_works_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(core_groups, "TRIES", 2)
    monkeypatch.setattr(core_groups, "held", [])
    groups = [[0], [1, 2]]
    assert [core_groups.free_group(tmp_path, groups) for _ in range(3)] == [[0], [1, 2], None]
    (tmp_path / "file").touch()
    assert core_groups.free_group(tmp_path / "file", groups) is None, "there is no place for locks"
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("MKL_NUM_THREADS", "9")
    here = own_cores()
    core_groups.take_group(tmp_path / "file", groups)
    assert (os.environ["OMP_NUM_THREADS"], own_cores()) == ("1", here), "threads as ever, pinned to no core"


@pinned
def test_weights_are_made_on_all_cores_to_which_no_thread_keeps() -> None:
    everywhere, group, threads = own_cores(), own_cores()[:1], torch.get_num_threads()
    end = threading.Event()
    core_groups.pin(group)
    try:
        with core_groups.on_cores(everywhere):
            assert own_cores() == everywhere
            assert torch.get_num_threads() == len(everywhere)
            started = threading.Thread(target=end.wait)
            started.start()
        assert own_cores() == group
        assert sorted(os.sched_getaffinity(started.native_id or 0)) == group
        assert torch.get_num_threads() == threads
    finally:
        end.set()
        core_groups.pin(everywhere)
