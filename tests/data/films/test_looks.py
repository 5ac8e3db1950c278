"""A film that shows nothing, is a mask or is dark is known by its own grey at its own size."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.data.films.radiograph_files import films
from xray_tl.data.films import medmnist
from xray_tl.data.films.decode import LOOKS, look_of
from xray_tl.data.films.reading import Reading

SIZES = [32, 96, 300, 700]


def _look(grey: NDArray[np.floating], intensity: str = "range") -> str:
    return LOOKS[look_of(np.asarray(grey, dtype=np.float32), intensity)]


def _film(size: int) -> NDArray[np.float32]:
    grey = films(1, 96)[0][0]
    resized = Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14])
def test_few_bits_in_sixteen_are_dark_and_not_blank(size: int, bits: int) -> None:
    film = (_film(size) * (2**bits - 1)).round() / 65535
    assert _look(film) == "dark"
    assert _look(film, "percentile") == "", "which brings them to their own range"
    assert _look((_film(size) * 255).round() / 255) == ""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [0, 0.02, 0.25, 0.5, 1])
@pytest.mark.parametrize("noise", [0, 0.001, 0.004])
@pytest.mark.parametrize("steps", [255, 65535])
def test_a_level_with_noise_is_blank(size: int, level: float, noise: float, steps: int) -> None:
    drawn = np.random.default_rng(0).normal(level, noise, (size, size)).clip(0, 1)
    for intensity in ("range", "percentile"):
        assert _look((drawn * steps).round() / steps, intensity) == "blank"


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("quality", [None, 75, 95])
def test_masks_are_two_valued_even_as_jpeg(size: int, quality: int | None) -> None:
    mask = np.zeros((size, size), dtype=np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = 255
    grey = mask / 255
    if quality is not None:
        stream = BytesIO()
        Image.fromarray(mask).save(stream, "JPEG", quality=quality)
        grey = np.asarray(Image.open(stream)) / 255
    assert _look(grey) == _look(1 - grey) == _look(grey, "percentile") == "two-valued"
    assert _look(0.2 + grey / 5) == "two-valued"


def test_a_window_of_width_1_makes_two_values() -> None:
    assert _look(_film(96) > 0.5) == "two-valued"


def test_a_film_that_is_oblong_or_tiny_is_looked_at() -> None:
    assert _look(np.tile(_film(96), (1, 20))) == ""
    assert _look(np.full((1, 1), 0.5)) == "blank"
    assert _look(np.linspace(0, 1, 700)[None]) == ""


def test_medmnist_has_looks_at_its_own_size() -> None:
    grey = (_film(64) * 255).astype(np.uint8)
    drawn = [grey, np.full_like(grey, 99), np.stack([grey // 8] * 3, -1), (grey > 99).astype(np.uint8) * 255]
    found = medmnist._facts(SimpleNamespace(images=drawn), Reading(32, "pad", "range"))
    assert [LOOKS[look] for look in found["look"]] == ["", "blank", "dark", "two-valued"]
    assert found["look"].dtype == np.int64
