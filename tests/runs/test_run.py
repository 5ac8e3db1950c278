"""One run: its folder, its record, and what happens when it cannot be done or breaks."""

import csv
import errno
import json
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from tests.conftest import SMALL
from xray_tl.config.identity import config_hash, run_name
from xray_tl.data.splits import Batch
from xray_tl.errors import InputError, RunError
from xray_tl.runs.run import record_refusal, release_memory, run
from xray_tl.store.locks import take
from xray_tl.store.records import PREDICTIONS, read_record, write_record
from xray_tl.store.run_folder import BEST, LAST, load_config
from xray_tl.study.analysis import analyse
from xray_tl.training.task import TransferTask

Tiny = Callable[..., DictConfig]
TRAINED_HEAD = ("mode=frozen", "mode.head=trained")
"""The quickest run that trains."""


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / PREDICTIONS).open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_the_folder_of_the_contract(tiny: Tiny, tmp_path: Path) -> None:
    cfg = tiny(*TRAINED_HEAD, "logger=tensorboard", "seed=3", "data.train_seed=7")
    record = run(cfg, tmp_path)
    assert read_record(tmp_path) == json.loads((tmp_path / "record.json").read_text())
    contract = {
        "schema",
        "status",
        "error",
        "began",
        "arm",
        "arm_file",
        "planned",
        "seed",
        "data_seed",
        "train_seed",
        "weights_seed",
        "config_hash",
        "data_hash",
        "weights",
        "parameters",
        "best",
        "head",
        "frozen",
        "threshold",
        "metrics",
        "history",
        "ceiling",
        "time",
        "environment",
    }
    stored = read_record(tmp_path)
    assert stored is not None
    assert contract <= set(stored)
    assert (stored["seed"], stored["data_seed"], stored["train_seed"]) == (3, 0, 7)
    assert stored["config_hash"] == config_hash(cfg) == config_hash(load_config(tmp_path))
    assert set(record["metrics"]) == {"train", "val", "test"}
    assert list(record["metrics"]["test"]) == [
        "loss", "accuracy", "accuracy_at_threshold", "auroc", "average_precision",
        "sensitivity", "specificity", "brier", "ece",
    ]  # fmt: skip
    assert [entry["epoch"] for entry in record["history"]] == [0, 1]
    assert set(record["time"]) == {"setup_s", "fit_s", "test_s", "images_per_s", "feature_cache"}
    rows = _rows(tmp_path)
    assert list(rows[0]) == ["split", "case", "target", "truth", "logit", "probability", "ideal_logit"]
    assert [(row["split"], int(row["case"])) for row in rows] == [
        (split, case) for split, count in (("train", 24), ("val", 16), ("test", 16)) for case in range(count)
    ]
    assert len(list((tmp_path / "tensorboard").glob("events.*"))) == 1
    assert not (tmp_path / LAST).exists()


def test_the_record_proves_freezing(tiny: Tiny, tmp_path: Path) -> None:
    frozen = run(tiny("mode=frozen"), tmp_path / "frozen")
    assert frozen["frozen"]["sha256_before"] == frozen["frozen"]["sha256_after"] is not None
    assert frozen["frozen"]["tensors"] == 120  # ResNet18's trunk: 60 parameters, 60 BatchNorm buffers
    assert frozen["parameters"]["trainable"] == 513
    finetuned = run(tiny("mode=finetune"), tmp_path / "finetuned")
    assert finetuned["frozen"] == {"tensors": 0, "sha256_before": None, "sha256_after": None}
    assert finetuned["parameters"]["trainable"] == finetuned["parameters"]["total"]


@pytest.mark.parametrize(("head", "moment"), [("trained", "on_train_start"), ("solved", "on_fit_start")])
def test_the_proof_fails_when_a_frozen_tensor_moves(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, moment: str
) -> None:
    def leak(self: TransferTask) -> None:
        self.classifier.backbone.get_buffer("net.bn1.running_mean").add_(1e-3)

    monkeypatch.setattr(TransferTask, moment, leak)
    with pytest.raises(RunError, match="a frozen tensor changed"):
        run(tiny("mode=frozen", f"mode.head={head}"), tmp_path)
    record = read_record(tmp_path)
    assert record is not None
    assert record["status"] == "failed"
    assert record["frozen"]["sha256_before"] != record["frozen"]["sha256_after"]


def test_seed_moves_training_only(tiny: Tiny, tmp_path: Path) -> None:
    first, second = (run(tiny(f"seed={seed}", *TRAINED_HEAD), tmp_path / str(seed)) for seed in (0, 1))
    assert first["data_hash"] == second["data_hash"]
    assert first["weights"] == second["weights"]
    assert first["metrics"]["test"] != second["metrics"]["test"]


