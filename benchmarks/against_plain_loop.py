"""Training through the task and Lightning against a plain PyTorch loop over the same batches.

    python benchmarks/against_plain_loop.py model=resnet50 data.image_size=64 data.n_train=256

Both train the same network from the same state, on the same batches in the same memory format, with fused
AdamW, clipping and the same number of steps; checkpoints, logs and validation are left out of both. Runs
alternate, A B A B; printed are the seconds of each and the median of the pairs' ratios. Quiet the machine.
"""

from __future__ import annotations

import copy
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from xray_tl.config import conf_dir, register_schemas, typed
from xray_tl.config.identity import register_resolvers
from xray_tl.runs.parts import Parts, assemble
from xray_tl.training.callbacks import Throughput
from xray_tl.training.trainer import build_trainer, expected_warnings

PAIRS = 5
DEFAULTS = (
    "weights=random",
    "trainer.max_epochs=1",
    "trainer=cpu",
    "logger=none",
    "data.n_val=16",
    "data.n_test=16",
)


def through_the_task(parts: Parts, folder: Path) -> float:
    """Train one epoch with the project's task; return the seconds of its training steps."""
    throughput = Throughput()
    with expected_warnings():
        trainer = build_trainer(
            parts.settings.trainer, parts.device, parts.precision, folder, None, [throughput]
        )
        trainer.fit(parts.task, datamodule=parts.data)
    return throughput.seconds


def plain_loop(parts: Parts) -> float:
    """Train one epoch as one would write it without a framework; return the seconds of its steps."""
    net, objective = parts.task.classifier.train(), parts.task.objective
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    start = time.perf_counter()
    for batch in parts.data.train_dataloader():
        optimizer.zero_grad(set_to_none=True)
        loss = objective(net(batch.image), batch.truth)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    """Time the pairs and print them."""
    register_schemas()
    register_resolvers()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", overrides=[*DEFAULTS, *sys.argv[1:]])
    parts = assemble(typed(cfg))
    parts.data.setup()
    initial = copy.deepcopy(parts.task.state_dict())
    ratios = []
    print(f"load average before: {os.getloadavg()[0]:.2f}, threads: {torch.get_num_threads()}")
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(PAIRS + 1):
            parts.task.load_state_dict(initial)
            task = through_the_task(parts, Path(folder))
            parts.task.load_state_dict(initial)
            plain = plain_loop(parts)
            if pair:  # the first pair warms up
                ratios.append(task / plain)
                print(f"task {task:.2f} s, plain loop {plain:.2f} s, ratio {task / plain:.3f}")
    print(f"{cfg.model.name}, {cfg.data.image_size} px, {cfg.data.n_train} images: ", end="")
    print(f"median ratio {statistics.median(ratios):.3f} (range {min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
