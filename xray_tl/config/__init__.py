"""The typed schema of every configuration group, registered with Hydra.

YAML under `conf/` holds the values, the dataclasses here hold the types, so that a misspelt key or a wrong
type fails while the configuration is composed, before anything is built. This package imports no torch:
`--help` and `--cfg job` answer at once.
"""

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
from xray_tl.config.data import (
    AcquisitionConfig,
    AnatomyConfig,
    DataConfig,
    MarkerConfig,
    RadiographDataConfig,
    SyntheticDataConfig,
)
from xray_tl.config.recipe import AugmentConfig, LoggerConfig, OptimConfig, TrainerConfig, TuneConfig
from xray_tl.config.settings import Settings, data_schema, typed, typed_node
from xray_tl.config.store import SCHEMAS, conf_dir, register_schemas

__all__ = [
    "SCHEMAS",
    "AcquisitionConfig",
    "AnatomyConfig",
    "AuditConfig",
    "AugmentConfig",
    "BenchConfig",
    "CeilingConfig",
    "CompareConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "LoggerConfig",
    "MarkerConfig",
    "ModeConfig",
    "ModelConfig",
    "OptimConfig",
    "PredictConfig",
    "PretrainConfig",
    "PreviewConfig",
    "RadiographDataConfig",
    "ReportConfig",
    "Settings",
    "SyntheticDataConfig",
    "TrainerConfig",
    "TuneConfig",
    "WeightsConfig",
    "conf_dir",
    "data_schema",
    "register_schemas",
    "typed",
    "typed_node",
]
