"""Recipes of the training on the source task: how many images of which size, by backbone and budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xray_tl.config import ModelConfig
from xray_tl.errors import InputError

PRETRAINING = {"convnext_tiny": 2, "timm": 2, "vgg16": 2}
"""Version of the training by registry key, 1 if absent; raise it when a code change alters a weight."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of a backbone's training on the source task.

    Attributes:
        images: Number of images, two per patient.
        epochs: Passes over them.
        image_size: Side of the images in pixels.
        batch_size: Images per step; the two images of a patient are in the same step.
        lr: Full learning rate of AdamW.
        parameter_weight: Weight of the squared error of anatomy and acquisition beside the findings' loss.
        film_size: Side in pixels of the films of which the images are windows; `None`: they are whole films.
    """

    images: int
    epochs: int
    image_size: int = 64
    batch_size: int = 16
    lr: float = 1e-3
    parameter_weight: float = 0.5
    film_size: int | None = None


BUDGETS = {"small": "about 3 minutes", "full": "about 10 minutes"}
"""Training time of each budget, for ResNet50 and VGG16 on two cores."""

# A step of VGG16 takes longer than one of ResNet50: smaller images keep it within the small budget, and it
# needs every one of them new (measured: docs/measured-choices.md).
_RECIPES: dict[str, dict[str, Recipe]] = {
    "vgg16": {
        "small": Recipe(6400, 1, image_size=48),
        "full": Recipe(9600, 2, image_size=48),
    },
    "vit_b_16": {"small": Recipe(1024, 3, lr=3e-4), "full": Recipe(2304, 4, lr=3e-4)},
}
_DEFAULT = {"small": Recipe(2048, 4), "full": Recipe(4096, 6)}

WHOLE = 64
"""Largest side in pixels of images for which a backbone trains on whole films."""

_BY_WINDOWS = {
    "resnet18",
    "resnet50",
    "vgg16",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_lite0",
    "convnext_tiny",
}
"""Backbones whose weights do not depend on where in an image an object is."""


def recipe(model: ModelConfig, budget: str, image_size: int | None = None) -> Recipe:
    """Return a backbone's recipe for a budget.

    A convolutional network knows objects by their size in pixels: weights from small films are worth little
    on large ones. So it trains on windows of films of the run's size, at nearly the cost of small films.

    Args:
        model: The backbone.
        budget: The budget.
        image_size: Side in pixels of the images that the weights are for; `None`: small ones.

    Raises:
        InputError: There is no such budget.
    """
    if budget not in BUDGETS:
        raise InputError(f"weights.budget={budget} is unknown: choose from {', '.join(BUDGETS)}")
    chosen = _RECIPES.get(model.registry, _DEFAULT)[budget]
    if image_size is None or image_size <= WHOLE or model.registry not in _BY_WINDOWS:
        return chosen
    # Rendering is cheap: as many steps, over more windows that are seen less often.
    epochs = max(1, chosen.epochs // 2)
    images = chosen.images * chosen.epochs // epochs
    return replace(chosen, images=images, epochs=epochs, film_size=image_size)
