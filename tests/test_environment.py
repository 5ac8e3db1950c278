"""The environment that tests run in: none of a scheduler's, none of the user's own settings."""

import os
import subprocess
import sys

from tests.conftest import foreign

HOSTILE = {
    "SLURM_JOB_ID": "7",
    "SLURM_PROCID": "1",
    "SLURM_NTASKS": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "nowhere",
    "TORCHELASTIC_RUN_ID": "none",
    "XRAY_TL_CACHE_GB": "nothing",
    "HYDRA_FULL_ERROR": "1",
    "PL_TRAINER_LIMIT_PREDICT_BATCHES": "1",
    "CUDA_VISIBLE_DEVICES": "3",
}
KEPT = ("PATH", "OMP_NUM_THREADS", "XRAY_TL_VANDYKE", "PYTEST_XDIST_WORKER", "CI")


def test_variables_of_schedulers_and_of_the_project_are_foreign() -> None:
    assert foreign([*HOSTILE, *KEPT]) == list(HOSTILE)


def test_no_foreign_variable_is_seen(subprocess_env: dict[str, str]) -> None:
    given = ["XRAY_TL_CACHE", "XRAY_TL_SPARE"]
    assert sorted(foreign(os.environ)) == given
    assert sorted(foreign(subprocess_env)) == sorted([*given, "HYDRA_FULL_ERROR"])


def test_tests_are_the_same_in_a_job_of_a_scheduler(subprocess_env: dict[str, str]) -> None:
    seen = f"{__file__}::{test_no_foreign_variable_is_seen.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", seen]
    done = subprocess.run(command, env={**subprocess_env, **HOSTILE}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
