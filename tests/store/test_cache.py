"""What is made once and kept: found again, checked, shared, and never in the way."""

import hashlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from xray_tl.errors import InputError
from xray_tl.store import cache as cache_module
from xray_tl.store.cache import KINDS, Arrays, cache_folder, remember

ROOT = Path(__file__).resolve().parents[2]
IDENTITY = {"a": 1, "b": ["x"]}


class Maker:
    """Makes arrays and counts how often."""

    def __init__(self, value: float = 1.0) -> None:
        self.value, self.calls = value, 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.full((2, 3), self.value), "n": np.arange(4)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note the names of the arrays that are hashed from here on."""
    names: list[list[str]] = []
    sha256 = cache_module._sha256

    def noted(arrays: Arrays) -> str:
        names.append(list(arrays))
        return sha256(arrays)

    monkeypatch.setattr(cache_module, "_sha256", noted)
    return names


def entry(cache: Path) -> Path:
    (path,) = (cache / "films").glob("*.safetensors")
    return path


def test_made_once_and_the_same_when_read(cache: Path) -> None:
    make = Maker()
    first = remember("films", IDENTITY, make)
    second = remember("films", dict(reversed(IDENTITY.items())), make)
    assert make.calls == 1
    for name in ("x", "n"):
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == second[name].dtype
    assert cache in entry(cache).parents
    assert isinstance(first["x"], np.memmap), "what was made takes no memory"


def test_what_holds_for_now_alone_is_not_kept(cache: Path) -> None:
    make = Maker()
    for calls in (1, 2):
        assert remember("films", IDENTITY, make, lambda made: made["n"][0] > 0)["n"].tolist() == [0, 1, 2, 3]
        assert make.calls == calls
    assert not list(cache.rglob("*.safetensors"))


def test_an_entry_is_hashed_once_a_process_unless_it_changes(cache: Path, hashed: list[list[str]]) -> None:
    remember("films", IDENTITY, Maker())
    hashed.clear()
    for _ in range(3):
        remember("films", IDENTITY, Maker())
    assert len(hashed) == 1
    content = bytearray(entry(cache).read_bytes())
    content[-1] ^= 1
    entry(cache).write_bytes(content)
    make = Maker()
    remember("films", IDENTITY, make)
    assert make.calls == 1


def use(folder: str) -> None:
    os.environ["XRAY_TL_CACHE"] = folder
    make = Maker()
    remember("films", IDENTITY, make)
    assert make.calls == 0


def test_use_by_another_process_does_not_have_an_entry_hashed_again(
    cache: Path, hashed: list[list[str]]
) -> None:
    for _ in range(2):
        remember("films", IDENTITY, Maker())
    hashed.clear()
    used = entry(cache).with_suffix(".used")
    os.utime(used, (0, 0))
    other = multiprocessing.get_context("spawn").Process(target=use, args=(str(cache),))
    other.start()
    other.join()
    assert other.exitcode == 0
    assert used.stat().st_mtime > 0, "its use is noted"
    remember("films", IDENTITY, Maker())
    assert not hashed


@pytest.mark.parametrize("other", [{"a": 2, "b": ["x"]}, {"a": 1, "b": ["x"], "c": None}])
def test_another_identity_is_another_entry(cache: Path, other: dict[str, object]) -> None:
    make = Maker()
    remember("films", IDENTITY, make)
    remember("films", other, make)
    remember("features", IDENTITY, make)
    assert make.calls == 3


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


def test_a_cache_that_cannot_be_used_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "file"))
    made = remember("films", IDENTITY, Maker(7.0))
    remember("audit", IDENTITY, Maker())
    assert float(made["x"][0, 0]) == 7.0
    (warning,) = caplog.messages
    assert "cannot be written to, the run goes on without it" in warning


def test_a_cache_that_can_only_be_read_is_read(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remember("films", IDENTITY, Maker(3.0))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    # the superuser, who runs tests in CI, may write anywhere
    monkeypatch.setattr(cache_module, "take", refuse)
    monkeypatch.setattr(Path, "touch", refuse)
    make = Maker()
    assert float(remember("films", IDENTITY, make)["x"][0, 0]) == 3.0
    assert (make.calls, caplog.text) == (0, "")


def test_what_was_read_stays_when_the_cache_is_emptied(cache: Path) -> None:
    remember("films", IDENTITY, Maker(5.0))
    read = remember("films", IDENTITY, Maker())
    shutil.rmtree(cache)
    np.testing.assert_array_equal(read["x"], np.full((2, 3), 5.0))


def test_what_is_changed_in_memory_never_reaches_the_file(cache: Path) -> None:
    remember("films", IDENTITY, Maker(5.0))
    remember("films", IDENTITY, Maker())["x"][:] = 0
    assert float(remember("films", IDENTITY, Maker())["x"][0, 0]) == 5.0


def test_a_failure_while_making_leaves_nothing(cache: Path) -> None:
    def fail() -> Arrays:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        remember("films", IDENTITY, fail)
    assert not list(cache.rglob("*.safetensors*"))
    make = Maker()
    remember("films", IDENTITY, make)
    assert make.calls == 1, "the lock was released"


def make_slowly(folder: str) -> None:
    os.environ["XRAY_TL_CACHE"] = folder

    def slow() -> Arrays:
        (Path(folder) / f"made-by-{os.getpid()}").touch()
        time.sleep(0.3)
        return {"x": np.ones(2)}

    assert remember("films", IDENTITY, slow)["x"].shape == (2,)


def test_parallel_jobs_wait_for_the_one_that_makes_it(cache: Path) -> None:
    cache.mkdir()
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=make_slowly, args=(str(cache),)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert len(list(cache.glob("made-by-*"))) == 1


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


def test_the_folder_is_the_users_unless_stated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("XRAY_TL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "xray_tl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "xray_tl"


def test_a_full_disk_costs_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Safetensors has an error of its own for it, with no errno."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("xray_tl.store.cache.save_file", full)
    make = Maker()
    np.testing.assert_array_equal(remember("films", IDENTITY, make)["x"], make()["x"])
    assert "no space left on the device" in caplog.text
    assert not list(cache.rglob("*.partial-*"))


def test_what_a_killed_writer_left_is_removed_in_time(cache: Path) -> None:
    old, new = cache / "films" / ".tmpAbCdEf", cache / "films" / "x.safetensors.partial-1"
    old.parent.mkdir(parents=True)
    for left in (old, new):
        left.touch()
    os.utime(old, (0, time.time() - 4000))
    remember("films", IDENTITY, Maker())
    assert not old.exists()
    assert new.exists(), "its process may be writing still"


def killed_half_way(folder: str) -> None:
    """Die in another process with half of an entry written."""
    os.environ["XRAY_TL_CACHE"] = folder
    whole = cache_module.save_file

    def half(arrays: Arrays, path: Path, metadata: dict[str, str]) -> None:
        whole(arrays, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    cache_module.save_file = half
    remember("films", IDENTITY, Maker())


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=killed_half_way, args=(str(cache),))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    assert len(list((cache / "films").iterdir())) == 2, "a part of an entry, and its lock"
    make = Maker()
    for _ in range(2):
        np.testing.assert_array_equal(remember("films", IDENTITY, make)["x"], make()["x"])
    assert make.calls == 1 + 2, "made once, and twice to compare"
    assert not caplog.records


def test_other_users_can_read_an_entry(cache: Path) -> None:
    remember("films", IDENTITY, Maker())
    mask = os.umask(0)
    os.umask(mask)
    assert entry(cache).stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_cache_that_may_not_be_read_costs_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    make = Maker()
    remember("films", IDENTITY, make)
    monkeypatch.setattr(np, "memmap", forbidden)
    monkeypatch.setattr(cache_module, "take", forbidden)
    for number in range(3):
        remember("films", IDENTITY, make)
        remember("audit", {"number": number}, make)
    assert make.calls == 1 + 6
    (warning,) = caplog.messages
    assert "cannot be read, the run goes on without it" in warning


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


def test_an_entry_is_locked_between_machines_where_they_share_the_disk(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = cache_module.take

    def noted(*args: object, **options: bool) -> cache_module.Lock:
        asked.append(options["between_machines"])
        return whole(*args, **options)

    monkeypatch.setattr(cache_module, "take", noted)
    for number, local in enumerate((True, False)):
        monkeypatch.setattr(cache_module, "is_local", lambda folder, local=local: local)
        remember("films", {"number": number}, Maker())
        remember("films", {"number": number}, Maker())
    assert asked == [False, True], "once each: what is there is read without a lock"


def test_a_corrupt_entry_is_named_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    remember("films", IDENTITY, Maker())
    entry(cache).write_bytes(b"x" * 100)
    make = Maker()
    remember("films", IDENTITY, make)
    assert make.calls == 1
    assert len(caplog.messages) == 1
