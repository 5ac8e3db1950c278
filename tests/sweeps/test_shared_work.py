"""What jobs share, and which of them come first."""

from pathlib import Path

from tests.conftest import compose_config
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.shared_work import in_turn


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
