"""A run is one process, whatever a cluster's scheduler has put into its environment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS

Tiny = Callable[..., DictConfig]
TRAINED_HEAD = ("mode=frozen", "mode.head=trained")

SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "seeds", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize("environment", [SLURM, TORCHRUN], ids=["Slurm", "torchrun"])
def test_the_second_task_of_a_node_writes_a_whole_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning reads it when it is imported
    assert run(tiny(*TRAINED_HEAD, "logger=tensorboard"), tmp_path)["status"] == "complete"
    (events,) = (tmp_path / "tensorboard").glob("events.*")
    assert b"val/auroc" in events.read_bytes()
    assert b"_hparams_" in events.read_bytes()


def test_beside_srun_a_run_says_nothing(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning warns of an `srun` on the PATH that did not start it; a warning fails a test."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    run(tiny(*TRAINED_HEAD, "trainer.max_epochs=1"), tmp_path / "run")


def test_what_lightning_s_requeue_left_is_never_loaded(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within Slurm Lightning predicts with a run's `hpc_ckpt`, of whatever epoch, unless told otherwise."""
    cfg = tiny(*TRAINED_HEAD)
    run(cfg, tmp_path / "whole")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "run"
    folder.mkdir()
    leftover = folder / "hpc_ckpt_1.ckpt"
    leftover.write_bytes(b"of another epoch")
    run(cfg, folder)
    assert not leftover.exists()
    assert (folder / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()
    leftover.write_bytes(b"of another epoch")
    assert "came out exactly" in evaluate(OmegaConf.create({"name": None}), folder, [])
