"""A finished run tested again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from omegaconf import DictConfig, OmegaConf

from tests.conftest import compose_config
from xray_tl.config import typed
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.errors import InputError, RunError
from xray_tl.observers import difficulty
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.files import write_text
from xray_tl.store.records import PREDICTIONS, read_record
from xray_tl.store.run_folder import BEST


def _evaluate(folder: Path, *overrides: str, name: str | None = None) -> str:
    cfg = compose_config(f"run={folder}", *overrides, name="evaluate")
    cfg.name = name
    return evaluate(cfg, folder, list(overrides))


@pytest.fixture(scope="module", params=["frozen", "finetune", "gradual", "lora"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny run of each kind of checkpoint."""
    from tests.conftest import TINY

    folder: Path = tmp_path_factory.mktemp("run")
    run(compose_config(*TINY, f"mode={request.param}"), folder)
    return folder


def test_recorded_metrics_come_out_exactly(finished: Path) -> None:
    assert "came out exactly" in _evaluate(finished)
    assert not (finished / "evaluations").exists()


def test_a_run_of_an_earlier_version_comes_out_exactly(finished: Path) -> None:
    path = finished / ".hydra" / "config.yaml"
    now = path.read_text()
    earlier = OmegaConf.load(path)
    del earlier.optim["sampling"]
    OmegaConf.save(earlier, path)
    try:
        assert "came out exactly" in _evaluate(finished)
    finally:
        path.write_text(now)


def test_shifted_data_go_to_a_new_folder_each_time(finished: Path) -> None:
    _evaluate(finished, "data.acquisition.kerma=0.25")
    _evaluate(finished, "data.acquisition.kerma=0.25")
    folder = finished / "evaluations"
    names = ["data.acquisition.kerma=0.25", "data.acquisition.kerma=0.25-2"]
    assert sorted(path.name for path in folder.iterdir()) == names
    records = [read_record(folder / name) for name in names]
    assert records[0] is not None
    assert records[1] is not None
    assert records[0]["metrics"] == records[1]["metrics"]
    own = read_record(finished)
    assert own is not None
    assert records[0]["data_hash"] != own["data_hash"]
    assert records[0]["data"]["test_set"] == records[1]["data"]["test_set"] != own["data"]["test_set"]
    assert records[0]["metrics"]["test"] != own["metrics"]["test"]


def test_shifted_data_have_their_own_ceiling(finished: Path) -> None:
    text = _evaluate(finished, "data.d0=2", "data.flip_negative=0.2", name="harder")
    own, shifted = read_record(finished), read_record(finished / "evaluations" / "harder")
    assert own is not None
    assert shifted is not None
    assert shifted["ceiling"]["auroc"] < own["ceiling"]["auroc"] - 0.1
    row = next(line for line in text.splitlines() if line.startswith("ceiling_auroc"))
    assert row.split()[1:] == [f"{record['ceiling']['auroc']:.4f}" for record in (own, shifted)]


@pytest.mark.parametrize("shift", ["low_dose", "small_findings"])
def test_a_named_shift_is_its_options(finished: Path, shift: str) -> None:
    options = {"low_dose": "data.acquisition.kerma=0.25", "small_findings": "data.radius_scale=0.6"}
    _evaluate(finished, f"shift={shift}", name=f"named {shift}")
    _evaluate(finished, options[shift], name=f"spelt {shift}")
    records = [read_record(finished / "evaluations" / name) for name in (f"named-{shift}", f"spelt-{shift}")]
    named, spelt = (record for record in records if record is not None)
    assert named["data"] == {**spelt["data"], "shift": shift}
    assert named["data_hash"] == spelt["data_hash"]
    assert named["metrics"] == spelt["metrics"]


def test_a_shift_keeps_the_d0_that_a_target_found(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difficulty, "IMAGES", 100)  # how well a target is met is tested elsewhere
    record = run(tiny("data.finding=nodule", "data.target_auroc=0.8"), tmp_path)
    _evaluate(tmp_path, "shift=small_findings", name="small")
    shifted = read_record(tmp_path / "evaluations" / "small")
    assert shifted is not None
    assert record["data"]["d0"] == shifted["data"]["d0"] > 0
    _evaluate(tmp_path, "data.target_auroc=0.9", name="easier")
    easier = read_record(tmp_path / "evaluations" / "easier")
    assert easier is not None
    assert easier["data"]["d0"] > record["data"]["d0"]


