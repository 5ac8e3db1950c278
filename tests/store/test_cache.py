"""What is made once and kept: found again, checked, shared, and never in the way."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from xray_tl.store import array_file
from xray_tl.store import cache as cache_module
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import cache_folder, remember

IDENTITY = {"a": 1, "b": ["x"]}


class Maker:
    """Makes arrays and counts how often."""

    def __init__(self, value: float = 1.0) -> None:
        self.value, self.calls = value, 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"x": np.full((2, 3), self.value), "n": np.arange(4)}


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note the names of the arrays that are hashed from here on."""
    names: list[list[str]] = []
    sha256 = cache_module.sha256

    def noted(arrays: Arrays) -> str:
        names.append(list(arrays))
        return sha256(arrays)

    monkeypatch.setattr(cache_module, "sha256", noted)
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


def test_the_folder_is_the_users_unless_stated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("XRAY_TL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "xray_tl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "xray_tl"


def killed_half_way(folder: str) -> None:
    """Die in another process with half of an entry written."""
    os.environ["XRAY_TL_CACHE"] = folder
    whole = array_file.save_file

    def half(arrays: Arrays, path: Path, metadata: dict[str, str]) -> None:
        whole(arrays, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    array_file.save_file = half
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
