"""Splits and loaders."""

from dataclasses import replace
from itertools import chain
from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.splits import (
    EpochOrder,
    EvenBatches,
    OnDemandSplit,
    Targets,
    balanced_chances,
    residence,
)
from xray_tl.data.synthetic.rng import SPLITS
from xray_tl.errors import InputError


def _data(seed: int = 0, **changes: object) -> XrayDataModule:
    small = SyntheticDataConfig(image_size=32, n_train=21, n_val=10, n_test=12, batch_size=8)
    data = XrayDataModule(replace(small, **changes), seed=seed)
    data.setup()
    return data


def _images(data: XrayDataModule, split: str) -> torch.Tensor:
    return torch.cat([batch.image for batch in data.ordered_dataloader(split)])


def test_rendering_ahead_or_in_workers_gives_the_same_images() -> None:
    kept, rendered = _data(), _data(memory_limit_gb=0.0, num_workers=2)
    assert kept.in_memory
    assert not rendered.in_memory
    for split in SPLITS:
        assert torch.equal(_images(kept, split), _images(rendered, split))
        truths = [torch.cat([b.truth for b in data.ordered_dataloader(split)]) for data in (kept, rendered)]
        assert torch.equal(*truths)


def test_splits_share_no_image() -> None:
    images = torch.cat([_images(_data(), split) for split in SPLITS]).flatten(1)
    assert len(images.unique(dim=0)) == len(images) == 43


def test_the_training_seed_moves_the_order_only() -> None:
    orders = [
        [case for batch in _data(seed).train_dataloader() for case in batch.case.tolist()] for seed in (0, 1)
    ]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(21))
    assert torch.equal(_images(_data(0), "train"), _images(_data(1), "train"))


def test_train_seed_draws_training_and_validation_alone() -> None:
    first, second = _data(), _data(train_seed=5)
    same = {split: torch.equal(_images(first, split), _images(second, split)) for split in SPLITS}
    assert same == {"train": False, "val": False, "test": True}
    assert first.data_hash() != second.data_hash()
    assert _data(train_seed=0).data_hash() == first.data_hash()


def test_loaders_leave_the_global_generator_alone() -> None:
    data = _data()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(data.train_dataloader())
    assert torch.equal(torch.rand(1), expected)


def test_each_epoch_has_its_own_order() -> None:
    order, again = EpochOrder(50, seed=3), EpochOrder(50, seed=3, epoch=1)
    first = list(order)
    order.set_epoch(1)
    assert list(order) == list(again) != first


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_balanced_sampling_draws_every_class_equally_often(kind: Literal["binary", "multiclass"]) -> None:
    classes = torch.tensor([0] * 80 + [1] * 15 + [2 if kind == "multiclass" else 1] * 5)
    truth = F.one_hot(classes).float() if kind == "multiclass" else classes[:, None].float()
    names = tuple("abc"[: truth.shape[1]])
    chances = balanced_chances(truth, Targets(kind, names))
    orders = [list(EpochOrder(100, 3, epoch, chances)) for epoch in range(100)]
    assert orders[0] != orders[1]
    assert orders[1] == list(EpochOrder(100, 3, 1, chances))
    drawn = torch.bincount(classes[torch.tensor(orders).flatten()]) / 10_000
    share = 1 / len(drawn)
    assert drawn.numpy() == pytest.approx(share, abs=4 * (share * (1 - share) / 10_000) ** 0.5)


def test_balanced_sampling_leaves_out_what_is_not_known_and_refuses_several_labels() -> None:
    truth = torch.tensor([[1.0], [torch.nan], [0.0], [0.0]])
    assert balanced_chances(truth, Targets("binary", ("a",))).tolist() == [1, 0, 0.5, 0.5]
    assert balanced_chances(truth, Targets("binary", ("a",))).dtype == torch.float64
    with pytest.raises(InputError, match=r"optim\.sampling=balanced needs one label an image"):
        balanced_chances(truth.repeat(1, 2), Targets("multilabel", ("a", "b")))


def test_the_training_images_are_drawn_as_asked_for_and_no_others() -> None:
    config = SyntheticDataConfig(image_size=32, n_train=40, n_val=20, n_test=20, prevalence=0.2)
    data = XrayDataModule(config, seed=0, sampling="balanced")
    share = {
        split: torch.cat([batch.truth for batch in loader]).mean().item()
        for split, loader in {"train": data.train_dataloader(), "val": data.val_dataloader()}.items()
    }
    assert float(data.positives()) < 0.3 < 0.35 < share["train"]
    assert share["val"] < 0.35
    assert sorted(torch.cat([batch.case for batch in data.val_dataloader()]).tolist()) == list(range(20))


@pytest.mark.parametrize(("size", "limit"), [(33, 32), (32, 32), (5, 8), (100, 7), (4, 3), (25, 3)])
def test_batches_are_even_and_hold_every_case_once(size: int, limit: int) -> None:
    batches = list(EvenBatches(EpochOrder(size, 0), size, limit))
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= limit
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 1, "BatchNorm cannot train on one image"
    assert len(batches) == -(-size // limit)
    assert sorted(chain(*batches)) == list(range(size))


def test_mixed_batches_have_every_image_once_or_the_first_few_of_the_same_order() -> None:
    data = _data()
    every = [batch.case for batch in data.mixed_image_batches("train", 4)]
    few = [batch.case for batch in data.mixed_image_batches("train", 4, 5)]
    assert sorted(torch.cat(every).tolist()) == list(range(21))
    assert torch.cat(few).tolist() == torch.cat(every).tolist()[:5]
    assert [len(case) for case in few] == [2, 3]


def test_share_of_positives() -> None:
    data = _data()
    truth = torch.cat([batch.truth for batch in data.ordered_dataloader("train")])
    assert float(data.positives()) == pytest.approx(float(truth.mean()))


def test_a_split_of_one_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"the test split .* one class only: raise data\.n_test=1"):
        _data(n_test=1)


def test_only_the_splits_of_a_stage_are_rendered() -> None:
    data = XrayDataModule(SyntheticDataConfig(image_size=32, n_train=20, n_val=20, n_test=20), seed=0)
    data.setup("test")
    assert set(data._image_splits) == {"test"}


def test_a_split_lies_on_the_accelerator_while_it_leaves_half_of_it_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8_000, 10_000))
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert residence(cuda, 4_000) == cuda
    assert residence(cuda, 4_001) == cpu
    assert residence(cpu, 10**12) == cpu


def test_rendered_images_are_shared_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = _data(seed=0).images("train").__getitems__(range(10)).image.clone()
    rendered: list[int] = []
    monkeypatch.setattr(OnDemandSplit, "__getitems__", lambda self, indices: rendered.append(len(indices)))
    again = _data(seed=1).images("train").__getitems__(range(10)).image
    assert torch.equal(first, again)
    assert not rendered, "another job of the sweep, with another seed, reads them"
