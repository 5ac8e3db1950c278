"""What is measured while a run trains."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from xray_tl.data.splits import Batch
from xray_tl.training import callbacks
from xray_tl.training.callbacks import Throughput


@pytest.mark.parametrize(("device", "waits"), [("cuda", True), ("cpu", False)])
def test_the_clock_stops_when_the_device_has_done_an_epoch(
    device: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def wait(_: torch.device) -> None:
        now[0] += 3.0

    monkeypatch.setattr(torch.accelerator, "synchronize", wait)
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    strategy = SimpleNamespace(root_device=torch.device(device))
    trainer: Any = SimpleNamespace(num_training_batches=3, strategy=strategy)
    task: Any = None
    batch = Batch(torch.zeros(4, 1, 2, 2), torch.zeros(4, 1), torch.arange(4))
    clock = Throughput()
    for _ in range(2):
        clock.on_train_epoch_start(trainer, task)
        for step in range(3):
            clock.on_train_batch_end(trainer, task, None, batch, step)
    assert clock.images == 24
    assert clock.seconds == 2 * 3.0 * waits
