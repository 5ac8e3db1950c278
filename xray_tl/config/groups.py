"""Registration of the schemas with Hydra, and the path of the files under `conf/` that refer to them."""

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
    PlanConfig,
    PredictConfig,
    PretrainConfig,
    PreviewConfig,
    ReportConfig,
    StatusConfig,
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
    "plan": PlanConfig,
    "predict": PredictConfig,
    "pretrain": PretrainConfig,
    "preview": PreviewConfig,
    "report": ReportConfig,
    "status": StatusConfig,
}


def register_schemas() -> None:
    """Register every schema with Hydra as `/schema/<name>`, for use by the files under `conf/`."""
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]  # new; `_itself` says why
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)


def _itself(store: ConfigStore, memo: dict[int, Any]) -> ConfigStore:
    """Return the store itself instead of a deep copy.

    Hydra would copy its whole store for every group that `--help` lists, which takes half of its time. The
    copy is not needed: the store is a singleton and copies each node that it returns.
    """
    return store


def conf_dir() -> str:
    """Return the absolute path of the configuration files: in the installed wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    wheel = package / "conf"
    return str(wheel if wheel.is_dir() else package.parent / "conf")
