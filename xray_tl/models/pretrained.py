"""ImageNet weights: from a package, a cache or a download within a time limit; always hash-checked."""

from __future__ import annotations

import hashlib
import queue
import re
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.error import HTTPError

import torch
from tqdm import tqdm

from xray_tl.config import WeightsConfig
from xray_tl.errors import InputError
from xray_tl.store.files import out_of_space

T = TypeVar("T")
CHUNK = 1 << 20


class UnavailableError(Exception):
    """Raised when existing weights cannot be obtained now; the message says why and how to get them."""


@dataclass(frozen=True)
class Published:
    """A file of published weights.

    Attributes:
        name: Their published name.
        file: Their file on this machine.
    """

    name: str
    file: Path


class ImageNetSource(Protocol):
    """Where the ImageNet weights of one backbone come from."""

    def find(self, weights: WeightsConfig) -> Published:
        """Find the weights on this machine, or download them.

        Raises:
            UnavailableError: They cannot be obtained.
            InputError: The recipe does not exist, or a file on this machine is not what its name says.
        """
        ...


@dataclass(frozen=True)
class TorchvisionSource:
    """torchvision's weights, in its own cache folder.

    Attributes:
        enum: torchvision's enumeration of the backbone's weights.
    """

    enum: Any

    def find(self, weights: WeightsConfig) -> Published:
        """Find the weights of `weights.recipe`, or download them."""
        recipes = [m.name.removeprefix("IMAGENET1K_") for m in self.enum if re.search(r"1K_V\d+$", m.name)]
        if weights.recipe not in recipes:
            choices = ", ".join(recipes)
            raise InputError(
                f"weights.recipe={weights.recipe} is not in {self.enum.__name__}; choose from {choices}"
            )
        member = self.enum[f"IMAGENET1K_{weights.recipe}"]
        return Published(
            f"{self.enum.__name__}.{member.name}", cached_download(member.url, weights.timeout_s)
        )


@dataclass(frozen=True)
class PackagedSource:
    """Weights that an installed Python package ships.

    Attributes:
        locate: Returns the file; its name carries the first digits of its sha256.
        package: The package's name in the package index.
    """

    locate: Callable[[], str]
    package: str

    def find(self, weights: WeightsConfig) -> Published:
        """Find the weights in the installed package."""
        try:
            file = Path(self.locate())
        except ImportError:
            raise UnavailableError(f"install the package {self.package}, which ships them") from None
        check_hash(file)
        return Published(f"{self.package}/{file.name}", file)


def check_hash(file: Path, sha256: str | None = None) -> None:
    """Check a file's sha256 against a given one, or against its first digits in the file's name, if any.

    Raises:
        InputError: They differ.
    """
    expected = sha256 or _hash_in_name(file)
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if not actual.startswith(expected):
        raise InputError(
            f"{file} is damaged: its sha256 begins with {actual[:8]}, not {expected[:8]}; "
            "delete it and get it again"
        )


def cached_download(url: str, timeout_s: float) -> Path:
    """Return torch's cached file for a URL, downloading it first if there is none.

    Raises:
        UnavailableError: It could not be downloaded whole.
        InputError: The cached file is damaged.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(url).name
    if file.is_file():
        check_hash(file)
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as scratch:
            arrived = Path(scratch) / file.name
            _download(url, arrived, timeout_s)
            check_hash(arrived)
            arrived.replace(file)  # atomic: another process sees the whole file or none
    except InputError:
        raise UnavailableError(f"{file.name} arrived damaged; try again, or put it into {folder}") from None
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        if out_of_space(error):
            raise
        reason = getattr(error, "reason", None) or error
        raise UnavailableError(f"no download ({reason}); put the file {file.name} into {folder}") from error
    return file


def hub_download(repository: str, filename: str, timeout_s: float) -> Path:
    """Return the Hugging Face cache's copy of a file, downloading it first if there is none.

    Raises:
        UnavailableError: It could not be downloaded.
        InputError: The cached file is damaged.
    """
    import huggingface_hub as hub

    repository, _, revision = repository.partition("@")
    cached = hub.try_to_load_from_cache(repository, filename, revision=revision or None)
    if not isinstance(cached, str):
        url = hub.hf_hub_url(repository, filename, revision=revision or None)
        try:
            # First one quick request: the download itself repeats failed requests for most of a minute.
            _within(timeout_s, lambda: hub.get_hf_file_metadata(url, timeout=timeout_s))
            cached = hub.hf_hub_download(
                repository, filename, revision=revision or None, etag_timeout=timeout_s
            )
        except Exception as error:  # of the network library, which changes with the client's version
            if out_of_space(error):
                raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UnavailableError(
                f"no download ({reason}); run `hf download {repository} {filename}` where there is a network "
                f"and copy its cache to {hub.constants.HF_HUB_CACHE}"
            ) from error
    file = Path(cached)
    # The cache names large files by their sha256, where the file system has links.
    stored = file.resolve().name
    check_hash(file, stored if re.fullmatch("[0-9a-f]{64}", stored) else None)
    return file


def _hash_in_name(file: Path) -> str:
    match = re.search(r"-([0-9a-f]{8,})\.[a-z]+$", file.name)
    return match[1] if match else ""


def _download(url: str, file: Path, timeout_s: float) -> None:
    """Download a URL into a file, with a progress bar where stderr is a terminal."""
    with _within(timeout_s, lambda: urllib.request.urlopen(url, timeout=timeout_s)) as response:
        size = int(response.headers.get("Content-Length") or 0) or None
        bar = tqdm(
            total=size, desc=Path(url).name, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
        )
        with bar, file.open("wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call, or raise TimeoutError after some seconds.

    A connection's own time limit covers neither name resolution nor attempts at several addresses.
    """
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((call(), None))
        except Exception as error:  # handed to the waiting thread
            results.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]
