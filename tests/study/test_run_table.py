"""From records to tables."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from tests.conftest import compose_config
from xray_tl.config.identity import arm_hash
from xray_tl.errors import InputError
from xray_tl.store.files import write_text
from xray_tl.store.records import write_record
from xray_tl.study.run_table import arms, collect, format_arms, write_summary


def _record(**changes: object) -> dict[str, Any]:
    return {
        "status": "complete",
        "error": None,
        "arm": {"model": "resnet18", "mode": "frozen", "weights": "auto"},
        "seed": 0,
        "data_seed": 0,
        "train_seed": 0,
        "config_hash": "c",
        "arm_hash": "a",
        "data_hash": "d",
        "weights": {"source": "random", "name": "seed 0", "sha256": "w"},
        "metrics": {"test": {"auroc": 0.8, "accuracy": 0.7, "accuracy_at_threshold": 0.75}},
        "time": {"fit_s": 2.0},
        **changes,
    }


def write_run(folder: Path, name: str, auroc: float = 0.8, **changes: object) -> None:
    metrics = {"test": {"auroc": auroc, "accuracy": 0.7, "accuracy_at_threshold": 0.75}}
    write_record(folder / name, _record(metrics=metrics, **changes))


def test_mean_sd_and_count_over_seeds(tmp_path: Path) -> None:
    for seed, auroc in enumerate((0.7, 0.8, 0.9)):
        write_run(tmp_path, f"run{seed}", auroc, seed=seed)
    table = arms(collect(tmp_path))
    assert len(table) == 1
    assert table.loc[0, "n"] == 3
    assert table.loc[0, "test_auroc"] == pytest.approx(0.8)
    assert table.loc[0, "test_auroc_sd"] == pytest.approx(0.1)  # n - 1, not n
    assert table.loc[0, "weights"] == "random", "the table says what was used, not what was asked for"
    assert "0.800 ± 0.100" in format_arms(table)


def test_floors_stand_above_the_arms_once_a_data_set(tmp_path: Path) -> None:
    floors = {"majority": {"auroc": 0.5, "accuracy": 0.52}, "pooled_pixels": {"auroc": 0.66, "accuracy": 0.6}}
    for seed in range(2):
        write_run(tmp_path, f"run{seed}", seed=seed, floors=floors)
    write_run(tmp_path, "without", data_hash="other")
    write_run(tmp_path, "older", seed=-1)  # of the same data, from before there were floors
    table = arms(collect(tmp_path))
    assert list(table["model"]) == ["majority", "pooled_pixels", "resnet18", "resnet18"]
    assert list(table["test_auroc"][:2]) == [0.5, 0.66]
    text = format_arms(table).splitlines()
    assert text[2].split()[:5] == ["pooled_pixels", "-", "-", "1", "1"]


@pytest.mark.parametrize(
    "other",
    [
        {"weights": {"source": "imagenet", "name": "V1", "sha256": "other"}},
        {"arm_hash": "other"},
        {"data_hash": "other"},
    ],
)
def test_what_differs_is_never_pooled(tmp_path: Path, other: dict[str, Any]) -> None:
    published = {"weights": {"source": "imagenet", "name": "V1", "sha256": "w"}}
    write_run(tmp_path, "a", **published)
    write_run(tmp_path, "b", **published | other)
    assert list(arms(collect(tmp_path))["n"]) == [1, 1]


def test_sets_of_weights_of_several_seeds_are_pooled(tmp_path: Path) -> None:
    write_run(tmp_path, "a", weights_seed=0)
    write_run(
        tmp_path, "b", weights_seed=1, weights={"source": "random", "name": "seed 1", "sha256": "other"}
    )
    runs = collect(tmp_path)
    assert list(arms(runs)["n"]) == [2]
    assert list(runs["weights_seed"]) == [0, 1]


def test_records_of_before_are_read_as_today_s(tmp_path: Path) -> None:
    """They have no `weights_seed`, and the seed of weights was part of their arm's hash."""
    for number, options in enumerate(
        (
            ("weights=source", "weights.seed=0"),
            ("weights=source", "weights.seed=1", "seed=1"),
            ("weights=source", "weights.seed=${seed}", "seed=2"),
            ("weights=imagenet", "weights.seed=1"),
        )
    ):
        cfg = compose_config(*options)
        source = cfg.weights.source
        name = "V1" if source == "imagenet" else f"budget small, seed {cfg.weights.seed}"
        weights = {"source": source, "name": name, "sha256": f"sha {number}"}
        write_run(tmp_path, f"{number}", seed=cfg.seed, arm_hash=f"with {number}", weights=weights)
        write_text(tmp_path / f"{number}" / ".hydra" / "config.yaml", OmegaConf.to_yaml(cfg))
    runs = collect(tmp_path).sort_values("run_dir", ignore_index=True)
    assert runs["arm_hash"].nunique() == 2, "of the two sources"
    assert list(runs["arm_hash"][:3]) == [arm_hash(compose_config("weights=source"))] * 3
    assert list(runs["weights_seed"][:3]) == [0, 1, 2]
    assert pd.isna(runs["weights_seed"][3])
    assert list(runs["published_sha256"].isna()) == [True, True, True, False]


def test_failed_runs_are_listed_but_not_averaged(tmp_path: Path) -> None:
    write_run(tmp_path, "good")
    broken = _record(status="failed", error="RunError: NaN", seed=1)
    for key in ("metrics", "weights", "time", "data_hash"):
        del broken[key]
    write_record(tmp_path / "bad", broken)
    runs = collect(tmp_path)
    assert list(arms(runs)["n"]) == [1]
    path = write_summary(runs, tmp_path)
    stored = pd.read_csv(path)
    assert sorted(stored["status"]) == ["complete", "failed"]
    assert list(stored.columns[:8]) == [
        "model",
        "mode",
        "weights",
        "seed",
        "data_seed",
        "train_seed",
        "status",
        "test_auroc",
    ]


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no run"):
        collect(tmp_path)


def test_the_folds_of_a_seed_are_averaged_before_its_seeds(tmp_path: Path) -> None:
    for seed in range(2):
        for fold in range(2):
            floors = {"majority": {"auroc": 0.5, "accuracy": 0.5 + fold / 10}}
            write_run(
                tmp_path,
                f"run{seed}{(fold + seed) % 2}",  # folders come in any order
                0.7 + seed / 10 + fold / 100,
                seed=seed,
                floors=floors,
                data_hash=f"fold {fold}",
                data={"folds": 2, "fold": fold, "folds_id": "cv"},
            )
    table = arms(collect(tmp_path))
    assert list(table["model"]) == ["majority", "resnet18"]
    assert table.loc[0, "test_accuracy"] == pytest.approx(0.55)
    assert table.loc[1, "n"] == 2
    assert table.loc[1, "test_auroc"] == pytest.approx(0.755)
    assert table.loc[1, "test_auroc_sd"] == pytest.approx(0.1 / 2**0.5)  # of two seeds, not of four runs
    shutil.rmtree(tmp_path / "run00")
    assert list(arms(collect(tmp_path))["n"]) == [1, 1], "a seed without all folds is no seed"
    shutil.rmtree(tmp_path / "run10")
    assert not len(arms(collect(tmp_path)))
