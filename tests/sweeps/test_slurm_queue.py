"""What Slurm's commands say, and what is made of it."""

from pathlib import Path

import pytest

from tests.sweeps.fake_slurm import FakeSlurm
from xray_tl.errors import InputError
from xray_tl.sweeps import slurm_queue


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm.install(tmp_path / "slurm", monkeypatch)


def test_where_no_jobs_can_be_submitted_one_line_says_so(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm_queue.check_here()
    (slurm.folder / "srun").unlink()
    monkeypatch.setenv("PATH", str(slurm.folder))
    with pytest.raises(InputError, match="there is no srun on the PATH"):
        slurm_queue.check_here()


def test_queued_jobs_and_why_they_wait(slurm: FakeSlurm) -> None:
    ids = ["41_0", "41_1", "42"]
    assert slurm_queue.queued(ids) == {}
    slurm.say("queue", "41_0|RUNNING|None\n41_1|PENDING|launch failed requeued held\n41_2|RUNNING|None\n")
    assert slurm_queue.queued(ids) == {
        "41_0": ("RUNNING", ""),
        "41_1": ("PENDING", "launch failed requeued held"),
    }
    slurm.say("down", "slurm_load_jobs error: Unable to contact slurm controller")
    assert slurm_queue.queued(ids) is None
    slurm.say("down", "slurm_load_jobs error: Invalid job id specified")
    assert slurm_queue.queued(ids) == {}, "Slurm has forgotten all"


def test_the_longest_array_is_that_of_the_site(slurm: FakeSlurm) -> None:
    slurm.say("config", "MaxArraySize            = 4\nMaxArrayTasks = 7\n")
    assert slurm_queue.longest_array() == 4
    slurm.say("config", "MaxArraySize = 0\n")
    assert slurm_queue.longest_array() == 1, "arrays are switched off"
    (slurm.folder / "scontrol").unlink()
    assert slurm_queue.longest_array() == slurm_queue.MAX_ARRAY


def test_the_ids_of_arrays() -> None:
    assert slurm_queue.main_ids(["9_0", "10_1", "9_3", "8"]) == ["8", "9", "10"]


@pytest.mark.parametrize(
    ("state", "exit_code", "said"),
    [
        ("CANCELLED", "0:15", "was cancelled (scancel)"),
        ("TIMEOUT", "0:15", "reached its time limit (hydra.launcher.timeout_min)"),
        ("OUT_OF_MEMORY", "0:125", "was killed for want of memory (hydra.launcher.mem_gb)"),
        ("FAILED", "137:0", "was killed (signal 9)"),  # srun's exit code
        ("FAILED", "0:9", "was killed (signal 9)"),
        ("FAILED", "1:0", "ended with exit code 1"),
        ("COMPLETED", "0:0", None),
    ],
)
def test_how_a_job_ended(slurm: FakeSlurm, state: str, exit_code: str, said: str | None) -> None:
    slurm.say(
        "job.41_2", f"JobId=43 ArrayJobId=41 JobState={state} Reason=None ExitCode={exit_code} NodeList=\n"
    )
    assert slurm_queue.how_it_ended("41_2") == said
    assert slurm_queue.how_it_ended("7") is None, "Slurm has forgotten it"
