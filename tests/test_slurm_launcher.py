"""`hydra/launcher=slurm` as a user types it, beside commands that only look like Slurm's."""

import shutil
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_plugins.xray_tl.slurm_launcher import SlurmLauncher
from tests.commands import run_command
from tests.conftest import TINY
from tests.sweeps.fake_slurm import FakeSlurm
from xray_tl.sweeps.job import Job

Env = dict[str, str]

SWEEP = ("-m", *TINY, "mode=frozen,finetune", "seed=0,1", "hydra.sweep.dir=sweep", "hydra/launcher=slurm")


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subprocess_env: Env) -> Env:
    slurm = FakeSlurm.install(tmp_path / "slurm", monkeypatch)
    return {**subprocess_env, "PATH": f"{slurm.folder}:{subprocess_env['PATH']}"}


def test_a_sweep_is_submitted_and_a_second_command_finds_it(tmp_path: Path, env: Env) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    cheap = "hydra.launcher.report={partition: cpu}"
    done = run_command("train", *SWEEP, "hydra.launcher.wait=false", cheap, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [each.get("partition") for each in slurm.asked()] == [None, "cpu"]
    assert done.stdout == "3 runs are queued: jobs 1; job 2 makes the report\n"
    assert "frozen" in (tmp_path / "sweep" / "sweep.json").read_text()
    assert [each.get("array") for each in slurm.asked()] == ["0-2%3", None]
    assert "gpus-per-node" not in slurm.asked()[0], "trainer=cpu"
    slurm.say("queue", "1_0|RUNNING|None\n1_1|RUNNING|None\n1_2|PENDING|Priority\n")
    again = run_command("train", *SWEEP, "hydra.launcher.wait=false", env=env, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "3 runs are queued already (jobs 1): they are not submitted again" in again.stderr
    assert again.stdout == "3 runs are queued: jobs 1\n"
    assert len(slurm.batches()) == 2


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "hydra.launcher.partition=nowhere",
            "error: Slurm refused the jobs: Invalid partition name specified",
        ),
        ("hydra.launcher.timeout_min=0", "error: hydra.launcher.timeout_min=0 is not valid"),
        ("hydra.launcher.tiemout_min=10", "Could not override 'hydra.launcher.tiemout_min'"),
        ("hydra.launcher.timeout_min=4h", "Error merging override hydra.launcher.timeout_min=4h"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_begun(tmp_path: Path, env: Env, option: str, said: str) -> None:
    FakeSlurm(tmp_path / "slurm").say("refuses", "1\nsbatch: error: Invalid partition name specified")
    done = run_command("train", *SWEEP, option, env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not list((tmp_path / "sweep").glob("*/record.json"))


def test_a_machine_without_slurm_says_so(tmp_path: Path, subprocess_env: Env) -> None:
    env = {**subprocess_env, "PATH": "/nowhere"}
    done = run_command("train", *SWEEP, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "error: hydra/launcher=slurm: there is no sbatch on the PATH; give the command on a machine from "
        "which jobs are submitted, or choose hydra/launcher=parallel",
    )


def test_what_is_wrong_at_a_later_rung_costs_its_own_runs_and_not_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    launcher = SlurmLauncher()
    launcher._config = OmegaConf.create({"hydra": {"hydra_logging": {}, "sweep": {"dir": "sweep"}}})
    jobs = [Job(OmegaConf.create(), tmp_path / "run", {})]
    with pytest.raises(SystemExit, match="there is no sbatch"):
        launcher.do(jobs, first=True)
    assert "there is no sbatch" in launcher.do(jobs, first=False)["run"]


def test_without_submitit_one_line_says_how_to_get_it(tmp_path: Path, env: Env) -> None:
    (tmp_path / "site").mkdir()
    code = "import importlib.util as util\nfind = util.find_spec\n"
    code += "util.find_spec = lambda name, *given: None if name == 'submitit' else find(name, *given)\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(code)
    without = {**env, "PYTHONPATH": f"{tmp_path / 'site'}:{env['PYTHONPATH']}"}
    done = run_command("train", *SWEEP, env=without, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: hydra/launcher=slurm needs submitit: pip install 'xray-tl[slurm]'"
    )
    alone = run_command("train", "--help", env=without, cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, ""), "others need not know of it"


def test_a_site_s_own_file_composes(tmp_path: Path, env: Env) -> None:
    site = tmp_path / "conf" / "hydra" / "launcher" / "site.yaml"
    site.parent.mkdir(parents=True)
    site.write_text(
        "defaults: [slurm, _self_]\npartition: gpu\nsetup: [module load cuda]\nreport: {partition: cpu}\n"
    )
    given = [word.replace("hydra/launcher=slurm", "hydra/launcher=site") for word in SWEEP]
    own = (f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "hydra.launcher.wait=false")
    done = run_command("train", *given, *own, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [each["partition"] for each in FakeSlurm(tmp_path / "slurm").asked()] == ["gpu", "cpu"]


@pytest.mark.slow
def test_a_real_slurm_makes_what_one_process_makes(tmp_path: Path, subprocess_env: Env) -> None:
    """On nodes that see this machine's disk: a partition that is there by default, a core and 1 GB a job."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo", "-h"], capture_output=True).returncode:
        pytest.skip("needs a Slurm")
    few = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1", "hydra.launcher.timeout_min=10")
    done = run_command("train", *SWEEP, *few, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 runs complete" in done.stdout
    alone = [word for word in SWEEP if not word.startswith("hydra")]
    assert (
        run_command("train", *alone, "hydra.sweep.dir=alone", env=subprocess_env, cwd=tmp_path).returncode
        == 0
    )
    for path in (tmp_path / "alone").glob("*/predictions.csv"):
        assert path.read_bytes() == (tmp_path / "sweep" / path.parent.name / path.name).read_bytes()
    again = run_command("train", *SWEEP, *few, env=subprocess_env, cwd=tmp_path)
    assert (again.returncode, "submitted" in again.stderr) == (0, False)
