"""How many jobs at once, and on which devices."""

from pathlib import Path

import pytest

from xray_tl.errors import InputError
from xray_tl.sweeps import capacity
from xray_tl.sweeps.capacity import cuda_devices, jobs_at_once


@pytest.mark.parametrize(
    ("cores", "memory", "devices", "mps", "expected"),
    [
        (1, 64, "", False, 1),
        (2, 24, "", False, 2),
        (16, 24, "", False, 6),
        (4, 2, "", False, 1),
        (16, 512, "", True, 1),
        (16, 512, "01", False, 2),
        (2, 512, "0123", False, 2),
    ],
)
def test_auto_is_one_job_a_device_or_a_core_as_far_as_memory_lasts(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: float, devices: str, mps: bool, expected: int
) -> None:
    for name, value in {"own_cores": list(range(cores)), "_memory_gb": memory, "_has_mps": mps}.items():
        monkeypatch.setattr(capacity, name, lambda value=value: value)
    assert jobs_at_once("auto", list(devices)) == expected


def test_no_more_jobs_than_cores_and_a_word_on_devices_that_are_shared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capacity, "own_cores", lambda: [0, 1])
    assert jobs_at_once(2) == 2
    assert not caplog.messages
    assert jobs_at_once(4) == 2
    assert caplog.messages.pop() == "hydra.launcher.jobs=4 is more than there are cores: 2 at once"
    assert jobs_at_once(2, ["0"]) == 2
    assert caplog.messages.pop() == "hydra.launcher.jobs=2 is more than there are GPUs: some jobs share one"


@pytest.mark.parametrize(
    ("visible", "expected"), [("0,1", ["0", "1"]), ("GPU-5a", ["GPU-5a"]), ("", []), ("-1", [])]
)
def test_devices_are_those_that_are_visible(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda_devices() == expected


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7/memory.max": "3000000000", "memory.max": "max"}, 3.0),
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max", "slurm/memory.max": "2000000000"}, 2.0),
        ("0::/slurm/job_7\n", {"slurm/job_8/memory.max": "1000000000"}, None),
        ("0::/\n", {"memory.max": "200000000\n"}, 0.2),
        ("9:cpu:/a\n4:memory:/a/b\n0::/\n", {"memory/a/b/memory.limit_in_bytes": "300000000"}, 0.3),
        ("4:cpu,memory:/b:c\n", {"memory/b:c/memory.limit_in_bytes": "400000000"}, 0.4),
        ("4:memory:/docker/seen/from/outside\n", {"memory/memory.limit_in_bytes": "500000000"}, 0.5),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        (None, {"memory.max": "100000000"}, None),
    ],
)
def test_memory_is_what_the_process_s_own_control_group_may_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str | None,
    limits: dict[str, str],
    expected: float | None,
) -> None:
    monkeypatch.setattr(capacity, "OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(capacity, "GROUPS", tmp_path / "sys")
    machine = capacity._memory_gb()
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups)
    for name, text in limits.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / name).write_text(text)
    assert capacity._memory_gb() == (machine if expected is None else expected)


@pytest.mark.parametrize("asked", [0, -1, "many", 1.5])
def test_a_wrong_number_of_jobs_is_refused(asked: int | str) -> None:
    with pytest.raises(InputError, match=r"hydra\.launcher\.jobs=.* auto or a number from 1"):
        jobs_at_once(asked)
