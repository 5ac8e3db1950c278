"""MedMNIST files."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.data.films.radiograph_files import films
from xray_tl.config import RadiographDataConfig
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.films import mapped, medmnist_sets
from xray_tl.data.films.collection import open_collection
from xray_tl.errors import InputError

SIZES = {"train": 20, "val": 8, "test": 12}


def _write(path: Path, classes: int = 2, labels: int = 1) -> Path:
    grey, label = films(40)
    parts, start = {}, 0
    for split, size in SIZES.items():
        rows = slice(start, start + size)
        parts[f"{split}_images"] = (grey[rows] * 255).astype(np.uint8)
        values = label[rows] + np.arange(size) % (classes - 1) if classes > 2 else label[rows]
        parts[f"{split}_labels"] = np.tile(values[:, None], (1, labels)).astype(np.uint8)
        start += size
    np.savez(path, **parts)
    return path


def _config(path: Path) -> RadiographDataConfig:
    return RadiographDataConfig(name="medmnist", layout="medmnist", root=str(path), image_size=32)


@pytest.mark.parametrize(
    ("classes", "labels", "kind", "targets"),
    [(2, 1, "binary", 1), (3, 1, "multiclass", 3), (2, 14, "multilabel", 14)],
)
def test_the_official_split_and_labels_are_kept(
    tmp_path: Path, classes: int, labels: int, kind: str, targets: int
) -> None:
    found = open_collection(_config(_write(tmp_path / "set.npz", classes, labels)))
    assert (found.listing.kind, len(found.listing.targets)) == (kind, targets)
    assert {split: found.split.count(split) for split in SIZES} == SIZES
    assert np.abs(found.images()[3] - films(4)[0][3]).max() < 1 / 255


def test_a_set_in_two_sizes_is_one_test_set(tmp_path: Path) -> None:
    """So that arms that see 64 or 224 pixels of the same patients are compared."""
    small = _write(tmp_path / "small.npz")
    with np.load(small) as file:
        parts = {name: file[name] for name in file}
    large = {name: np.kron(part, np.ones((1, 2, 2), np.uint8)) if part.ndim == 3 else part
             for name, part in parts.items()}  # fmt: skip
    np.savez(tmp_path / "large.npz", **large)
    turned = parts | {"test_labels": 1 - parts["test_labels"]}
    np.savez(tmp_path / "turned.npz", **turned)
    names = [
        XrayDataModule(_config(tmp_path / f"{name}.npz"), seed=0).describe()["test_set"]
        for name in ("small", "large", "turned")
    ]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(("last", "what"), [(28, "volumes"), (4, "RGBA"), (1, "volumes"), (2, "volumes")])
def test_volumes_are_no_colour(tmp_path: Path, last: int, what: str) -> None:
    with np.load(_write(tmp_path / "set.npz")) as file:
        parts = {
            name: np.repeat(part[..., None], last, -1) if name.endswith("images") else part
            for name, part in file.items()
        }
    np.savez(tmp_path / "deep.npz", **parts)
    with pytest.raises(InputError, match=rf"train has {what} of shape \(32, 32, {last}\)"):
        open_collection(_config(tmp_path / "deep.npz"))


def test_labels_may_be_flat(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.npz")
    expected = open_collection(_config(path)).listing.truth
    with np.load(path) as file:
        parts = {name: part[:, 0] if name.endswith("labels") else part for name, part in file.items()}
    np.savez(tmp_path / "flat.npz", **parts)
    assert np.array_equal(open_collection(_config(tmp_path / "flat.npz")).listing.truth, expected)


def test_what_is_no_medmnist_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist: download it from https://medmnist\.com"):
        open_collection(_config(tmp_path / "absent.npz"))
    (tmp_path / "text.npz").write_text("none")
    with pytest.raises(InputError, match="is no MedMNIST file"):
        open_collection(_config(tmp_path / "text.npz"))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="has no train_labels"):
        open_collection(_config(tmp_path / "other.npz"))


def test_labels_and_images_must_agree(tmp_path: Path) -> None:
    path = _write(tmp_path / "set.npz")
    with np.load(path) as file:
        parts = dict(file)
    np.savez(path, **parts | {"train_labels": parts["train_labels"][:-1]})
    with pytest.raises(InputError, match="train has 20 images of uint8 and 19 labels"):
        open_collection(_config(path))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    parts = {
        f"{split}_{part}": np.array([Hostile()], dtype=object)
        for split in SIZES
        for part in ("images", "labels")
    }
    np.savez(tmp_path / "hostile.npz", **parts)
    with pytest.raises(InputError, match="is no MedMNIST file"):
        open_collection(_config(tmp_path / "hostile.npz"))
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder as the place that MedMNIST's files are downloaded from."""
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(_Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(medmnist_sets, "RELEASE", f"http://127.0.0.1:{running.server_port}")
        yield served
        running.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def _known(monkeypatch: pytest.MonkeyPatch, dataset: str, side: int, content: bytes) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(medmnist_sets.SETS[dataset].md5, side, md5)


@pytest.mark.parametrize(("dataset", "labels"), [("pneumoniamnist", 1), ("chestmnist", 14)])
def test_a_missing_file_is_downloaded_once_and_its_labels_have_names(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, labels: int
) -> None:
    name = medmnist_sets.file_name(dataset, 64)
    _known(monkeypatch, dataset, 64, _write(server / name, labels=labels).read_bytes())
    config = replace(_config(tmp_path / "new" / name), download=True)
    listing = open_collection(config).listing
    (server / name).unlink()
    assert open_collection(config).listing.targets == listing.targets
    if labels == 1:
        assert (listing.targets, listing.negative) == (("pneumonia",), "normal")
    else:
        assert listing.targets == medmnist_sets.SETS[dataset].labels


def test_a_download_that_is_not_the_published_file_leaves_nothing(tmp_path: Path, server: Path) -> None:
    _write(server / "pneumoniamnist.npz")
    place = tmp_path / "new" / "pneumoniamnist.npz"
    with pytest.raises(InputError, match=r"pneumoniamnist\.npz\?download=1 cannot be downloaded to .*hash"):
        open_collection(replace(_config(place), download=True))
    assert not list(place.parent.iterdir())


def test_what_cannot_be_downloaded_is_said(tmp_path: Path, server: Path) -> None:
    with pytest.raises(InputError, match=r"chestmnist_128\.npz\?download=1 cannot be downloaded to .*404"):
        open_collection(replace(_config(tmp_path / "chestmnist_128.npz"), download=True))
    with pytest.raises(InputError, match=r"data\.download=true knows pneumoniamnist\.npz, pneumoniamnist_64"):
        open_collection(replace(_config(tmp_path / "mine.npz"), download=True))


def test_a_name_of_one_s_own_says_nothing_of_the_labels(tmp_path: Path) -> None:
    listing = open_collection(_config(_write(tmp_path / "pneumoniamnist_viral.npz"))).listing
    assert (listing.targets, listing.negative) == (("class 1",), "class 0")


def test_a_download_is_open_to_all_and_leaves_nothing_beside_it(
    tmp_path: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _known(monkeypatch, "pneumoniamnist", 28, _write(server / "pneumoniamnist.npz").read_bytes())
    place = tmp_path / "new" / "pneumoniamnist.npz"
    fetched = [threading.Thread(target=medmnist_sets.fetch, args=(place,)) for _ in range(3)]
    for thread in fetched:
        thread.start()
    for thread in fetched:
        thread.join()
    (tmp_path / "plain").touch()
    assert place.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_known_name_with_other_labels_keeps_their_numbers(tmp_path: Path) -> None:
    listing = open_collection(_config(_write(tmp_path / "pneumoniamnist.npz", classes=3))).listing
    assert listing.targets == ("class 0", "class 1", "class 2")


def test_a_file_too_large_for_memory_is_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))
    config = _config(_write(tmp_path / "set.npz"))
    whole = open_collection(config).images()
    monkeypatch.setattr(mapped, "BLOCK", 7)
    limited = replace(config, memory_limit_gb=1e-6)
    assert np.array_equal(open_collection(limited).images(), whole)
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "1e-6")
    with pytest.raises(
        InputError, match=r"data\.memory_limit_gb=1e-06, .* \(XRAY_TL_CACHE, XRAY_TL_CACHE_GB\)"
    ):
        open_collection(limited)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("XRAY_TL_CACHE_GB", "1")
    with pytest.raises(InputError, match=r"data\.memory_limit_gb=1e-06"):
        open_collection(limited)
