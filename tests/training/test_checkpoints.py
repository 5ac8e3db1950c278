"""Checkpoints: what they refuse."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from xray_tl.config import typed
from xray_tl.errors import InputError
from xray_tl.runs.parts import assemble
from xray_tl.runs.run import run
from xray_tl.store.run_folder import BEST
from xray_tl.training.checkpoints import check_provenance, load_weights, read_checkpoint


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_is_never_executed(tmp_path: Path) -> None:
    torch.save({"schema": 1, "bomb": _Bomb(tmp_path / "exploded")}, tmp_path / "best.ckpt")
    (tmp_path / "raw.ckpt").write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded"), protocol=2))
    for name in ("best.ckpt", "raw.ckpt"):
        with pytest.raises(InputError, match=rf"{name} cannot be read"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_truncated_missing_foreign_and_newer(tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(path)
    torch.save({"schema": 1, "state_dict": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for size in (0, 2000, len(whole)):  # whole, but for keys that a run's checkpoint has
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read: "):
            read_checkpoint(path)
    torch.save({"schema": 99}, path)
    with pytest.raises(InputError, match="newer"):
        read_checkpoint(path)


def test_a_checkpoint_names_the_weights_it_stands_on(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    record = run(tiny("mode=frozen"), tmp_path)
    checkpoint = read_checkpoint(tmp_path / BEST)
    check_provenance(checkpoint, record["weights"]["sha256"], tmp_path / BEST)
    with pytest.raises(InputError, match="stands on weights"):
        check_provenance(checkpoint, "0" * 64, tmp_path / BEST)
    trained = {name for name in checkpoint["state_dict"] if not name.startswith("classifier.backbone.")}
    assert {"classifier.head.weight", "classifier.head.bias", "classifier.standardiser.mean"} <= trained


def test_what_an_earlier_schedule_never_opened_is_filled_in(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """As `gradual` of earlier versions, which opened a stage less by the same epoch and stored only that."""
    run(tiny("mode=partial", "mode.trainable_stages=1"), tmp_path)
    stored = read_checkpoint(tmp_path / BEST)
    narrow, wide = (
        assemble(typed(tiny("mode=partial", f"mode.trainable_stages={count}"))).task for count in (1, 2)
    )
    for task in (narrow, wide):
        load_weights(task, dict(stored), tmp_path / BEST)
    expected = narrow.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in wide.state_dict().items())
    damaged = {**stored, "holds_all": True}
    with pytest.raises(InputError, match=r"does not fit this network: .*Missing key"):
        load_weights(wide, damaged, tmp_path / BEST)
