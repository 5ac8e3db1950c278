"""What is handed to Slurm."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.conftest import TINY, compose_config
from tests.sweeps.fake_slurm import FakeSlurm
from xray_tl.config import SlurmConfig
from xray_tl.errors import InputError
from xray_tl.store.sweep_file import read_sweep
from xray_tl.sweeps.batches import Batch
from xray_tl.sweeps.job import Job
from xray_tl.sweeps.slurm_submission import Submission

OPTIONS = SlurmConfig(partition="main", cpus_per_task=2, timeout_min=30, mem_gb=1.5, gpus_per_node=2)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "the cache"))
    return FakeSlurm.install(tmp_path / "slurm", monkeypatch)


def _submission(folder: Path, options: SlurmConfig = OPTIONS, *, on_gpu: bool = True) -> Submission:
    return Submission(options, folder / "sweep", on_gpu, {})


def _batches(folder: Path) -> list[Batch]:
    """One of weights, three that wait for it, one that waits for two of those."""
    jobs = [Job(OmegaConf.create(), folder / "sweep" / name, {}) for name in "abcde"]
    first = Batch((jobs[0],), weights=True)
    then = [Batch((jobs[0],), frozenset({0})), Batch((jobs[1], jobs[2]), frozenset({0}))]
    return [first, *then, Batch((jobs[3],), frozenset({0})), Batch((jobs[4],), frozenset({1, 2}))]


def test_arrays_and_what_they_wait_for(slurm: FakeSlurm, tmp_path: Path) -> None:
    submission = _submission(tmp_path)
    submission.submit(_batches(tmp_path))
    assert submission.ids == {"a": "2_0", "b": "2_1", "c": "2_1", "d": "2_2", "e": "3"}
    assert submission.submit_report({}) == "4"
    asked = slurm.asked()
    assert [each.get("dependency") for each in asked] == [
        None,
        "afterany:1",
        "afterany:2_0:2_1",
        "afterany:2:3",
    ]
    assert [each.get("array") for each in asked] == [None, "0-2%3", None, None]
    found = read_sweep(tmp_path / "sweep")
    assert found is not None
    assert found.submitted == submission.ids


def test_what_a_job_asks_for(slurm: FakeSlurm, tmp_path: Path) -> None:
    given: dict[str, Any] = {"setup": ["module load cuda"], "additional_parameters": {"reservation": "class"}}
    submission = _submission(tmp_path, replace(OPTIONS, **given, account="me", report={"partition": "cpu"}))
    submission.submit(_batches(tmp_path)[:1])
    submission.ids["a"] = "1"
    submission.submit_report({})
    run, report = slurm.asked()
    for key in ("output", "error"):
        assert run.pop(key).startswith(str(tmp_path / "sweep" / ".submitit"))
    assert run == {
        "account": "me",
        "cpus-per-task": "2",
        "gpus-per-node": "2",
        "job-name": "xray_tl",
        "mem": "1536M",
        "nodes": "1",
        "open-mode": "append",
        "partition": "main",
        "requeue": "",
        "reservation": "class",
        "signal": "USR2@90",
        "time": "30",
    }
    assert {key: report.get(key) for key in ("partition", "cpus-per-task", "gpus-per-node")} == {
        "partition": "cpu",
        "cpus-per-task": "1",
        "gpus-per-node": None,
    }
    lines = slurm.batches()[0]
    start = lines.index("# setup") + 1
    assert lines[start : start + 3] == [
        "export OMP_NUM_THREADS=2 MKL_NUM_THREADS=2",
        f"export XRAY_TL_CACHE='{tmp_path / 'the cache'}'",
        "module load cuda",
    ], "the user's commands come last: they may choose another cache"
    command = lines[-1]
    assert command.startswith("srun ")
    assert " --cpus-per-task=2 " in command
    assert sys.executable in command


def test_shards_take_the_place_of_gpus_and_the_cpu_asks_for_none(slurm: FakeSlurm, tmp_path: Path) -> None:
    shards = replace(OPTIONS, gres="shard:1")
    for options, on_gpu in ((shards, True), (shards, False), (OPTIONS, False)):
        _submission(tmp_path, options, on_gpu=on_gpu).submit(_batches(tmp_path)[:1])
    kept = [{key: each[key] for key in ("gres", "gpus-per-node") if key in each} for each in slurm.asked()]
    assert kept == [{"gres": "shard:1"}, {}, {}]


@pytest.mark.parametrize(("asked", "arrays"), [("auto", ["0-1%2", None]), (1, [None] * 3), (8, ["0-2%3"])])
def test_an_array_is_as_long_as_the_site_allows(
    slurm: FakeSlurm, tmp_path: Path, asked: str | int, arrays: list[str | None]
) -> None:
    slurm.say("config", "MaxArraySize = 2\n")
    runs = [Batch(batch.jobs) for batch in _batches(tmp_path)[1:4]]
    _submission(tmp_path, replace(OPTIONS, max_array=asked)).submit(runs)
    assert [each.get("array") for each in slurm.asked()] == arrays


def test_a_job_that_slurm_refuses_ends_in_one_line_of_slurm_s_own(
    slurm: FakeSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "sbatch: error: a hint\nsbatch: error: Batch job submission failed: Invalid partition name"
    slurm.say("refuses", f"3\n{said}")
    submission = _submission(tmp_path)
    with pytest.raises(InputError) as refused:
        submission.submit(_batches(tmp_path))
    (line,) = str(refused.value).splitlines()
    assert "Slurm refused the jobs: Batch job submission failed: Invalid partition name" in line
    assert "hydra.launcher asks for partition=main gpus_per_node=2 cpus_per_task=2 mem=1536M" in line
    assert "where there are no GPUs, hydra.launcher.gpus_per_node=0" in line
    assert "jobs 2 (4 runs) go on" in line
    assert submission.ids == {"a": "2_0", "b": "2_1", "c": "2_1", "d": "2_2"}
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_array": "many"}, r"hydra\.launcher\.max_array=many is not valid: choose auto or a number"),
        ({"report": {"partiton": "cpu"}}, r"hydra\.launcher\.report=.*'partiton' not in 'SlurmConfig'"),
        ({"report": {"mem_gb": "lots"}}, r"hydra\.launcher\.report=.*'lots'.* could not be converted"),
    ],
)
def test_wrong_options_are_told_in_one_line(
    slurm: FakeSlurm, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    submission = _submission(tmp_path, replace(OPTIONS, **options))
    with pytest.raises(InputError, match=said) as refused:
        submission.submit_report({}) if "report" in options else submission.submit(_batches(tmp_path)[:1])
    assert len(str(refused.value).splitlines()) == 1


def test_inside_a_job_of_slurm_its_own_limits_are_not_handed_on(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm refuses to have a memory for each core and for each node at once."""
    (slurm.folder / "sbatch").write_text(f"#!/bin/sh\nenv > {slurm.folder}/env\necho Submitted batch job 1\n")
    for number, name in enumerate(("SLURM_JOB_ID", "SBATCH_ACCOUNT", "SLURM_MEM_PER_NODE")):
        monkeypatch.setenv(name, str(number))
    _submission(tmp_path).submit(_batches(tmp_path)[:1])
    assert "SLURM_MEM_PER_NODE" not in (slurm.folder / "env").read_text()
    assert os.environ["SLURM_MEM_PER_NODE"] == "2"
    monkeypatch.delenv("SLURM_JOB_ID")
    _submission(tmp_path).submit(_batches(tmp_path)[:1])
    assert "SBATCH_ACCOUNT=1" in (slurm.folder / "env").read_text(), "a user's own choice stays"


def test_a_job_is_pickled_with_its_own_runs_alone_and_loads_in_a_fresh_process(
    slurm: FakeSlurm, tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    cfg = compose_config(*TINY)
    jobs = [Job(cfg.copy(), tmp_path / "sweep" / f"{number}", {}) for number in range(100)]
    _submission(tmp_path).submit([Batch((job,)) for job in jobs])
    pickles = sorted((tmp_path / "sweep").glob(".submitit/*/*_submitted.pkl"))
    assert len(pickles) == 100
    assert max(path.stat().st_size for path in pickles) < 200_000
    code = (
        "import json, sys\n"
        "from submitit.core.utils import DelayedSubmission\n"
        "work = DelayedSubmission.load(sys.argv[1]).function\n"
        "(job,) = work.batch.jobs\n"
        "print(json.dumps([job.folder.name, job.cfg.model.name, 'torch' in sys.modules]))\n"
    )
    command = [sys.executable, "-c", code, str(pickles[0])]
    loaded = subprocess.run(command, env=subprocess_env, capture_output=True, text=True, check=True)
    name, model, torch = json.loads(loaded.stdout)
    assert (name, model, torch) == (pickles[0].parent.name.partition("_")[2], "resnet18", False)
