"""A task whose ceiling is asked for by number."""

from dataclasses import replace

import pytest

from xray_tl.config import MarkerConfig, SyntheticDataConfig
from xray_tl.data.synthetic.generator_options import validate
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.observers import difficulty
from xray_tl.observers.difficulty import resolve_difficulty
from xray_tl.observers.ideal_scores import ideal_logit
from xray_tl.statistics.bounds import bounds

NODULE = SyntheticDataConfig(image_size=32, finding="nodule", radii=[10.0])
SIGMAS = 4


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difficulty, "IMAGES", 400)


@pytest.mark.parametrize(
    "config",
    [
        replace(NODULE, target_auroc=0.9),
        replace(NODULE, target_auroc=0.7, flip_negative=0.1),
        replace(NODULE, target_auroc=0.75, mild_probability=0.5, prevalence=0.3),
    ],
)
def test_the_ceiling_of_other_images_is_the_one_asked_for(config: SyntheticDataConfig) -> None:
    found = resolve_difficulty(config)
    assert found.target_auroc is None
    assert found == replace(config, target_auroc=None, d0=found.d0), "nothing but d0 changes"
    best = bounds(ideal_logit(SyntheticRadiographs(found, split="test", seed=0), 800))
    # d0 was found on other images, with a sampling error of its own
    error = best["auroc_se"] * (1 + 800 / difficulty.IMAGES) ** 0.5
    assert abs(best["auroc"] - config.target_auroc) < SIGMAS * error


def test_the_search_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(NODULE, target_auroc=0.8)
    first = resolve_difficulty(config)
    monkeypatch.setattr(difficulty, "_solve", lambda *_: pytest.fail("searched again"))
    assert resolve_difficulty(config) == first
    assert resolve_difficulty(replace(config, seed=7, n_test=30)).d0 == first.d0, "no data set's own images"


def test_data_without_a_target_stay_as_they_are() -> None:
    assert resolve_difficulty(NODULE) is NODULE


def test_an_unreachable_target_says_which_range_is_reachable() -> None:
    flips = {"flip_negative": 0.1, "flip_positive": 0.1}
    with pytest.raises(
        InputError, match=r"data\.target_auroc=0\.95 cannot be reached.* allows 0\.5\d\d to 0\.9"
    ):
        resolve_difficulty(replace(NODULE, target_auroc=0.95, **flips))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d0": 3.0}, r"data\.target_auroc=0\.9 and data\.d0=3\.0: the target finds d0, choose one"),
        ({"contrast": "physical"}, r"data\.target_auroc=0\.9 needs data\.contrast=iso"),
        ({"target_auroc": 1.5}, r"data\.target_auroc=1\.5 is not valid: choose in \(0\.5, 1\)"),
    ],
)
def test_a_target_and_what_it_excludes(options: dict[str, object], message: str) -> None:
    config = replace(replace(NODULE, target_auroc=0.9), **options)
    for check in (validate, resolve_difficulty):
        with pytest.raises(InputError, match=message):
            check(config)


def test_a_marker_counts_towards_the_ceiling() -> None:
    plain, marked = (
        resolve_difficulty(replace(NODULE, target_auroc=0.9, marker=MarkerConfig(test=correlation)))
        for correlation in (None, 0.6)
    )
    assert marked.d0 < plain.d0, "the marker tells some of it"
    best = bounds(ideal_logit(SyntheticRadiographs(marked, split="test", seed=0), 800))
    assert best["auroc"] == pytest.approx(0.9, abs=SIGMAS * best["auroc_se"] * 3**0.5)
