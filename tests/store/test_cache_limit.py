"""What the cache may take: its limit, what it removes, and what it leaves alone."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.store.test_cache import IDENTITY, Maker
from xray_tl.errors import InputError
from xray_tl.store import cache as cache_module
from xray_tl.store.cache import KINDS, remember

ROOT = Path(__file__).resolve().parents[2]


def test_the_limit_takes_what_was_not_used_for_longest(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = {"x": np.zeros(25_000)}  # 0.2 MB
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "0.0005")
    for number in range(2):
        remember("films", {"number": number}, lambda: big)
        used = entry_of(cache, number).with_suffix(".used")
        used.touch()
        os.utime(used, (time.time() - 100 + number,) * 2)
    remember("films", {"number": 0}, Maker())  # used again: now the younger one
    remember("features", {"number": 2}, lambda: big)
    assert entry_of(cache, 0).is_file()
    assert not entry_of(cache, 1).is_file()
    assert len(list(cache.glob("*/*.safetensors"))) == 2


def test_an_entry_larger_than_the_limit_is_not_kept_and_removes_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "0.0005")
    remember("films", {"number": 0}, Maker())
    for number in (1, 2):
        made = remember("films", {"number": number}, lambda: {"x": np.zeros(100_000)})
        assert made["x"].shape == (100_000,)
    assert list(cache.glob("*/*.safetensors")) == [entry_of(cache, 0)]
    (warning,) = caplog.messages
    assert "of 0.0008 GB is not kept, all together may take 0.0005 GB (XRAY_TL_CACHE_GB)" in warning


def test_what_is_not_the_cache_s_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in other folders, and in the cache's own what has a name that no entry has."""
    names = ("mine/weights.safetensors", "mine/.tmpAbCdEf", "mine/model.partial-1")
    own = ("features/weights.safetensors", "features/mine/model.partial-1")
    for name in (*names, *own):
        foreign = cache / name
        foreign.parent.mkdir(parents=True, exist_ok=True)
        foreign.write_bytes(bytes(1000))
        os.utime(foreign, (0, 0))
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "1e-6")
    for number in range(3):
        remember("films", {"number": number}, Maker())
    assert all((cache / name).is_file() for name in (*names, *own))
    assert sum(path.stat().st_size for path in cache.glob("films/*.safetensors")) <= 1000


def test_every_kind_is_known_and_an_unknown_one_is_refused(cache: Path) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "xray_tl").rglob("*.py"))
    assert {*re.findall(r'\bremember\(\s*"(\w+)"', code), "source"} == set(KINDS)
    make = Maker()
    with pytest.raises(ValueError, match="kind=mine is unknown: choose from audit, "):
        remember("mine", IDENTITY, make)
    assert make.calls == 0


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_clean_cache_removes_every_kind_and_nothing_else(cache: Path) -> None:
    for kind in (*KINDS, "mine"):
        (cache / kind).mkdir(parents=True)
        (cache / kind / "x.safetensors").touch()
    env = {**os.environ, "MAKEFLAGS": ""}  # of `make test XRAY_TL_CACHE=...`
    subprocess.run(["make", "clean-cache"], cwd=ROOT, env=env, check=True, capture_output=True)
    assert [path.name for path in cache.rglob("*")] == ["mine", "x.safetensors"]


@pytest.mark.parametrize("limit", ["many", "0", "-1", "nan"])
def test_a_limit_that_is_no_size_is_refused_before_anything_is_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE_GB", limit)
    make = Maker()
    with pytest.raises(InputError, match=rf"XRAY_TL_CACHE_GB={limit} is not valid: choose a size in GB"):
        remember("films", IDENTITY, make)
    assert make.calls == 0


def entry_of(cache: Path, number: int) -> Path:
    key = hashlib.sha256(json.dumps({"number": number}).encode()).hexdigest()
    return cache / "films" / f"{key}.safetensors"


def test_what_a_killed_writer_left_is_removed_in_time(cache: Path) -> None:
    old, new = cache / "films" / ".tmpAbCdEf", cache / "films" / "x.safetensors.partial-1"
    old.parent.mkdir(parents=True)
    for left in (old, new):
        left.touch()
    os.utime(old, (0, time.time() - 4000))
    remember("films", IDENTITY, Maker())
    assert not old.exists()
    assert new.exists(), "its process may be writing still"


def test_on_a_shared_disk_arrays_are_copied_and_what_is_in_use_stays(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node may remove an entry, and a mapped one would end this process with SIGBUS."""
    monkeypatch.setattr(cache_module, "is_local", lambda folder: False)
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "3e-7")  # one entry and a half
    for number in range(3):
        for _ in range(2):
            arrays = remember("films", {"number": number}, Maker())
            assert not any(isinstance(array, np.memmap) for array in arrays.values())
            arrays["x"][:] = 9
    entries = [entry_of(cache, number) for number in range(3)]
    assert all(path.is_file() for path in entries)
    assert remember("films", {"number": 0}, Maker())["x"][0, 0] == 1, "a change stays in memory"
    yesterday = time.time() - 90_000
    for path in entries[:2]:
        os.utime(path, (yesterday, yesterday))
        os.utime(path.with_suffix(".used"), (yesterday, yesterday))
    remember("films", {"number": 0}, Maker())
    remember("films", {"number": 3}, Maker())
    assert [path.is_file() for path in entries] == [True, False, True], "the one that nobody used today"
