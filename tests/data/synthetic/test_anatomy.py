"""Anatomy: the population's spread, and the same patient at every image size."""

import pytest
import torch

from xray_tl.config import AcquisitionConfig, AnatomyConfig
from xray_tl.data.synthetic.acquisition import Acquisition
from xray_tl.data.synthetic.anatomy import POPULATION, POSE, Anatomy, Normal, Thorax, draw_parameters
from xray_tl.data.synthetic.organs import Lungs, Parameters, body_outline, join
from xray_tl.data.synthetic.rng import Stream, stream_keys

CPU = torch.device("cpu")
FIELD = 380.0


def parameters(count: int, **options: float) -> Parameters:
    keys = stream_keys(0, "train", Stream.ANATOMY, torch.arange(count))
    return draw_parameters(keys, AnatomyConfig(**options))


def thorax(count: int, size: int = 64, **options: float) -> Thorax:
    anatomy = Anatomy(AnatomyConfig(**options), size, FIELD / size, CPU)
    return anatomy.draw(parameters(count, **options), soft=0.021, bone=0.024)


def test_population_has_the_stated_means_and_deviations() -> None:
    count = 4000
    drawn = parameters(count)
    for name, law in POPULATION.items():
        if isinstance(law, Normal):
            mean, sd, low, high = law.mean, law.sd, law.mean - 3 * law.sd, law.mean + 3 * law.sd
        else:
            mean, sd, low, high = (law.low + law.high) / 2, (law.high - law.low) / 12**0.5, law.low, law.high
        assert abs(float(drawn[name].mean()) - mean) < 5 * sd / count**0.5, name
        assert float(drawn[name].std()) == pytest.approx(sd, rel=0.06), name
        assert low - 1e-4 <= float(drawn[name].min()) <= float(drawn[name].max()) <= high + 1e-4, name


def test_parameters_are_independent() -> None:
    drawn = torch.stack(list(parameters(4000).values()))
    correlation = torch.corrcoef(drawn) - torch.eye(len(drawn))
    assert float(correlation.abs().max()) < 5 / 4000**0.5


def test_pose_spreads_pose_alone_and_body_scale_thickens() -> None:
    base, spread, thick = parameters(50), parameters(50, pose=2.0), parameters(50, body_scale=1.2)
    for name, law in POPULATION.items():
        if name in POSE:
            assert isinstance(law, Normal)
            torch.testing.assert_close(
                spread[name] - law.mean, 2 * (base[name] - law.mean), atol=1e-4, rtol=1e-4
            )
        else:
            assert torch.equal(spread[name], base[name])
        assert torch.equal(thick[name], base[name] * 1.2 if name == "fat" else base[name])


def test_organs_are_where_they_belong() -> None:
    drawn = thorax(40, 96)
    path, clearance = drawn.path, drawn.clearance
    middle, edge = path[:, 48, 46:50].mean(), path[:, 48, 25:30].mean()
    assert float(middle) > 2 * float(edge), "mediastinum and spine attenuate more than lung"
    assert bool(torch.isfinite(path).all())
    assert float(path.min()) >= 0
    inside = clearance > 7
    share = inside.float().mean((1, 2))
    assert 0.08 < float(share.min()) < float(share.max()) < 0.35
    assert not bool(inside[:, :, 46:50].any()), "no lung on the midline"
    both = inside.flatten(0, 1).any(0)
    assert bool(both[:40].any())
    assert bool(both[56:].any())
    assert float(path[inside].mean()) < float(path[~inside & (path > 1)].mean())


@pytest.mark.parametrize("option", ["body_scale", "rib_scale", "vessel_scale"])
def test_scales_add_attenuation(option: str) -> None:
    assert float((thorax(8, **{option: 1.3}).path - thorax(8).path).mean()) > 0


def test_extreme_poses_stay_finite_and_keep_lung() -> None:
    drawn = thorax(200, 48, pose=2.5)
    assert bool(torch.isfinite(drawn.path).all())
    assert float((drawn.clearance > 7).float().mean((1, 2)).min()) > 0.05


def test_the_same_patient_at_every_size() -> None:
    exposed = {}
    for size in (32, 64, 224):
        a = Acquisition(AcquisitionConfig(mtf_sigma=0.0), size, CPU)
        exposed[size] = a.expose(thorax(12, size).path)
    fine = torch.nn.functional.interpolate(exposed[224].log_exposure[:, None], size=(64, 64), mode="area")[
        :, 0
    ]
    coarse = exposed[64].log_exposure
    for a, b in zip(fine, coarse, strict=True):
        assert float(torch.corrcoef(torch.stack((a.flatten(), b.flatten())))[0, 1]) > 0.99
    assert float((fine - coarse).abs().median()) < 0.03
    fine_m = torch.nn.functional.interpolate(
        exposed[224].noise_modulation[:, None], size=(32, 32), mode="area"
    )
    torch.testing.assert_close(fine_m[:, 0], exposed[32].noise_modulation, atol=0.1, rtol=0.05)


def test_lungs_fit_into_the_body() -> None:
    anatomy, drawn = Anatomy(AnatomyConfig(), 48, FIELD / 48, CPU), parameters(500)
    p = {name: value.view(-1, 1, 1) for name, value in drawn.items()}
    frame = anatomy.frame(p)
    depth = join(Lungs({name: value.view(-1, 1, 1, 1) for name, value in drawn.items()}, frame).depth())
    room = body_outline(p, frame) - 0.8 * depth  # lung of a fifth of the density of tissue
    assert float(room[depth > 5].min()) > 0
    above = (frame.y < p["apex"] - 10).expand_as(depth)
    assert float(depth[above].max()) == 0, "no lung above its apex"


def test_exposure_control_sees_the_lungs() -> None:
    drawn = thorax(60, 96)
    exposed = Acquisition(AcquisitionConfig(), 96, CPU).expose(drawn.path).log_exposure
    lung = torch.stack([g[clear > 10].mean() for g, clear in zip(exposed, drawn.clearance, strict=True)])
    assert abs(float(lung.mean())) < 0.2
    assert float(lung.std()) < 0.1
