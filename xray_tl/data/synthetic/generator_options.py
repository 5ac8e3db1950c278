"""Checks of the generator's options; without torch, for an immediate error on a typing mistake."""

from __future__ import annotations

from xray_tl.config import SyntheticDataConfig
from xray_tl.config.validation import Range, check_image_size
from xray_tl.data.synthetic.findings import resolve_finding
from xray_tl.errors import InputError

CONTRAST_MODES = ("iso", "physical")
MAX_TEMPLATES = 24
"""Largest number of templates: the ideal observer takes about 0.5 ms per template and image."""


RESERVED_SEEDS = range(2**32 - 16, 2**32)
"""Data seeds reserved for the project's own tasks (source task, calibration); no target task may use them."""

_SEED = Range(0, RESERVED_SEEDS[0] - 1)
_COUNT = Range(1, 2**25)

RANGES: dict[str, Range] = {
    "n_train": _COUNT,
    "n_val": _COUNT,
    "n_test": _COUNT,
    "seed": _SEED,
    "train_seed": _SEED,
    "prevalence": Range(0, 1, "low high"),
    "d0": Range(0, 1000, "low"),
    "target_auroc": Range(0.5, 1, "low high"),
    "attenuation": Range(0, 5, "low"),
    "radii": Range(1, 50),
    "radius_scale": Range(0, 1.25, "low"),
    "contrasts": Range(0, 100, "low"),
    "mild_probability": Range(0, 1),
    "mild_contrasts": Range(0, 100, "low"),
    "flip_negative": Range(0, 0.5, "high"),
    "flip_positive": Range(0, 0.5, "high"),
    "acquisition.field_of_view": Range(300, 500),
    "acquisition.kvp": Range(40, 150),
    "acquisition.kerma": Range(0, 1000, "low"),
    "acquisition.dqe": Range(0, 1, "low"),
    "acquisition.scatter_weight": Range(0, 5),
    "acquisition.scatter_sigma": Range(0, 200, "low"),
    "acquisition.mtf_sigma": Range(0, 0.7),
    "acquisition.electronic_noise": Range(0, 0.5, "low"),
    "acquisition.texture_rms": Range(0, 0.5),
    "acquisition.texture_beta": Range(2, 6, "low"),
    "acquisition.texture_f0": Range(0, 0.1, "low"),
    "acquisition.gamma": Range(0, 1),
    "marker.train": Range(-1, 1),
    "marker.test": Range(-1, 1),
    "anatomy.pose": Range(0, 2.5),
    "anatomy.body_scale": Range(0.7, 1.5),
    "anatomy.rib_scale": Range(0, 3),
    "anatomy.vessel_scale": Range(0, 3),
}
"""Option -> allowed values. Lists are checked value by value; None (the finding's own) is always allowed."""


def validate(config: SyntheticDataConfig) -> None:
    """Check every option of the synthetic data set against its range.

    Raises:
        InputError: A value is not valid; the message names the option, its value and what is allowed.
    """
    check_image_size(config.image_size)
    if config.contrast not in CONTRAST_MODES:
        raise InputError(
            f"data.contrast={config.contrast} is unknown: choose from {', '.join(CONTRAST_MODES)}"
        )
    for option, allowed in RANGES.items():
        value: object = config
        for part in option.split("."):
            value = getattr(value, part)
        _check_range(option, value, allowed)
    if config.target_auroc is not None and (config.contrast != "iso" or config.d0 is not None):
        other = f"data.d0={config.d0}" if config.d0 is not None else f"data.contrast={config.contrast}"
        raise InputError(
            f"data.target_auroc={config.target_auroc:g} and {other}: the target finds d0, choose one of them"
            if config.d0 is not None
            else f"data.target_auroc={config.target_auroc:g} needs data.contrast=iso, not {other}"
        )
    _check_bank(config)


def _check_range(option: str, value: object, allowed: Range) -> None:
    if value is None:
        return
    if isinstance(value, int | float):
        if value not in allowed:
            raise InputError(f"data.{option}={value} is not valid: choose {allowed}")
        return
    values = list(value)  # type: ignore[call-overload]  # a list, or OmegaConf's
    if not values:
        raise InputError(f"data.{option} is empty: give at least one value {allowed}")
    for item in values:
        if item not in allowed:
            raise InputError(f"data.{option}={values}: {item} is not valid: choose {allowed}")


def _check_bank(config: SyntheticDataConfig) -> None:
    finding = resolve_finding(config)
    for radius in finding.radii:
        if radius not in RANGES["radii"]:
            raise InputError(
                f"data.radius_scale={config.radius_scale:g} makes a radius of {radius:g} mm: "
                f"radii must be {RANGES['radii']}"
            )
    shapes, radii = len(finding.shapes), len(finding.radii)
    count = shapes * radii
    if count > MAX_TEMPLATES:
        raise InputError(
            f"data.radii gives {count} templates ({shapes} shapes x {radii} radii): "
            f"{MAX_TEMPLATES} are allowed, so at most {MAX_TEMPLATES // shapes} radii"
        )
