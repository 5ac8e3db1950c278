"""The source task: what pretraining sees, and what it must not."""

import pytest
import torch

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.findings import get_finding
from xray_tl.data.synthetic.generator_options import RESERVED_SEEDS
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.data.synthetic.source_task import ACQUISITIONS, FINDINGS, PARAMETERS, SourceImages, SourceTask

PATIENTS = 400


@pytest.fixture(scope="module")
def drawn() -> SourceImages:
    return SourceTask(32).render(torch.arange(2 * PATIENTS))


def test_any_batch_and_order_gives_the_same_images(drawn: SourceImages) -> None:
    indices = torch.tensor([31, 2, 700, 17, 3, 2])
    for part in (indices, indices[:1]):
        again = SourceTask(32).render(part)
        assert torch.equal(again.image, drawn.image[part])
        assert torch.equal(again.findings, drawn.findings[part])
        assert torch.equal(again.parameters, drawn.parameters[part])


def test_a_pair_differs_in_its_findings_alone(drawn: SourceImages) -> None:
    one, other = drawn.findings[::2], drawn.findings[1::2]
    assert torch.equal(one, 1 - other)
    assert torch.equal(drawn.parameters[::2], drawn.parameters[1::2])
    near, far = (
        (drawn.image[::2] - image).abs().mean() for image in (drawn.image[1::2], drawn.image[1::2].roll(8, 0))
    )
    assert 0 < near < far / 3, "the same patient on the same film"


def test_findings_are_independent_and_as_frequent_as_not(drawn: SourceImages) -> None:
    error = 4 / PATIENTS**0.5
    held = 2 * drawn.findings[::2] - 1
    assert held.mean(0).abs().max() < error
    products = held.T @ held / PATIENTS
    assert (products - torch.eye(len(FINDINGS))).abs().max() < error


def test_parameters_are_standardised_and_told_apart(drawn: SourceImages) -> None:
    patients = drawn.parameters[::2]
    assert patients.shape == (PATIENTS, len(PARAMETERS))
    assert patients.mean(0).abs().max() < 4 / PATIENTS**0.5
    assert (patients.std(0) - 1).abs().max() < 4 * (0.5 / PATIENTS) ** 0.5
    taken = patients[:, -4:]
    assert len(taken.unique(dim=0)) == len(ACQUISITIONS)


def test_a_window_shows_a_part_of_the_film_and_names_what_is_in_it() -> None:
    indices = torch.arange(2 * PATIENTS)
    film, windows = SourceTask(64).render(indices), SourceTask(64, window=32).render(indices)
    assert windows.image.shape == (2 * PATIENTS, 1, 32, 32)
    assert torch.equal(windows.parameters, film.parameters)
    for image, whole in zip(windows.image[:16], film.image, strict=False):
        patches = whole.unfold(1, 32, 1).unfold(2, 32, 1)
        assert (patches == image).all((0, 3, 4)).sum() == 1
    shown = (windows.findings[::2] + windows.findings[1::2]).bool()
    assert torch.equal(windows.findings[::2], film.findings[::2] * shown)
    assert torch.equal(windows.findings[1::2], film.findings[1::2] * shown)
    assert (shown.any(1).float().mean() > 0.8) & (shown.float().mean() < 0.8)


def test_any_batch_gives_the_same_windows() -> None:
    task = SourceTask(64, window=32)
    indices = torch.tensor([31, 2, 70, 17, 3, 2])
    together = task.render(indices)
    for k, index in enumerate(indices):
        alone = task.render(index[None])
        assert torch.equal(alone.image[0], together.image[k])
        assert torch.equal(alone.findings[0], together.findings[k])


@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_is_in_the_picture(drawn: SourceImages, name: str) -> None:
    held = drawn.findings[::2, FINDINGS.index(name)].bool()
    others = [k for k, other in enumerate(FINDINGS) if other != name]
    # pairs in which the first image holds the finding and, of the others, as many as not are equally likely
    change = (drawn.image[::2] - drawn.image[1::2]).mean((1, 2, 3))
    count = drawn.findings[::2][:, others].sum(1)
    for many in range(len(FINDINGS)):
        same = count == many
        if (same & held).sum() > 5 and (same & ~held).sum() > 5:
            assert change[same & held].mean() > change[same & ~held].mean()


def test_no_target_task_can_show_the_source_s_images() -> None:
    assert not set(FINDINGS) & {"nodule", "opacity"}
    films = SourceTask(32)._films
    seeds = {layer.seed for layers in films for layer in layers}
    assert seeds < set(RESERVED_SEEDS)
    assert RESERVED_SEEDS[0] not in seeds, "that one calibrates difficulty"
    assert len(seeds) == len(FINDINGS)
    target = SyntheticRadiographs(SyntheticDataConfig(image_size=32, finding="mass"), split="train", seed=0)
    assert not any(
        torch.equal(target.noise(torch.arange(1)), layer.noise(torch.arange(1))) for layer in films[0]
    )


def test_findings_fit_into_the_lung() -> None:
    for name in FINDINGS:
        source = SyntheticRadiographs(SyntheticDataConfig(finding=name, image_size=64), split="train", seed=0)
        scene = source.scene(torch.arange(50))
        assert (source.omega(scene).flatten(1).sum(1) > 1).float().mean() > 0.9, get_finding(name)
