"""Sweeps whose seeds come in rungs, written as records and predictions without training anything."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.study.sweeps import planned, write_scored

RUNGS = (5, 8, 12)
ASKED = {"how_much": ["resnet18_finetune - resnet18_frozen", "resnet18_finetune - resnet18_partial"]}
MODES = ("finetune", "frozen", "partial")
SOLVED = {"kind": "solved", "penalty": [1.0]}
CASES = 800
TRUTH = np.arange(CASES) % 2


def scores_of(mean: float, seed: int) -> pd.DataFrame:
    """Draw predictions of which most of the noise is of the image, and the same for all arms."""
    image = np.random.default_rng(0).normal(size=CASES)
    own = np.random.default_rng([seed, 1]).normal(size=CASES)
    logit = mean * (TRUTH - 0.5) + 0.95 * image + 0.3 * own
    return pd.DataFrame(
        {
            "split": "test",
            "case": np.arange(CASES),
            "target": "opacity",
            "truth": TRUTH,
            "logit": logit,
            "probability": 1 / (1 + np.exp(-logit)),
        }
    )


def write_arm(folder: Path, mode: str, seeds: range, mean: float, spread: float, **changes: Any) -> None:  # noqa: ANN401  (any part of a record)
    """Write seeds of an arm whose means alternate by `spread`."""
    for seed in seeds:
        moved = mean + spread * (1 if seed % 2 else -1) * (1 + seed % 3)
        number = 100 * MODES.index(mode) + seed
        write_scored(
            folder,
            0,
            seed,
            mode=mode,
            predictions=scores_of(moved, number),
            arm_file=f"resnet18_{mode}",
            **{**planned(ASKED), "rungs": list(RUNGS), **changes},
        )


def write_rungs(folder: Path, seeds: int, **changes: Any) -> Path:  # noqa: ANN401  (any part of a record)
    """Write a loud arm that is about as good as a frozen one, and much better than a third."""
    write_arm(folder, "finetune", range(seeds), 2.0, 0.06, **changes)
    write_arm(folder, "frozen", range(seeds), 1.97, 0.0, **changes)
    write_arm(folder, "partial", range(seeds), 1.0, 0.0, **changes)
    return folder


def without(folder: Path, place: Path, seeds: range, mode: str = "") -> Path:
    """Copy a sweep without some seeds, of one arm or of all."""
    copy = Path(shutil.copytree(folder, place / "copy"))
    for run in copy.glob(f"resnet18-{mode}*"):
        if any(f"-s{seed}-" in run.name for seed in seeds):
            shutil.rmtree(run)
    return copy
