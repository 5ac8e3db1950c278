"""Types and valid values of every option, checks of a configuration, and the hash that identifies a run.

`RadiographDataConfig`, `SyntheticDataConfig` and the other schemas are imported from here; `validation`
checks what types cannot express, `identity` hashes the options that change a result, `cli` turns errors into
one clear line.

Imports: nothing.
Never imports: numpy, pandas, torch.
"""

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
)
from xray_tl.config.data_sets import (
    AcquisitionConfig,
    AnatomyConfig,
    DataConfig,
    MarkerConfig,
    RadiographDataConfig,
    SyntheticDataConfig,
)
from xray_tl.config.groups import SCHEMAS, conf_dir, register_schemas
from xray_tl.config.launchers import SlurmConfig
from xray_tl.config.recipe import AugmentConfig, LoggerConfig, OptimConfig, TrainerConfig, TuneConfig
from xray_tl.config.settings import Settings, data_schema, typed, typed_node

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
    "PlanConfig",
    "PredictConfig",
    "PretrainConfig",
    "PreviewConfig",
    "RadiographDataConfig",
    "ReportConfig",
    "Settings",
    "SlurmConfig",
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
