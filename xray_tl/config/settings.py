"""Conversion of a composed or stored configuration to typed objects."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config.arm import ModeConfig, ModelConfig, WeightsConfig
from xray_tl.config.data_sets import DataConfig, RadiographDataConfig, SyntheticDataConfig
from xray_tl.config.recipe import AugmentConfig, LoggerConfig, OptimConfig, TrainerConfig, TuneConfig
from xray_tl.errors import InputError, refusal

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """A run's configuration as typed objects, one per option group."""

    model: ModelConfig
    mode: ModeConfig
    weights: WeightsConfig
    data: DataConfig
    optim: OptimConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    augment: AugmentConfig
    tune: TuneConfig
    seed: int
    feature_cache: str


def typed(cfg: DictConfig) -> Settings:
    """Convert a composed or stored configuration to typed objects.

    Raises:
        InputError: A key is unknown or of the wrong type: the configuration was stored by another version.
    """
    groups = {
        "model": ModelConfig,
        "mode": ModeConfig,
        "weights": WeightsConfig,
        "data": data_schema(cfg.data),
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "logger": LoggerConfig,
        "augment": AugmentConfig,
        "tune": TuneConfig,
    }
    nodes: dict[str, Any] = {
        name: typed_node(cfg.get(name, OmegaConf.create()), schema) for name, schema in groups.items()
    }
    return Settings(**nodes, seed=cfg.seed, feature_cache=cfg.get("feature_cache", "auto"))


def data_schema(node: DictConfig) -> type[DataConfig]:
    """Return the dataclass of a data set's options: for generated images, or for files."""
    return SyntheticDataConfig if node.get("name", "synthetic") == "synthetic" else RadiographDataConfig


def typed_node(node: DictConfig, schema: type[T]) -> T:
    """Convert one node of a composed or stored configuration to an object of its dataclass.

    Interpolations are resolved where the node stands: `${seed}` is the run's seed, not that of the node.

    Raises:
        InputError: A key is unknown or of the wrong type, or an interpolation was refused.
    """
    try:
        resolved = copy.deepcopy(node)
        OmegaConf.resolve(resolved)
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), resolved))
    except OmegaConfBaseException as error:
        fault = refusal(error) or InputError(f"the configuration does not fit this version: {error}")
        raise fault from error
    assert isinstance(made, schema)
    return made
