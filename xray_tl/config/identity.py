"""Hash of every option that changes a run's result, and the names of runs, arms and backbones."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from xray_tl.config.arm import WeightsConfig
from xray_tl.errors import InputError

# Every option is in exactly one of CHANGES_RESULT, OPTIONAL and COSMETIC (a test compares them with the
# schemas). The first two change a result; the third changes only where and how fast it is computed, and what
# is displayed.
CHANGES_RESULT = (
    "seed",
    "model.name",
    "model.registry",
    "model.stem",
    "model.dropout",
    "model.head_dropout",
    "model.memory_format",
    "mode.name",
    "mode.head_lr",
    "mode.standardise",
    "mode.trainable_stages",
    "mode.unfreeze_every",
    "mode.layer_decay",
    "weights.source",
    "weights.recipe",
    "weights.budget",
    "weights.path",
    "weights.seed",
    "data.name",
    "data.finding",
    "data.image_size",
    "data.n_train",
    "data.n_val",
    "data.n_test",
    "data.seed",
    "data.train_seed",
    "data.prevalence",
    "data.contrast",
    "data.d0",
    "data.target_auroc",
    "data.attenuation",
    "data.radii",
    "data.radius_scale",
    "data.contrasts",
    "data.mild_probability",
    "data.mild_contrasts",
    "data.flip_negative",
    "data.flip_positive",
    "data.acquisition",
    "data.anatomy",
    "data.marker",
    "data.batch_size",
    "augment.degrees",
    "augment.translate",
    "augment.scale",
    "augment.brightness",
    "augment.contrast",
    "augment.noise",
    "tune.rates",
    "tune.seeds",
    "optim.name",
    "optim.lr",
    "optim.weight_decay",
    "optim.warmup",
    "optim.schedule",
    "optim.clip_norm",
    "optim.label_smoothing",
    "optim.class_weights",
    "trainer.max_epochs",
    "trainer.precision",
    "trainer.early_stopping",
    "trainer.reestimate_batchnorm",
)
OPTIONAL = (
    "model.depth",
    "mode.head",
    "mode.stage",
    "mode.lora_rank",
    "mode.lora_targets",
    "optim.sampling",
    "weights.mean",
    "weights.std",
    "data.layout",
    "data.root",
    "data.table",
    "data.path_column",
    "data.search",
    "data.label_column",
    "data.label_columns",
    "data.label_separator",
    "data.patient_column",
    "data.split_column",
    "data.test_list",
    "data.split_names",
    "data.subfolders",
    "data.test_from",
    "data.labels",
    "data.negative",
    "data.patient_regex",
    "data.patient_tag",
    "data.val_fraction",
    "data.test_fraction",
    "data.split_file",
    "data.folds",
    "data.fold",
    "data.fit",
    "data.intensity",
    "data.on_error",
)
"""Left out of the hash if they have no value: a mode or a data set never has the options of another, and
options that came later leave earlier runs what they were."""
OF_A_FILE = ("weights.path", "weights.mean", "weights.std")
"""Used only with `weights=file`; for other weights the hash ignores them."""
OF_TRAINING = (
    "seed",
    "mode.head_lr",
    "model.dropout",
    "tune.rates",
    "tune.seeds",
    "optim.name",
    "optim.lr",
    "optim.weight_decay",
    "optim.warmup",
    "optim.schedule",
    "optim.clip_norm",
    "trainer.max_epochs",
    "trainer.early_stopping",
    "trainer.reestimate_batchnorm",
)
"""Used only where something trains; for a solved head on a frozen backbone the hash ignores them."""
COSMETIC = (
    "feature_cache",
    "shifts",
    "planned",
    "rungs",
    "budget",
    "arm_file",
    "weights.measure",
    "weights.timeout_s",
    "data.difficulty",
    "data.shift",
    "data.download",
    "data.covariate_columns",
    "data.on_leak",
    "data.num_workers",
    "data.memory_limit_gb",
    "augment.name",
    "tune.name",
    "trainer.name",
    "trainer.accelerator",
    "trainer.deterministic",
    "trainer.threads",
    "trainer.progress_bar",
    "logger.name",
    "logger.example_images",
)


UNNAMED = "unnamed-model"
"""Name of a run without `model.name`; such a run is refused later."""
SEEDS = ("seed", "data.seed", "data.train_seed", "data.fold", "weights.seed")
PUBLISHED = ("imagenet", "file")
"""Sources of weights that come from no seed: they are as somebody published them."""


def config_hash(cfg: DictConfig) -> str:
    """Return the SHA-256 (64 hex digits) of all options that change a run's result, as canonical JSON."""
    return _hash(cfg, (*CHANGES_RESULT, *OPTIONAL))


