"""What the jobs of a sweep share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import save_file

from xray_tl.config import TrainerConfig, typed
from xray_tl.errors import InputError, RunError
from xray_tl.models.freeze import frozen_sha256
from xray_tl.models.stages import Backbone
from xray_tl.models.trainable import Trainable
from xray_tl.runs import parts as assembly
from xray_tl.runs.run import run

Tiny = Callable[..., DictConfig]


def test_a_run_draws_its_training_images_as_its_configuration_says(tiny: Tiny) -> None:
    rare = ("data.prevalence=0.15", "data.n_train=60", "data.n_val=60", "data.n_test=60")
    share = {}
    for sampling in ("null", "balanced"):
        data = assembly.assemble(typed(tiny(*rare, f"optim.sampling={sampling}"))).data
        share[sampling] = torch.cat([batch.truth for batch in data.train_dataloader()]).mean().item()
    assert share["null"] == pytest.approx(float(data.positives()))
    assert share["null"] < 0.3 < 0.5 - 3 * (0.25 / 60) ** 0.5 + 0.05 < share["balanced"]


def test_a_sweep_hashes_a_shared_trunk_once_a_job_and_notices_what_moves_between(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assembly._untouched.clear()
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "cache"))
    hashed: list[Trainable] = []

    def count(backbone: Backbone, trainable: Trainable) -> tuple[int, str | None]:
        hashed.append(trainable)
        return frozen_sha256(backbone, trainable)

    monkeypatch.setattr("xray_tl.runs.steps.frozen_sha256", count)
    proofs = [run(tiny("mode=frozen", f"seed={seed}"), tmp_path / f"{seed}")["frozen"] for seed in range(3)]
    assert len(hashed) == 1 + 3, "before the first job, and at the end of each"
    assert proofs[0] == proofs[1] == proofs[2]
    other = run(tiny("mode=frozen", "data.seed=1"), tmp_path / "other")["frozen"]
    assert other["sha256_before"] != proofs[0]["sha256_after"], "its BatchNorm statistics are of other images"
    (kept,) = assembly._untouched.values()
    with torch.no_grad():
        next(kept.backbone.parameters()).add_(1)
    kept_before = len(list(tmp_path.glob("cache/features/*.safetensors")))
    with pytest.raises(RunError, match="a frozen tensor changed between two jobs"):
        run(tiny("mode=frozen", "data.seed=1", "seed=1", "data.n_test=20"), tmp_path / "uncached")
    assert len(list(tmp_path.glob("cache/features/*.safetensors"))) == kept_before
    run(tiny("mode=frozen", "data.seed=1", "seed=3"), tmp_path / "anew")
    (kept,) = assembly._untouched.values()
    with torch.no_grad():
        next(kept.backbone.parameters()).add_(1)
    with pytest.raises(RunError, match="a frozen tensor changed in training"):
        run(tiny("mode=frozen", "data.seed=1", "seed=1"), tmp_path / "moved")
    assert run(tiny("mode=frozen", "data.seed=1", "seed=2"), tmp_path / "next")["frozen"] == other, (
        "made anew"
    )


def test_jobs_that_source_weights_are_not_made_alike_for_share_no_trunk(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job gets may not follow from the job before it."""
    assembly._untouched.clear()
    trunk = assembly.assemble(typed(tiny("mode=frozen"))).task.classifier.backbone.net.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in trunk.items()}, tmp_path / "x.safetensors")
    made_in: list[str] = []

    def made(model: object, weights: object, trainer: TrainerConfig, image_size: int) -> Path:
        made_in.append(trainer.precision)
        return tmp_path / "x.safetensors"

    monkeypatch.setattr(assembly, "source_weights", made)
    for precision in ("32", "32", "bf16"):
        assembly.assemble(typed(tiny("mode=frozen", "weights=source", f"trainer.precision={precision}")))
    assert made_in == ["32", "bf16"]
    with pytest.raises(InputError, match=r"the source task trains on data\.finding=mass itself"):
        assembly.assemble(
            typed(tiny("mode=frozen", "weights=source", "trainer.precision=bf16", "data.finding=mass"))
        )
