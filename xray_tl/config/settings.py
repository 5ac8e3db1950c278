"""A composed or stored configuration as typed objects."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.arm import ModeConfig, ModelConfig, WeightsConfig
from xray_tl.config.data import SyntheticDataConfig
from xray_tl.config.recipe import LoggerConfig, OptimConfig, TrainerConfig
from xray_tl.errors import InputError


@dataclass(frozen=True)
class Settings:
    """A run's configuration as typed objects, one a group."""

    model: ModelConfig
    mode: ModeConfig
    weights: WeightsConfig
    data: SyntheticDataConfig
    optim: OptimConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    seed: int


def typed(cfg: DictConfig) -> Settings:
    """Turn a composed or stored configuration into typed objects.

    Raises:
        InputError: A key is unknown or of the wrong type: the configuration was stored by another version.
    """
    groups = {
        "model": ModelConfig,
        "mode": ModeConfig,
        "weights": WeightsConfig,
        "data": SyntheticDataConfig,
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "logger": LoggerConfig,
    }
    try:
        nodes = {
            name: OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), cfg[name]))
            for name, schema in groups.items()
        }
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration does not fit this version: {error}") from error
    return Settings(**nodes, seed=cfg.seed)  # type: ignore[arg-type]