def test_another_difficulty_leaves_nothing_of_the_run_s(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run(tiny("data.finding=opacity", "difficulty=hard"), tmp_path)
    for level in ("easy", "own"):
        _evaluate(tmp_path, f"difficulty={level}", name=level)
        record = read_record(tmp_path / "evaluations" / level)
        assert record is not None
        fresh = XrayDataModule(typed(tiny(f"difficulty={level}")).data, seed=0)
        assert record["data_hash"] == fresh.data_hash()


def test_a_second_shift_is_refused(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    run(tiny("shift=no_grid"), tmp_path)
    for other in ("none", "low_dose"):
        with pytest.raises(InputError, match=rf"shift={other}: the run was made with shift=no_grid"):
            _evaluate(tmp_path, f"shift={other}")


def test_an_evaluation_leaves_the_run_alone(finished: Path) -> None:
    before = (finished / "record.json").read_bytes(), (finished / PREDICTIONS).read_bytes()
    _evaluate(finished, "data.seed=2", name="again")
    assert ((finished / "record.json").read_bytes(), (finished / PREDICTIONS).read_bytes()) == before


def test_overrides_change_the_run_not_the_defaults(finished: Path) -> None:
    """The run's 32 px and 16 test images stay; the group file's 128 px and 400 do not come in."""
    _evaluate(finished, "data.seed=9", name="other draw")
    table = (finished / "evaluations" / "other-draw" / PREDICTIONS).read_text().splitlines()
    assert len(table) == 1 + 16


def test_a_changed_checkpoint_is_noticed(finished: Path) -> None:
    original = (finished / BEST).read_bytes()
    checkpoint = torch.load(finished / BEST, weights_only=True)
    checkpoint["state_dict"]["classifier.head.bias"] += 1
    torch.save(checkpoint, finished / BEST)
    with pytest.raises(RunError, match="differ from the record"):
        _evaluate(finished)
    (finished / BEST).write_bytes(original)


def test_a_fine_tuned_run_needs_its_source_weights_no_more(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    net = torchvision.models.resnet18()
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    weights = ("weights=file", f"weights.path={tmp_path / 'weights.pt'}")
    for mode in ("finetune", "frozen"):
        run(tiny(*weights, f"mode={mode}"), tmp_path / mode)
    (tmp_path / "weights.pt").unlink()
    assert "came out exactly" in _evaluate(tmp_path / "finetune")
    with pytest.raises(InputError, match=r"weights\.path"):
        _evaluate(tmp_path / "frozen")


def test_only_complete_runs(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run's folder"):
        _evaluate(tmp_path)
    write_text(tmp_path / ".hydra" / "config.yaml", "seed: 0\n")
    with pytest.raises(InputError, match="has no record"):
        _evaluate(tmp_path)


def test_a_run_is_tested_on_named_shifts_too(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    record = run(tiny("mode=frozen", "shifts=[low_dose,prevalence]"), tmp_path / "run")
    folders = sorted(path.name for path in (tmp_path / "run" / "evaluations").iterdir())
    assert folders == ["shift=low_dose", "shift=prevalence"]
    (tmp_path / "run" / "evaluations" / "shift=low_dose" / "record.json").unlink()  # as if killed there
    again = run(tiny("mode=frozen", "shifts=[low_dose,blur]"), tmp_path / "run")
    assert again["metrics"] == record["metrics"]
    folders = sorted(path.name for path in (tmp_path / "run" / "evaluations").iterdir())
    assert folders == ["shift=blur", "shift=low_dose", "shift=prevalence"]
    with pytest.raises(InputError, match=r"shifts=\['blur'\] is for runs without a shift of their own"):
        run(tiny("mode=frozen", "shift=low_dose", "shifts=[blur]"), tmp_path / "other")
    with pytest.raises(InputError, match=r"shifts=\['fog'\]: fog is unknown; choose from blur"):
        run(tiny("mode=frozen", "shifts=[fog]"), tmp_path / "other")
    assert not (tmp_path / "other").exists()
