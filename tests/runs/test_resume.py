"""A run that dies at any moment and is started again ends bitwise where the uninterrupted one ends."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from tests.conftest import SMALL, TINY, compose_config
from xray_tl.config.cli import INTERRUPTED, clean_exit
from xray_tl.data.datamodule import XrayDataModule
from xray_tl.runs import run as run_module
from xray_tl.runs.run import run
from xray_tl.store.records import PREDICTIONS, read_record
from xray_tl.store.run_folder import BEST, CONFIG, LAST
from xray_tl.training.task import TransferTask

Tiny = Callable[..., DictConfig]
TRAINED_HEAD = ("mode=frozen", "mode.head=trained")


class Killed(BaseException):
    """Stands for a process that dies: nothing in the project handles it."""


def _die_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int) -> None:
    original, count = getattr(owner, name), iter(range(1, 10_000))

    def mortal(*args: object, **kwargs: object) -> object:
        if next(count) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, mortal)


def _result(folder: Path) -> tuple[bytes, list[object]]:
    record = read_record(folder)
    assert record is not None
    assert record["status"] == "complete"
    told = ("metrics", "history", "frozen", "best", "head")
    return (folder / PREDICTIONS).read_bytes(), [record[key] for key in told]


# Three steps an epoch, three epochs: in the first, at the end of the second, in the third.
TRAINING = [(TransferTask, "training_step", call) for call in (1, 6, 8)]
# In validation, at a checkpoint, while testing, while the record is written.
AFTER = [
    (TransferTask, "validation_step", 3),
    (TransferTask, "on_save_checkpoint", 3),
    (TransferTask, "predict_step", 2),
    (run_module, "write_record", 1),
]


# EfficientNet-B0 has dropout and stochastic depth, so that its resumed epochs must draw the same numbers.
@pytest.mark.parametrize(
    ("model", "mode", "sampling", "moments"),
    [
        (SMALL, "finetune", "null", [*TRAINING, *AFTER]),
        (("model=resnet18", "mode.head=trained"), "frozen", "balanced", TRAINING[1:2]),
        (SMALL, "gradual", "null", TRAINING[1:]),
        (("model=efficientnet_b0",), "lp_ft", "null", TRAINING[1:]),
        ((*SMALL, "mode.stage=2"), "surgical", "null", TRAINING[1:2]),
        (SMALL, "norm", "null", TRAINING[1:2]),
        ((*SMALL, "mode.lora_rank=2"), "lora", "null", TRAINING[1:2]),
    ],
)
def test_resumed_run_is_bitwise_the_uninterrupted_one(
    tiny: Tiny,
    tmp_path: Path,
    model: tuple[str, ...],
    mode: str,
    sampling: str,
    moments: list[tuple[object, str, int]],
) -> None:
    cfg = tiny(*model, f"mode={mode}", f"optim.sampling={sampling}", "trainer.max_epochs=3")
    run(cfg, tmp_path / "whole")
    for number, (owner, name, call) in enumerate(moments):
        folder = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            _die_at(patch, owner, name, call)
            with pytest.raises(Killed):
                run(cfg, folder)
        assert read_record(folder) is None
        folder = folder.rename(tmp_path / f"moved{number}")
        run(cfg, folder)
        assert _result(folder) == _result(tmp_path / "whole"), (owner, name, call)
        assert not (folder / LAST).exists()


def test_early_stopping_stays_stopped(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = ("trainer.early_stopping=1", "optim.lr=1e-9", "mode.head_lr=1e-9")
    cfg = tiny(*SMALL, "trainer.max_epochs=9", *still)
    whole = run(cfg, tmp_path / "whole")
    assert len(whole["history"]) < 9, (
        "early stopping must have stopped this run for the test to mean anything"
    )
    _die_at(monkeypatch, TransferTask, "predict_step", 1)
    with pytest.raises(Killed):
        run(cfg, tmp_path / "killed")
    assert run(cfg, tmp_path / "killed")["history"] == whole["history"]


def test_complete_run_is_left_alone(tiny: Tiny, tmp_path: Path) -> None:
    first = run(tiny(), tmp_path)
    written = (tmp_path / "record.json").stat().st_mtime_ns
    assert run(tiny("data.num_workers=1"), tmp_path)["metrics"] == first["metrics"]
    assert (tmp_path / "record.json").stat().st_mtime_ns == written


def test_the_same_command_twice_gives_the_same_predictions(tiny: Tiny, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        torch.rand(7)  # whatever state the global generator is in
        run(tiny("model=vgg16", *TRAINED_HEAD, "data.n_train=8"), tmp_path / folder)
    assert _result(tmp_path / "a") == _result(tmp_path / "b")


def test_disk_after_a_finished_run(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny("mode=frozen"), tmp_path / "frozen")
    run(tiny("mode=finetune"), tmp_path / "finetune")
    files = {kind: list((tmp_path / kind / BEST.parent).iterdir()) for kind in ("frozen", "finetune")}
    assert (
        [path.name for path in files["frozen"]] == [path.name for path in files["finetune"]] == ["best.ckpt"]
    )
    assert files["frozen"][0].stat().st_size < 5e6
    weights = torch.load(files["finetune"][0], weights_only=True)
    assert "optimizer_states" not in weights
    assert files["finetune"][0].stat().st_size < 1.05 * sum(
        t.numel() * 4 for t in weights["state_dict"].values()
    )


MOMENTS = [(XrayDataModule, "setup"), (TransferTask, "training_step"), (TransferTask, "predict_step")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("owner", "step"), MOMENTS[1:])
def test_signals_leave_an_interrupted_run(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    owner: type,
    step: str,
    number: signal.Signals,
) -> None:
    # a shell that starts the tests in the background has SIGINT ignored
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    with monkeypatch.context() as patch:
        _send_at(patch, owner, step, number)
        with pytest.raises(KeyboardInterrupt):
            run(tiny(*TRAINED_HEAD), tmp_path)
    record = read_record(tmp_path)
    assert record is not None
    assert record["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run(tiny(*TRAINED_HEAD), tmp_path)["status"] == "complete"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_what_a_scheduler_sends_interrupts_a_run_at_any_moment(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # where Lightning would write a checkpoint of its own on SIGUSR1
    monkeypatch.setenv("SLURM_NTASKS", "1")
    cfg = tiny(*TRAINED_HEAD)
    run(cfg, tmp_path / "whole")
    for place, (owner, step) in enumerate(MOMENTS):
        folder = tmp_path / str(place)
        with monkeypatch.context() as patch:
            _send_at(patch, owner, step, number, first=4 if step == "training_step" else 1)
            with pytest.raises(SystemExit) as stop, clean_exit("it goes on"):
                run(cfg, folder)
        assert stop.value.code == INTERRUPTED
        assert capsys.readouterr().err.splitlines()[-1] == "it goes on"
        record = read_record(folder)
        assert record is not None
        assert record["status"] == "interrupted"
        assert (folder / LAST).is_file() == (step != "setup"), "the first epoch had ended"
        assert signal.getsignal(number) == signal.SIG_DFL
        run(cfg, folder)
        assert _result(folder) == _result(tmp_path / "whole")
        assert not list(folder.rglob("hpc_ckpt*"))


@pytest.mark.parametrize("step", ["training_step", "predict_step"])
def test_a_handler_of_sigterm_that_was_there_is_kept(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, step: str
) -> None:
    """In a job that Slurm preempts the signal means nothing: a run that ended would not be queued again."""
    received: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, previous))
    cfg = tiny(*TRAINED_HEAD)
    run(cfg, tmp_path / "whole")
    _send_at(monkeypatch, TransferTask, step, signal.SIGTERM, first=2)
    assert run(cfg, tmp_path / "told")["status"] == "complete"
    assert set(received) == {signal.SIGTERM}
    assert _result(tmp_path / "told") == _result(tmp_path / "whole")


def _send_at(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, number: signal.Signals, first: int = 1
) -> None:
    """Send a signal at every call from the `first` on."""
    original, count = getattr(owner, name), iter(range(1, 10_000))

    def signalled(*args: object, **kwargs: object) -> object:
        if next(count) >= first:
            signal.raise_signal(number)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, signalled)


LONGER = (*TINY, *SMALL, "trainer.max_epochs=8", "data.n_train=96")


def _start(folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "xray_tl.train", *LONGER, f"hydra.run.dir={folder}"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # a shell that starts the tests in the background has SIGINT ignored, and so have its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for(process: subprocess.Popen[bytes], happened: Callable[[], bool]) -> None:
    while not happened():
        assert process.poll() is None, "the run must still be going on"
        time.sleep(0.02)


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a run; tell whether that came in time."""
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Run once without interruption: its folder, and how many seconds it took."""
    folder, start = tmp_path_factory.mktemp("whole"), time.monotonic()
    run(compose_config(*LONGER), folder)
    return folder, time.monotonic() - start


def _goes_on(folder: Path, whole: Path) -> None:
    """Go on with a stopped run in this process: it ends as if nothing had happened."""
    run(compose_config(*LONGER), folder)
    assert _result(folder) == _result(whole)
    assert not list(folder.rglob("*.partial-*"))


def test_a_run_that_is_stopped_in_every_way_goes_on(
    whole: tuple[Path, float], tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    """By a scheduler before its first epoch, by Ctrl-C after it, and killed after another."""
    last = tmp_path / LAST
    for number, sign in ((signal.SIGUSR1, tmp_path / CONFIG), (signal.SIGINT, last)):
        process = _start(tmp_path, subprocess_env)
        _wait_for(process, sign.is_file)
        process.send_signal(number)
        stderr = process.communicate(timeout=60)[1].decode()
        assert process.returncode == INTERRUPTED, stderr
        assert "Traceback" not in stderr
        assert json.loads((tmp_path / "record.json").read_text())["status"] == "interrupted"
    epoch = last.stat().st_mtime_ns
    process = _start(tmp_path, subprocess_env)
    _wait_for(process, lambda: last.stat().st_mtime_ns > epoch)
    assert _kill(process)
    _goes_on(tmp_path, whole[0])


@pytest.mark.slow
def test_kill_and_resume_at_ten_moments(
    whole: tuple[Path, float], tmp_path: Path, subprocess_env: dict[str, str]
) -> None:
    moments, in_time = random.Random(0), 0
    for number in range(14):  # the machine's pace changes: some kills may come too late to count
        folder = tmp_path / str(number)
        process = _start(folder, subprocess_env)
        _wait_for(process, (folder / CONFIG).is_file)
        time.sleep(whole[1] * moments.uniform(0.0, 0.8))
        in_time += _kill(process)
        _goes_on(folder, whole[0])
        if in_time == 10:
            return
    pytest.fail(f"only {in_time} of 14 kills came in time")
