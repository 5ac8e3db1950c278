"""Whole sweeps, as typed on a command line, against the same sweep as a plain PyTorch script.

    python benchmarks/sweeps.py frozen-resnet50 --pairs 3
    python benchmarks/sweeps.py seeds-5-to-50

Commands alternate, A B A B, each in a process of its own with an empty cache: rendering, imports and the
project's tables and report are part of its time. A plain script that does the same for every seed is run with
one seed and with none, and its time for five follows: VGG16 would take an hour a pair. Where that script
keeps a part frozen both start from one file of weights: neither has BatchNorm statistics to find first.
Printed: seconds, each pair's ratio, the median, the machine's rate of a matrix product. Quiet the machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torchvision import models

HERE = Path(__file__).resolve().parent
OURS = (sys.executable, "-m", "xray_tl.train", "-m", "trainer=cpu", "logger=none", "weights.measure=false")
RANDOM = (*OURS, "weights=random")
WEIGHTS = "WEIGHTS"
TRAINED = "mode.head=trained"
GIVEN = (*OURS, "weights=file", f"weights.path={WEIGHTS}")
PLAIN = (sys.executable, str(HERE / "plain_torch.py"))
LIGHTNING = (sys.executable, str(HERE / "plain_lightning.py"))
SEEDS_5, SEEDS_50 = "seed=" + ",".join(map(str, range(5))), "seed=" + ",".join(map(str, range(50)))
SMALL = ("data.image_size=64", "data.n_train=128", "data.n_val=50", "data.n_test=50", "trainer.max_epochs=2")
PAIRS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "frozen-resnet50": (
        (*GIVEN, "model=resnet50", "mode=frozen", TRAINED, SEEDS_5),
        (*PLAIN, "--model", "resnet50", "--mode", "frozen", "--weights", WEIGHTS),
    ),
    "frozen-vgg16": (
        (*GIVEN, "model=vgg16", "mode=frozen", TRAINED, SEEDS_5),
        (*PLAIN, "--model", "vgg16", "--mode", "frozen", "--weights", WEIGHTS),
    ),
    "partial-resnet50": (
        (*GIVEN, "model=resnet50", "mode=partial", "seed=0"),
        (*PLAIN, "--model", "resnet50", "--mode", "partial", "--seeds", "1", "--weights", WEIGHTS),
    ),
    "partial-resnet50-lightning": (
        (*GIVEN, "model=resnet50", "mode=partial", "seed=0"),
        (*LIGHTNING, "--model", "resnet50", "--mode", "partial", "--seeds", "1", "--weights", WEIGHTS),
    ),
    "finetune-resnet50-lightning": (
        (*RANDOM, "model=resnet50", "mode=finetune", "seed=0", "data.image_size=64", "data.n_train=400"),
        (*LIGHTNING, "--mode", "finetune", "--seeds", "1", "--image-size", "64", "--train", "400"),
    ),
    "parallel": (
        (*RANDOM, "model=resnet50", "mode=finetune", "seed=0,1,2,3", *SMALL, "hydra/launcher=parallel"),
        (*RANDOM, "model=resnet50", "mode=finetune", "seed=0,1,2,3", *SMALL),
    ),
    "seeds-5-to-50": (
        (*RANDOM, "model=resnet50", "mode=frozen", TRAINED, SEEDS_5),
        (*RANDOM, "model=resnet50", "mode=frozen", TRAINED, SEEDS_50),
    ),
}
"""Name -> commands A and B; the ratio is B's time over A's."""
FIVE_SEEDS = ("frozen-resnet50", "frozen-vgg16")
"""Pairs whose B takes the seeds one after the other, each like the first."""


def write_weights(model: str, file: Path) -> None:
    """Write the weights of a random network that has seen random images."""
    torch.manual_seed(0)
    net = models.get_model(model, weights=None)
    net.train()
    with torch.no_grad():
        net(torch.randn(32, 3, 64, 64))
    torch.save(net.state_dict(), file)


def seconds(command: tuple[str, ...]) -> float:
    """Run a command with an empty cache in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        own = {"XRAY_TL_CACHE": f"{folder}/cache", "PYTHONPATH": str(HERE.parent)}
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, env={**os.environ, **own}, check=True, capture_output=True)
        return time.perf_counter() - start


def seconds_for_five(command: tuple[str, ...]) -> float:
    """Time one seed and none; return what five take: the set-up once, the rest five times."""
    setup, one = (seconds((*command, "--seeds", count)) for count in "01")
    return setup + 5 * (one - setup)


def gemm_rate() -> float:
    """Return the machine's rate of a large matrix product now, GFLOP/s."""
    code = (
        "import torch; from xray_tl.runs.cost import gemm_limit, machine_for; "
        "print(gemm_limit(machine_for(torch.device('cpu'), '32-true')))"
    )
    own = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return float(subprocess.check_output([sys.executable, "-c", code], env=own))


def main() -> None:
    """Time the pairs and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=PAIRS)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pt"
        write_weights("vgg16" if "vgg16" in options.name else "resnet50", file)
        time_pairs(options.name, options.pairs, file)


def time_pairs(name: str, pairs: int, weights: Path) -> None:
    """Run both commands in turn and print their times."""
    a, b = (tuple(part.replace(WEIGHTS, str(weights)) for part in command) for command in PAIRS[name])
    ratios = []
    time_b = seconds_for_five if name in FIVE_SEEDS else seconds
    rate, load = gemm_rate(), os.getloadavg()[0]
    print(f"{name}: load average before {load:.2f}, matrix product {rate:.0f} GFLOP/s", flush=True)
    for _ in range(pairs):
        first, second = seconds(a), time_b(b)
        ratios.append(second / first)
        print(f"A {first:.1f} s, B {second:.1f} s, B/A {second / first:.2f}", flush=True)
    print(f"median B/A {statistics.median(ratios):.2f} (range {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
