"""Training images changed, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from tests.conftest import compose_config
from xray_tl.config import AugmentConfig, typed
from xray_tl.config.validation import validate
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS
from xray_tl.training.augmentation import build_augment
from xray_tl.training.task import TransferTask

TRAINED = ("mode=frozen", "mode.head=trained")

Tiny = Callable[..., DictConfig]


def _images(count: int = 8) -> torch.Tensor:
    config = typed(compose_config("data.image_size=64")).data
    return SyntheticRadiographs.open(config, "train").render(torch.arange(count)).image


@pytest.mark.parametrize("name", ["light", "strong"])
def test_every_image_is_changed_on_its_own_and_stays_one(name: str) -> None:
    augment = build_augment(typed(compose_config(f"augment={name}")).augment)
    assert augment is not None
    image = _images(1).expand(8, -1, -1, -1)
    torch.manual_seed(0)
    made = augment(image)
    assert made.shape == image.shape
    assert made.dtype == image.dtype
    assert 0 <= made.min() <= made.max() <= 1
    assert len({tuple(row.flatten().tolist()) for row in made}) == 8
    torch.manual_seed(0)
    assert torch.equal(augment(image), made)


def test_strength_is_what_the_option_says() -> None:
    assert build_augment(AugmentConfig()) is None
    image = torch.zeros(200, 1, 41, 41)
    image[:, :, 20, 30] = 1.0
    moved = build_augment(AugmentConfig(translate=0.1))
    assert moved is not None
    torch.manual_seed(0)
    place = moved(image).flatten(1).argmax(1)
    dx, dy = place % 41 - 30, place // 41 - 20
    assert dx.abs().max() == dy.abs().max() == 4
    assert len(dx.unique()) == 9
    noisy = build_augment(AugmentConfig(noise=0.05))
    assert noisy is not None
    assert (noisy(torch.full((4, 1, 64, 64), 0.5)) - 0.5).std() == pytest.approx(0.05, rel=0.03)


def test_only_training_sees_it(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {"train": 0, "rest": 0}
    step = TransferTask.forward

    def watched(self: TransferTask, images: torch.Tensor) -> torch.Tensor:
        kind = "train" if self.training and torch.is_grad_enabled() else "rest"
        seen[kind] += int((images > 1.5).any())
        return step(self, images)

    monkeypatch.setattr(TransferTask, "forward", watched)
    monkeypatch.setattr("xray_tl.runs.parts.build_augment", lambda config: lambda images: images + 2)
    run(tiny("augment=light", *TRAINED), tmp_path / "run")
    assert seen["train"] == 2 * 3  # epochs, batches
    assert seen["rest"] == 0


def test_features_are_not_kept_and_the_result_is_another(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plain = run(tiny(*TRAINED), tmp_path / "plain")
    record = run(tiny(*TRAINED, "augment=light"), tmp_path / "augmented")
    assert record["time"]["feature_cache"] == "off"
    assert "feature cache off: augmentation makes new images" in caplog.text
    assert record["arm_hash"] != plain["arm_hash"]
    again = run(tiny(*TRAINED, "augment=light"), tmp_path / "again")
    one, other = ((tmp_path / name / PREDICTIONS).read_bytes() for name in ("augmented", "again"))
    assert one == other
    assert again["history"] == record["history"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.degrees=-1", r"augment\.degrees=-1\.0 is not valid: choose in \[0, 180\]"),
        ("augment.scale=1", r"augment\.scale=1\.0 is not valid"),
    ],
)
def test_wrong_strengths_are_refused(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate(compose_config("augment=light", override))
