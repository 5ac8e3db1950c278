"""Images in blocks of the cache: decoded once, read in every epoch, whatever happens to some of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.data.films.radiograph_files import write_classes
from xray_tl.config import RadiographDataConfig
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.films import decoded as decoded_films
from xray_tl.data.films import mapped, radiographs
from xray_tl.data.films import reading as film_reading
from xray_tl.data.films.collection import open_collection
from xray_tl.data.films.contents import hash_contents
from xray_tl.data.films.mapped import MappedImages
from xray_tl.errors import InputError
from xray_tl.store import cache as cache_module
from xray_tl.store.array_file import Arrays

LARGER = {"memory_limit_gb": 1e-6}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))


def _config(root: Path, **options: object) -> RadiographDataConfig:
    return replace(RadiographDataConfig(name="folder", root=str(root), image_size=32), **options)


def _blocks(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "films").glob("*.safetensors"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the files that are decoded."""
    paths: list[str] = []
    read = film_reading.read_fitted

    def noted(path: str, reading: film_reading.Reading) -> film_reading.Read:
        paths.append(path)
        return read(path, reading)

    monkeypatch.setattr(film_reading, "read_fitted", noted)
    return paths


def test_an_image_is_found_in_whatever_block_it_lies() -> None:
    whole = np.arange(7 * 4, dtype=np.float32).reshape(7, 2, 2)
    images = MappedImages([whole[:3], whole[3:4], whole[4:]])
    rows = np.array([6, 0, 3, 3, 2, 4])
    assert np.array_equal(images.read(), whole)
    assert np.array_equal(images.read(rows), whole[rows])
    some = images.take(rows).take(np.array([5, 0]))
    assert (len(some), some.read().tolist()) == (2, whole[[4, 6]].tolist())
    assert images.read(rows[:0]).shape == (0, 2, 2)


def _same_images(one: XrayDataModule, other: XrayDataModule) -> None:
    for split in ("train", "val", "test"):
        pair = [next(data.image_batches(split, 100)) for data in (one, other)]
        assert torch.equal(pair[0].image, pair[1].image)
        assert torch.equal(pair[0].truth, pair[1].truth)


def test_too_many_for_memory_are_decoded_once_and_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_classes(tmp_path / "films", 24)
    (root / "normal" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")  # rows and blocks differ by one
    kept = XrayDataModule(_config(root, on_error="skip"), seed=0)
    monkeypatch.setattr(mapped, "BLOCK", 5)
    limited = XrayDataModule(_config(root, on_error="skip", memory_limit_gb=1e-6), seed=0)
    assert not limited.in_memory
    assert len(list((tmp_path / "cache" / "films").glob("*.safetensors"))) == 1 + 5
    for module in (decoded_films, radiographs):
        monkeypatch.setattr(module, "try_reading", None)  # nothing is decoded from here on
    _same_images(kept, limited)
    epochs = [torch.cat([batch.image for batch in limited.train_dataloader()]) for _ in range(2)]
    assert torch.equal(*epochs)
    whole = open_collection(_config(root, on_error="skip", memory_limit_gb=1e-6)).images()
    assert whole.shape == (24, 32, 32)


@pytest.mark.parametrize("cache", ["small", "unusable"])
def test_too_many_for_memory_and_cache_are_decoded_when_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    root = write_classes(tmp_path / "films", 24)
    kept = XrayDataModule(_config(root), seed=0)
    if cache == "small":
        monkeypatch.setenv("XRAY_TL_CACHE_GB", "1e-6")
    else:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "file"))
    limited = XrayDataModule(_config(root, memory_limit_gb=1e-6), seed=0)
    assert limited.collection is not None
    assert limited.collection.films.image is None
    _same_images(kept, limited)


def test_a_lack_of_memory_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path / "films", 20)
    (root / "normal" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    def out_of_memory(path: str, reading: film_reading.Reading) -> film_reading.Read:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(film_reading, "read_fitted", out_of_memory)
        with pytest.raises(
            InputError, match=r"21 of 21 files cannot be used: .*: it does not fit into memory"
        ):
            open_collection(_config(root))
    assert len(open_collection(_config(root, on_error="skip")).split) == 20


def test_a_file_that_cannot_be_read_now_costs_its_own_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 5)
    config = _config(write_classes(tmp_path / "films", 24), on_error="skip", **LARGER)
    whole = open_collection(config)
    paths = whole.listing.table["path"].tolist()

    def hash_but_one(asked: list[str]) -> NDArray[np.int64]:
        contents = hash_contents(asked)
        contents[7] = 0
        return contents

    monkeypatch.setattr(decoded_films, "hash_contents", hash_but_one)
    decoded.clear()
    found = open_collection(config)
    assert sorted(decoded) == sorted(paths[5:10])
    assert list(found.skipped.values()) == ["it could not be read a moment ago"]
    others = np.delete(np.arange(24), 7)
    assert np.array_equal(found.images(), whole.images(others))


def test_a_missing_block_does_not_push_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 5)
    monkeypatch.setattr(mapped, "HEADROOM", 1.0)
    config = _config(write_classes(tmp_path / "films", 24), **LARGER)
    open_collection(config)
    size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*.safetensors"))
    monkeypatch.setenv("XRAY_TL_CACHE_GB", str((size + 1000) / 1e9))
    first = min(_blocks(tmp_path), key=lambda path: path.stat().st_mtime_ns)
    first.unlink()
    newest = tmp_path / "cache" / "features" / f"{0:064x}.safetensors"
    newest.parent.mkdir()
    newest.write_bytes(bytes(5000))
    decoded.clear()
    open_collection(config)
    assert len(decoded) == 5
    assert (len(_blocks(tmp_path)), newest.exists()) == (5, False)


def test_a_cache_that_fills_up_midway_leaves_images_to_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 5)
    root = write_classes(tmp_path / "films", 24)
    kept = XrayDataModule(_config(root), seed=0)
    write = cache_module.write_arrays

    def write_two(path: Path, arrays: Arrays) -> None:
        if len(_blocks(tmp_path)) == 2:
            raise OSError(28, "No space left on device")
        write(path, arrays)

    for path in _blocks(tmp_path):
        path.unlink()
    monkeypatch.setattr(cache_module, "write_arrays", write_two)
    limited = XrayDataModule(_config(root, **LARGER), seed=0)
    assert limited.collection is not None
    assert limited.collection.films.image is None
    _same_images(kept, limited)


@pytest.mark.parametrize(("local", "kept"), [(True, True), (False, False)])
def test_more_than_memory_holds_is_kept_on_a_local_disk_alone(
    monkeypatch: pytest.MonkeyPatch, local: bool, kept: bool
) -> None:
    """On a shared one it would be copied into memory."""
    monkeypatch.setattr(mapped, "is_local", lambda folder: local)
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "10")
    assert mapped.can_be_kept(8, memory_gb=2) is kept
    assert mapped.can_be_kept(2, memory_gb=2)
