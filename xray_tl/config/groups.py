"""Where Hydra finds the files under `conf/` and the schemas they refer to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from xray_tl.config.arm import ModeConfig, ModelConfig, WeightsConfig
from xray_tl.config.commands import (
    AuditConfig,
    BenchConfig,
    CeilingConfig,
    CompareConfig,
    Config,
    EvaluateConfig,
    PredictConfig,
    PretrainConfig,
    PreviewConfig,
    ReportConfig,
)
from xray_tl.config.data_sets import RadiographDataConfig, SyntheticDataConfig
from xray_tl.config.recipe import AugmentConfig, LoggerConfig, OptimConfig, TrainerConfig, TuneConfig

SCHEMAS: dict[str, type] = {
    "config": Config,
    "model": ModelConfig,
    "mode": ModeConfig,
    "weights": WeightsConfig,
    "data_synthetic": SyntheticDataConfig,
    "data_radiographs": RadiographDataConfig,
    "optim": OptimConfig,
    "trainer": TrainerConfig,
    "logger": LoggerConfig,
    "augment": AugmentConfig,
    "tune": TuneConfig,
    "audit": AuditConfig,
    "evaluate": EvaluateConfig,
    "bench": BenchConfig,
    "ceiling": CeilingConfig,
    "compare": CompareConfig,
    "predict": PredictConfig,
    "pretrain": PretrainConfig,
    "preview": PreviewConfig,
    "report": ReportConfig,
}


def register_schemas() -> None:
    """Put every schema into Hydra's store, as `/schema/<name>` for the files under `conf/`."""
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]  # it has none; why, `_itself` says
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)


def _itself(store: ConfigStore, memo: dict[int, Any]) -> ConfigStore:
    """Spare Hydra a deep copy of its whole store for every group that `--help` lists: half of its time.

    The store is a singleton and copies each node that it hands out.
    """
    return store


def conf_dir() -> str:
    """Return the absolute path of the configuration files: the wheel's copy, else the checkout's `conf`."""
    package = Path(__file__).resolve().parents[1]
    wheel = package / "conf"
    return str(wheel if wheel.is_dir() else package.parent / "conf")
