"""Recipes of source weights: one for every backbone, and windows at the cost of small films."""

import pytest

from xray_tl.config import ModelConfig
from xray_tl.errors import InputError
from xray_tl.models.registry import backbone_names
from xray_tl.training.source_recipes import BUDGETS, recipe


@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize("name", backbone_names())
def test_windows_cost_no_more_steps_than_whole_films(name: str, budget: str) -> None:
    model = ModelConfig(name, name)
    whole, windows = (recipe(model, budget, size) for size in (64, 224))
    assert whole.film_size is None
    assert whole.images % 2 == windows.images % 2 == 0, "patients come in pairs"
    assert windows.images * windows.epochs == whole.images * whole.epochs
    assert (windows.image_size, windows.batch_size) == (whole.image_size, whole.batch_size)


def test_convolutions_train_on_windows_and_what_knows_places_on_whole_films() -> None:
    assert recipe(ModelConfig("resnet50", "resnet50"), "small", 224).film_size == 224
    assert recipe(ModelConfig("vit_b_16", "vit_b_16"), "small", 224).film_size is None


def test_an_unknown_budget_names_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"weights\.budget=huge is unknown: choose from small, full"):
        recipe(ModelConfig("resnet50", "resnet50"), "huge")
