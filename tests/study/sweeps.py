"""Sweeps' folders as training leaves them, made of simulated scores."""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from xray_tl.config.planned import plan_of
from xray_tl.store.files import write_text
from xray_tl.store.records import EVALUATIONS, PREDICTIONS, SPLIT, write_record

CASES = 60
TRUTH = np.arange(CASES) % 2
TARGETS = ("effusion", "mass", "nodule")
CEILING = {"auroc": 0.97, "auroc_se": 0.001, "efficiency": 0.4, "above_ceiling": False}
FLOORS = {"majority": {"auroc": 0.5, "accuracy": 0.5}, "pooled_pixels": {"auroc": 0.6, "accuracy": 0.58}}
METRICS = {"auroc": 0.8, "accuracy": 0.7, "accuracy_at_threshold": 0.7}


def scores(strength: float, seed: int, split: str = "test", truth: NDArray[np.int64] = TRUTH) -> pd.DataFrame:
    """Draw a run's predictions of a split: half of the noise is of the image, half of the seed."""
    of_image = np.random.default_rng(1000 + len(split)).normal(size=len(truth))
    own = np.random.default_rng(seed).normal(size=len(truth))
    logit = strength * (truth - 0.5) + 0.7 * of_image + 0.7 * own
    return pd.DataFrame(
        {
            "split": split,
            "case": np.arange(len(truth)),
            "target": "opacity",
            "truth": truth,
            "logit": logit,
            "probability": 1 / (1 + np.exp(-logit)),
            "ideal_logit": np.where(truth, 3.5, -3.5),
        }
    )


def labelled(strength: float, seed: int) -> pd.DataFrame:
    """Draw a run's predictions of several labels, each present in a third of the images; test split."""
    parts = [
        scores(strength, seed + 1000 * place, truth=(np.arange(CASES) % 3 == place).astype(np.int64))
        for place in range(len(TARGETS))
    ]
    named = zip(parts, TARGETS, strict=True)
    return pd.concat([part.drop(columns="ideal_logit").assign(target=target) for part, target in named])


def write_folds(
    folder: Path, strength: float, seed: int, folds: int = 3, mode: str = "finetune", scale: float = 0.0
) -> None:
    """Write a seed's cross-validation, two images a patient; the scores of fold k lie k x scale higher."""
    whole = scores(strength, seed + zlib.crc32(mode.encode())).drop(columns="ideal_logit")
    patient = whole["case"] // 2
    for fold in range(folds):
        own = whole[patient % folds == fold]
        logit = own["logit"] + scale * fold
        run = write_scored(
            folder,
            strength,
            seed,
            mode=mode,
            predictions=own.assign(logit=logit, probability=1 / (1 + np.exp(-logit))),
            data={"targets": ["binary", "opacity"], "folds": folds, "fold": fold, "folds_id": "cv"},
            data_hash=f"fold {fold}",
            ceiling=None,
            metrics={"test": {**METRICS, "auroc": 0.7 + fold / 10}},
        )
        table = pd.DataFrame({"name": whole["case"], "split": "test", "patient": "p" + patient.astype(str)})
        table.to_csv(run / SPLIT, index=False)


def write_scored(
    folder: Path,
    strength: float,
    seed: int,
    model: str = "resnet18",
    mode: str = "finetune",
    options: dict[str, Any] | None = None,
    predictions: pd.DataFrame | None = None,
    **changes: Any,  # noqa: ANN401  (any part of a record)
) -> Path:
    """Write one complete run: record, predictions of all splits (or those given), configuration."""
    options = options or {}
    arm_hash = f"{model}-{mode}-{sorted(options.items())}"
    name = f"{model}-{mode}-{zlib.crc32(arm_hash.encode())}-s{seed}-t{changes.get('train_seed', 0)}"
    name += f"-f{changes.get('data', {}).get('fold')}"
    run = folder / re.sub(r"[^\w.-]", "-", name)
    record = {
        "status": "complete",
        "error": None,
        "arm": {"model": model, "mode": mode, "weights": "random"},
        "seed": seed,
        "data_seed": 0,
        "train_seed": 0,
        "config_hash": f"{arm_hash}-{seed}",
        "arm_hash": arm_hash,
        "data_hash": f"d{changes.get('train_seed', 0)}",
        "weights": {"source": "random", "name": "seed 0", "sha256": f"sha-{model}"},
        "weights_seed": 0,
        "parameters": {"total": 100, "trainable": 10},
        "threshold": 0.4,
        "metrics": {"test": METRICS},
        "history": [
            {"epoch": epoch, "train_loss": 0.7 - epoch / 10, "val_loss": 0.7, "val_auroc": 0.6, "lr": 1e-3}
            for epoch in range(3)
        ],
        "ceiling": CEILING,
        "floors": FLOORS,
        "time": {"fit_s": 2.0},
        "environment": {"torch": "2", "precision": "32-true"},
        **changes,
    }
    noise = seed + zlib.crc32(arm_hash.encode())  # of each arm and seed its own
    if predictions is None:
        train = scores(strength + 1.5, noise, "train", np.arange(80) % 2)
        predictions = pd.concat([train, scores(strength, noise)])
    predictions.to_csv(_ready(run) / PREDICTIONS, index=False)
    config = OmegaConf.create(
        {"seed": seed, "data": {"n_train": 100}, "optim": {"lr": 1e-3, "weight_decay": 0.01}}
    )
    OmegaConf.update(config, "augment", {"name": "none", "degrees": 0})
    for key, value in options.items():
        OmegaConf.update(config, key, value)
    write_text(run / ".hydra" / "config.yaml", OmegaConf.to_yaml(config))
    write_record(run, record)
    return run


def write_evaluation(run: Path, name: str, shifted: pd.DataFrame, ceiling: float | None = 0.9) -> None:
    """Write what `evaluate` leaves."""
    place = _ready(run / EVALUATIONS / name)
    shifted.to_csv(place / PREDICTIONS, index=False)
    write_record(place, {"ceiling": None if ceiling is None else {"auroc": ceiling}})


def write_study(folder: Path) -> Path:
    """Write two backbones, fine-tuned and frozen, five seeds each."""
    strengths = {
        ("resnet18", "finetune"): 2.5,
        ("resnet18", "frozen"): 1.0,
        ("vgg16", "finetune"): 1.0,
        ("vgg16", "frozen"): 0.9,
    }
    for (model, mode), strength in strengths.items():
        for seed in range(5):
            write_scored(folder, strength, seed, model, mode)
    return folder


ASKED = {"how_much": ["resnet18_finetune - resnet18_frozen"]}


def planned(families: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a record says of questions that were declared, and when it began."""
    plan = plan_of(OmegaConf.create({"planned": ASKED if families is None else families}))
    return {"planned": plan, "began": "2026-11-30T10:00:00+00:00"}


def write_planned(folder: Path, families: dict[str, Any] | None = None, seeds: int = 5) -> Path:
    """Write `write_study`'s arms as files of `conf/arm` named like resnet18_finetune, with a plan."""
    strengths = {"resnet18": (2.5, 1.0), "vgg16": (1.0, 0.9)}
    for model, by_mode in strengths.items():
        for mode, strength in zip(("finetune", "frozen"), by_mode, strict=True):
            for seed in range(seeds):
                changes = {"arm_file": f"{model}_{mode}", **planned(families)}
                write_scored(folder, strength, seed, model, mode, **changes)
    return folder


def _ready(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
