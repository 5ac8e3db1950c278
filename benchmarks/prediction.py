"""Scores of 16-bit PNG files by `predict` against its network alone, on images that lie ready.

    python benchmarks/prediction.py --files 400 --size 512

Pairs A B A B: seconds from paths to the table, processes that decode started anew, and seconds of the same
network on as many ready images in batches of the same size. Their ratio is the share of the network's bare
rate that `predict` reaches. Decoding alone stands beside it: on a CPU it takes its part of the same cores.
Quiet the machine.
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
from typing import TYPE_CHECKING

import numpy as np

from xray_tl.config import TrainerConfig
from xray_tl.data.films.reading import Reading, try_reading
from xray_tl.store.allocator import keep_large_blocks

if TYPE_CHECKING:
    from xray_tl.runs.score_films import Scorer

TRAIN = (sys.executable, "-m", "xray_tl.train", "weights=random", "mode=frozen", "logger=none")
FEW = ("data.n_train=16", "data.n_val=16", "data.n_test=16", "trainer.max_epochs=1")


def bare(scorer: Scorer, files: int, batch_size: int) -> float:
    """Return seconds of the network on images that lie ready."""
    image = np.zeros((batch_size, scorer.reading.size, scorer.reading.size), dtype=np.float32)
    start = time.perf_counter()
    for done in range(0, files, batch_size):
        scorer.probability(image[: files - done])
    return time.perf_counter() - start


def decoding(paths: list[Path], reading: Reading) -> float:
    """Return seconds of decoding, in one process."""
    start = time.perf_counter()
    for path in paths:
        try_reading(str(path), reading)
    return time.perf_counter() - start


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in {"files": 400, "size": 512, "image-size": 224, "batch-size": 32, "pairs": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", default="resnet50")
    chosen = parser.parse_args()
    # Not above: processes that decode import this file, but in the command neither torch nor pandas.
    from decoding import write

    from xray_tl.runs.score_films import open_scorer, score

    keep_large_blocks()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "films").mkdir()
        paths = [Path(path) for path in write(root / "films", chosen.files, chosen.size)]
        options = (
            f"model={chosen.model}",
            f"data.image_size={chosen.image_size}",
            f"hydra.run.dir={root}/run",
        )
        own = os.environ | {"XRAY_TL_CACHE": str(root / "cache")}
        subprocess.run([*TRAIN, *FEW, *options], env=own, check=True, stdout=subprocess.DEVNULL)
        scorer = open_scorer(root / "run", TrainerConfig(name="auto"))
        print(f"load average before {os.getloadavg()[0]:.2f}; {scorer.device}")
        bare(scorer, 2 * chosen.batch_size, chosen.batch_size)
        shares = []
        for _ in range(chosen.pairs):
            start = time.perf_counter()
            table = score(scorer, paths, chosen.batch_size, None)
            whole = time.perf_counter() - start
            assert table["probability"].notna().all()
            network = bare(scorer, chosen.files, chosen.batch_size)
            shares.append(network / whole)
            print(
                f"{chosen.files} files of {chosen.size} px: predict {whole:.1f} s, network {network:.1f} s "
                f"({chosen.files / network:.0f} images/s): share {shares[-1]:.2f}; "
                f"decoding alone, one process, {decoding(paths, scorer.reading):.1f} s",
                flush=True,
            )
        print(f"median share {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")


if __name__ == "__main__":
    main()
