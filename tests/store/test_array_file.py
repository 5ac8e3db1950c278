"""Files of arrays: whole, or told to be damaged; what was read of them stays."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from tests.store.test_cache import IDENTITY, Maker, entry
from xray_tl.store.cache import remember


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty])
def test_a_corrupt_entry_is_made_again_and_mentioned(
    cache: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    remember("films", IDENTITY, Maker())
    damage(entry(cache))
    make = Maker()
    with caplog.at_level(logging.WARNING):
        again = remember("films", IDENTITY, make)
    assert make.calls == 1
    assert "is corrupt" in caplog.text
    assert str(entry(cache)) in caplog.text
    np.testing.assert_array_equal(again["x"], np.ones((2, 3)))
    remember("films", IDENTITY, make)
    assert make.calls == 1, "it was written anew"


def test_what_was_read_stays_when_the_cache_is_emptied(cache: Path) -> None:
    remember("films", IDENTITY, Maker(5.0))
    read = remember("films", IDENTITY, Maker())
    shutil.rmtree(cache)
    np.testing.assert_array_equal(read["x"], np.full((2, 3), 5.0))


def test_what_is_changed_in_memory_never_reaches_the_file(cache: Path) -> None:
    remember("films", IDENTITY, Maker(5.0))
    remember("films", IDENTITY, Maker())["x"][:] = 0
    assert float(remember("films", IDENTITY, Maker())["x"][0, 0]) == 5.0


def test_a_full_disk_costs_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Safetensors has an error of its own for it, with no errno."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("xray_tl.store.array_file.save_file", full)
    make = Maker()
    np.testing.assert_array_equal(remember("films", IDENTITY, make)["x"], make()["x"])
    assert "no space left on the device" in caplog.text
    assert not list(cache.rglob("*.partial-*"))


def test_other_users_can_read_an_entry(cache: Path) -> None:
    remember("films", IDENTITY, Maker())
    mask = os.umask(0)
    os.umask(mask)
    assert entry(cache).stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_corrupt_entry_is_named_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    remember("films", IDENTITY, Maker())
    entry(cache).write_bytes(b"x" * 100)
    make = Maker()
    remember("films", IDENTITY, make)
    assert make.calls == 1
    assert len(caplog.messages) == 1