def arm_hash(cfg: DictConfig) -> str:
    """Return the hash that all runs of an arm (treatment) share: `config_hash` without seeds and fold."""
    return _hash(cfg, tuple(key for key in (*CHANGES_RESULT, *OPTIONAL) if key not in SEEDS))


def is_solved(cfg: DictConfig) -> bool:
    """Tell whether a run trains nothing: its head is solved, so that no seed of training changes it."""
    return bool(OmegaConf.select(cfg, "mode.head", default=None) == "solved")


def arm(cfg: DictConfig) -> dict[str, str]:
    """Return the name of a run's arm (treatment): backbone, freeze mode, and weights as requested."""
    return {"model": backbone_name(cfg), "mode": str(cfg.mode.name), "weights": str(cfg.weights.source)}


def backbone_name(cfg: DictConfig) -> str:
    """Return the name of a backbone: `resnet50`, `timm/resnet10t`, `vgg16-d4` for four of its stages."""
    registry, name = (str(OmegaConf.select(cfg, f"model.{key}")) for key in ("registry", "name"))
    depth = OmegaConf.select(cfg, "model.depth")  # runs of earlier versions have none
    return (name if registry == name else f"{registry}/{name}") + depth_suffix(depth)


def depth_suffix(depth: int | None) -> str:
    """Return what follows a backbone's name if only its first stages are kept: `-d4`."""
    return "" if depth is None else f"-d{depth}"


def run_name(cfg: DictConfig) -> str:
    """Return a run's folder name in a sweep: `<model>-<mode>-<weights>-s<seed>-<start of config_hash>`.

    A run with a solved head is the same for every seed, and has `solved` in the place of `s<seed>`.
    """
    if OmegaConf.is_missing(cfg.model, "name"):
        return UNNAMED
    parts = [*arm(cfg).values(), "solved" if is_solved(cfg) else f"s{cfg.seed}", config_hash(cfg)[:8]]
    return re.sub(r"[^\w.-]", "-", "-".join(parts))


def register_resolvers() -> None:
    """Register the resolvers `${run_name:}` and, under `data`, `${by_finding:{opacity: 1, nodule: 2}}`."""
    OmegaConf.register_new_resolver("run_name", lambda *, _root_: run_name(_root_), replace=True)
    OmegaConf.register_new_resolver("by_finding", _by_finding, replace=True)


def _by_finding(values: DictConfig, *, _parent_: DictConfig) -> Any:  # noqa: ANN401  (any YAML value)
    """Return the value given for `data.finding`."""
    if _parent_.finding not in values:
        raise InputError(
            f"difficulty={_parent_.difficulty} is not made for data.finding={_parent_.finding}: "
            f"choose from {', '.join(sorted(map(str, values)))}, or data.target_auroc=..."
        )
    return values[_parent_.finding]


def _hash(cfg: DictConfig, keys: tuple[str, ...]) -> str:
    values = {key: _value(cfg, key) for key in keys}
    if values["weights.source"] != "file":
        values |= dict.fromkeys(OF_A_FILE)
    if values["weights.source"] in PUBLISHED and "weights.seed" in values:
        values["weights.seed"] = WeightsConfig.seed
    if is_solved(cfg):
        values |= dict.fromkeys(key for key in OF_TRAINING if key in values)
    chosen = {key: value for key, value in values.items() if value is not None or key not in OPTIONAL}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def _value(cfg: DictConfig, key: str) -> Any:  # noqa: ANN401  (any YAML value)
    try:
        return _plain(OmegaConf.select(cfg, key, default=None))
    except InterpolationResolutionError as error:  # refused when the run starts, and recorded there
        return str(error)


def _plain(node: Any) -> Any:  # noqa: ANN401  (any YAML value)
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
