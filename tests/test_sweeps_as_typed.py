"""Sweeps as typed: what is skipped, tried again, done once, and named."""

from pathlib import Path

import pytest

from tests.commands import run_command
from tests.conftest import TINY

Env = dict[str, str]


def test_a_sweep_s_folder_that_cannot_be_made_is_one_line(subprocess_env: Env, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sweep = ("-m", *TINY, "seed=0,1", "hydra.sweep.dir=file/sweep")
    done = run_command("train", *sweep, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: hydra.sweep.dir=file/sweep/sweep.json cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_a_sweep_goes_on_past_a_difficulty_that_does_not_fit(subprocess_env: Env, tmp_path: Path) -> None:
    sweep = ("difficulty=easy", "data.finding=mass,nodule", "trainer.max_epochs=1", "mode=frozen")
    done = run_command("train", "-m", *TINY, *sweep, "hydra.sweep.dir=out", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 2 runs complete" in done.stdout
    assert "difficulty=easy is not made for data.finding=mass" in done.stderr


def test_sweep_skips_retries_and_names_what_failed(subprocess_env: Env, tmp_path: Path) -> None:
    """One sweep whose second arm cannot be done; the same sweep again, its jobs side by side."""
    sweep = ["-m", "mode=frozen,partial", "seed=0,1", "hydra.sweep.dir=sweep", *TINY]
    first = run_command("train", *sweep, "mode.trainable_stages=9", env=subprocess_env, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    assert "Traceback" not in first.stderr
    assert "1 of 3 runs complete" in first.stdout
    assert first.stderr.count("failed: resnet18-partial-random-s") == 2
    runs = sorted((tmp_path / "sweep").glob("*/record.json"))
    assert [path.parent.name.rsplit("-", 1)[0] for path in runs] == [
        "resnet18-frozen-random-solved",
        *(f"resnet18-partial-random-s{seed}" for seed in (0, 1)),
    ]
    complete = [path for path in runs if "frozen" in path.parent.name]
    written = [path.stat().st_mtime_ns for path in complete]
    parallel = ("hydra/launcher=parallel", "hydra.launcher.jobs=2")
    again = run_command(
        "train", *sweep, "mode.trainable_stages=9", *parallel, env=subprocess_env, cwd=tmp_path
    )
    assert again.returncode == 1
    assert "3 of 3 runs done, 2 of them failed" in again.stderr
    assert again.stderr.count("failed: resnet18-partial-random-s") == 2
    assert again.stderr.count("is complete: nothing to do") == 1
    assert [path.stat().st_mtime_ns for path in complete] == written
    table = (tmp_path / "sweep" / "summary.csv").read_text().splitlines()
    assert len(table) == 4
    assert table[0].startswith(
        "model,mode,weights,seed,data_seed,train_seed,status,test_auroc,test_accuracy,"
    )


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=parallel", "hydra.launcher.jobs=2")])
def test_a_solved_arm_is_done_once_for_all_seeds(
    launcher: tuple[str, ...], subprocess_env: Env, tmp_path: Path
) -> None:
    sweep = ("-m", *TINY, "mode=frozen", "seed=0,1,2", "hydra.sweep.dir=sweep", *launcher)
    done = run_command("train", *sweep, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 runs complete" in done.stdout
    assert "sweep: 1 of 1 runs done" in done.stderr
    assert "is the same run as" not in done.stderr
    (record,) = (tmp_path / "sweep").glob("*/record.json")
    assert record.parent.name.startswith("resnet18-frozen-random-solved-")