def test_runs_that_differ_in_the_seed_of_their_weights_are_readers_of_one_arm(
    tiny: Tiny, tmp_path: Path
) -> None:
    records = []
    for number in range(3):
        for mode in ("frozen", "finetune"):
            cfg = tiny(*SMALL, f"mode={mode}", f"weights.seed={number}", "trainer.max_epochs=1")
            records.append(run(cfg, tmp_path / run_name(cfg)))
    assert [record["weights_seed"] for record in records] == [0, 0, 1, 1, 2, 2]
    assert len({record["weights"]["sha256"] for record in records}) == 3
    done = analyse(tmp_path)
    assert [arm.readers for arm in done.arms] == [["0", "1", "2"]] * 2, "solved or trained"
    (pair,) = done.comparison.analysis.pairs.values()
    assert pair.readers == 3


def test_published_weights_have_no_seed(tiny: Tiny, tmp_path: Path) -> None:
    """Those of this network come in a package."""
    options = ("model=efficientnet_lite0", "weights=imagenet", "mode=frozen")
    record = run(tiny(*options, "weights.seed=4"), tmp_path)
    assert record["weights_seed"] is None
    assert run(tiny(*options), tmp_path) == read_record(tmp_path), "the same run, complete"


def test_train_seed_leaves_the_test_set_alone(tiny: Tiny, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    both = zip(folders, ([], ["data.train_seed=5"]), strict=True)
    records = [run(tiny("mode=frozen", *overrides), folder) for folder, overrides in both]
    assert records[0]["data"]["test_set"] == records[1]["data"]["test_set"]
    assert records[0]["data_hash"] != records[1]["data_hash"]
    tables = [_rows(folder) for folder in folders]
    truths = [
        {s: [r["truth"] for r in table if r["split"] == s] for s in ("train", "test")} for table in tables
    ]
    assert truths[0]["test"] == truths[1]["test"]
    assert truths[0]["train"] != truths[1]["train"]


BAD = [
    ("model.name=resnet99", r"model\.name=resnet99.*resnet18"),
    ("mode.name=half", r"mode\.name=half is unknown: choose one of bias, discriminative, finetune"),
    ("data.finding=fracture", r"data\.finding=fracture.*nodule.*opacity"),
    ("data.image_size=100", r"data\.image_size=100.*96.*112"),
    ("data.image_size=16", r"data\.image_size=16"),
    ("data.n_train=0", r"data\.n_train"),
    ("data.n_test=-4", r"data\.n_test"),
    ("data.n_val=1", r"val split has images of one class only.*data\.n_val=1"),
    ("data.prevalence=1.5", r"data\.prevalence"),
    ("data.batch_size=0", r"data\.batch_size=0 is not valid: choose at least 3"),
    ("trainer.max_epochs=0", r"trainer\.max_epochs=0"),
    ("trainer.accelerator=tpu", r"trainer\.accelerator=tpu.*auto, cuda, mps, cpu"),
    ("optim.lr=-1", r"optim\.lr=-1"),
    ("seed=-1", r"seed=-1"),
    ("model.stem=sum", r"model\.stem=sum.*repeat, convert"),
    ("mode.layer_decay=2", r"mode\.layer_decay=2.*\(0, 1\]"),
]


@pytest.mark.parametrize(("override", "message"), BAD)
def test_bad_input_is_named_and_leaves_nothing(
    tiny: Tiny, tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        run(tiny(override), tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {".lock.rw"}


def test_stages_out_of_range(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mode\.trainable_stages=9.*stages 1 to 5"):
        run(tiny("mode=partial", "mode.trainable_stages=9"), tmp_path)


def test_a_mode_names_the_option_it_needs(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mode=partial needs a value: mode\.trainable_stages"):
        run(tiny("mode=partial", "mode.trainable_stages=null"), tmp_path)


def test_a_missing_name_is_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.name must be given"):
        run(tiny("model=timm"), tmp_path)


def test_a_loss_that_is_no_number_fails_the_run_with_its_epoch(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TransferTask.training_step

    def broken(self: TransferTask, batch: Batch, index: int) -> torch.Tensor:
        return step(self, batch, index) * (float("nan") if self.current_epoch == 1 else 1)

    monkeypatch.setattr(TransferTask, "training_step", broken)
    with pytest.raises(RunError, match=r"nan in epoch 1.*optim\.lr"):
        run(tiny(), tmp_path)
    record = read_record(tmp_path)
    assert record is not None
    assert record["status"] == "failed"
    assert "epoch 1" in record["error"]
    assert [entry["epoch"] for entry in record["history"]] == [0]
    monkeypatch.setattr(TransferTask, "training_step", step)
    assert run(tiny(), tmp_path)["status"] == "complete", "a failed run is tried again"


def test_a_full_disk_fails_the_run_in_one_line(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(checkpoint: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(RunError, match="no space left"):
            run(tiny(), tmp_path)
    assert not list((tmp_path / BEST.parent).iterdir())
    record = read_record(tmp_path)
    assert record is not None
    assert record["status"] == "failed"
    assert run(tiny(), tmp_path)["status"] == "complete"


def test_scores_that_are_no_numbers_fail_the_run_too(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's update can diverge after its loss was still finite."""

    def diverge(self: TransferTask, *args: object) -> None:
        torch.nn.init.constant_(self.classifier.head.weight, float("nan"))

    monkeypatch.setattr(TransferTask, "on_train_batch_end", diverge)
    with pytest.raises(RunError, match=r"validation scores became nan in epoch 0"):
        run(tiny("trainer.max_epochs=1", "data.n_train=8"), tmp_path)


def test_bf16_keeps_scores_in_full_precision(tiny: Tiny, tmp_path: Path) -> None:
    record = run(tiny("trainer.precision=bf16", "data.n_test=64"), tmp_path)
    assert record["environment"]["precision"] == "bf16-mixed"
    logits = [float(row["logit"]) for row in _rows(tmp_path) if row["split"] == "test"]
    rounded = torch.tensor(logits).bfloat16().double()
    assert any(float(short) != logit for short, logit in zip(rounded, logits, strict=True))
    assert len(set(logits)) == 64, "rounded scores would tie"


def test_a_finished_run_frees_its_network(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[weakref.ref[TransferTask]] = []
    monkeypatch.setattr(TransferTask, "on_fit_end", lambda self: tasks.append(weakref.ref(self)))
    run(tiny(*TRAINED_HEAD), tmp_path)
    release_memory()
    assert [task() for task in tasks] == [None]


def test_out_of_memory_names_what_to_lower(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def oom(self: TransferTask, batch: object, index: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(TransferTask, "training_step", oom)
    with pytest.raises(RunError, match=r"lower data\.batch_size=8 or data\.image_size=32"):
        run(tiny(), tmp_path)


def test_a_folder_in_use_is_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    with (
        take(tmp_path / ".lock", "", wait=False),
        pytest.raises(InputError, match="in use by another process"),
    ):
        run(tiny(), tmp_path)


def test_a_refusal_is_never_recorded_over_another_run(tiny: Tiny, tmp_path: Path) -> None:
    done = run(tiny("mode=frozen"), tmp_path)
    record_refusal(tiny("seed=5"), tmp_path, InputError("refused"))
    record_refusal(tiny("mode=frozen"), tmp_path, InputError("what comes after it was refused"))
    with take(tmp_path / ".lock", "", wait=False):
        record_refusal(tiny("mode=frozen"), tmp_path, InputError("refused"))
    stored = read_record(tmp_path)
    assert stored is not None
    assert (stored["status"], stored["seed"]) == ("complete", done["seed"])


def test_a_folder_of_another_run_is_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny("mode=frozen"), tmp_path)
    before = _contents(tmp_path)
    with pytest.raises(InputError, match="another configuration"):
        run(tiny("mode=frozen", "data.seed=1"), tmp_path)
    assert _contents(tmp_path) == before


def _contents(folder: Path) -> dict[Path, bytes]:
    """Read every file of a folder but those of its lock."""
    files = (path for path in folder.rglob("*") if ".lock.rw" not in path.parts)
    return {path: path.read_bytes() for path in files if path.is_file()}


def test_a_record_from_a_newer_version_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema": 99, "status": "complete"}')
    with pytest.raises(InputError, match="schema 99, newer"):
        run(tiny(), tmp_path)


def test_a_data_set_too_large_to_keep_gives_the_same_result(
    tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = run(tiny(), tmp_path / "kept")
    rendered = run(tiny("data.memory_limit_gb=0", "data.num_workers=0"), tmp_path / "rendered")
    assert "memory_limit_gb" in caplog.text
    assert kept["metrics"] == rendered["metrics"]


def test_a_run_keeps_the_questions_it_was_for_and_takes_new_ones_while_it_has_no_result(
    tiny: Tiny, tmp_path: Path
) -> None:
    first, second = (tiny("mode=frozen", f"planned={{q:[a - {other}]}}") for other in "bc")
    kept = run(first, tmp_path)
    assert kept["planned"]["families"]["q"][0]["contrast"] == "a - b"
    assert run(second, tmp_path)["planned"] == kept["planned"], "complete: what it was for is past changing"
    write_record(tmp_path, {**kept, "status": "interrupted"})
    assert run(second, tmp_path)["planned"]["families"]["q"][0]["contrast"] == "a - c"


def test_a_refusal_of_questions_leaves_no_half_record(tiny: Tiny, tmp_path: Path) -> None:
    cfg = tiny("planned={q:[a]}")
    with pytest.raises(InputError, match="does not sum to 0") as refused:
        run(cfg, tmp_path)
    record_refusal(cfg, tmp_path, refused.value)
    assert read_record(tmp_path) is None
