"""Published weights: downloads, packages, caches, and what is refused."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path

import pytest
import torchvision.models as tv

from xray_tl.config import WeightsConfig
from xray_tl.errors import InputError
from xray_tl.models.pretrained import (
    PackagedSource,
    TorchvisionSource,
    UnavailableError,
    cached_download,
    check_hash,
)

RESNET18 = "resnet18-f37072fd.pth"


def test_a_download_is_checked_and_kept(server: tuple[str, Path], cache: Path) -> None:
    address, folder = server
    content = b"weights" * 1000
    name = f"toy-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    assert cached_download(f"{address}/{name}", 2.0).read_bytes() == content
    (folder / name).unlink()
    assert cached_download(f"{address}/{name}", 2.0) == cache / name
    assert [file.name for file in cache.iterdir()] == [name]


@pytest.mark.parametrize(
    ("served", "reason"), [("toy-00000000.pth", "arrived damaged"), ("other", "no download")]
)
def test_a_bad_download_leaves_nothing(
    served: str, reason: str, server: tuple[str, Path], cache: Path
) -> None:
    address, folder = server
    (folder / served).write_bytes(b"not what was promised")
    with pytest.raises(UnavailableError, match=rf"{reason}.*toy-00000000\.pth|toy-00000000\.pth {reason}"):
        cached_download(f"{address}/toy-00000000.pth", 2.0)
    assert list(cache.iterdir()) == []


def test_a_server_that_stops_answering_costs_the_time_limit(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="no download"):
            cached_download(f"http://127.0.0.1:{mute.getsockname()[1]}/toy-00000000.pth", 0.3)
    assert time.monotonic() - start < 1.5


def test_a_packaged_file_is_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    file.write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"{file} is damaged"):
        PackagedSource(lambda: str(file), "package").find(WeightsConfig("auto"))


def test_a_missing_package_is_named() -> None:
    def locate() -> str:
        raise ImportError

    with pytest.raises(UnavailableError, match="install the package some-weights"):
        PackagedSource(locate, "some-weights").find(WeightsConfig("auto"))


def test_a_file_without_a_hash_in_its_name_passes(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"anything")
    check_hash(tmp_path / "weights.pth")


def test_sources_are_checked_before_the_network_is_asked(offline: None) -> None:
    with pytest.raises(InputError, match="choose from V1, V2"):
        TorchvisionSource(tv.ResNet50_Weights).find(WeightsConfig("auto", recipe="V3"))
