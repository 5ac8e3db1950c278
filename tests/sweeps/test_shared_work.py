"""What jobs share, and which of them come first."""

from pathlib import Path

import pytest

from tests.conftest import TINY, compose_config
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.shared_work import in_turn, lacks_weights


def test_the_first_job_of_every_arm_and_data_set_comes_first() -> None:
    queued = []
    for arm in ("resnet50_frozen", "vgg16_frozen"):
        for place in ("0-0", "0-1", "1-0", "1-1"):
            data, seed = place.split("-")
            cfg = compose_config(f"arm={arm}", f"data.seed={data}", f"seed={seed}")
            queued.append(Job(cfg, Path(f"{arm}-{place}"), {}))
    assert [str(job.folder) for job in in_turn(queued)] == [
        "resnet50_frozen-0-0",
        "resnet50_frozen-1-0",
        "vgg16_frozen-0-0",
        "vgg16_frozen-1-0",
        "resnet50_frozen-0-1",
        "resnet50_frozen-1-1",
        "vgg16_frozen-0-1",
        "vgg16_frozen-1-1",
    ]


def test_weights_of_a_run_that_will_be_refused_are_not_made_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path))
    for budget, lacks in (("small", True), ("huge", False)):
        cfg = compose_config(*TINY, "weights=source", f"weights.budget={budget}")
        assert lacks_weights(Job(cfg, tmp_path / "run", {}), "cpu") == lacks
