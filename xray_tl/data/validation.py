"""Valid values of a data set's options; free of torch, so that a typing mistake is told at once."""

from __future__ import annotations

import re

from xray_tl.config import RadiographDataConfig, SyntheticDataConfig
from xray_tl.data.decode import FITS, INTENSITIES
from xray_tl.data.findings import resolve_finding
from xray_tl.data.names import stated_parts
from xray_tl.errors import InputError
from xray_tl.validation import Range

CONTRAST_MODES = ("iso", "physical")
MAX_TEMPLATES = 24
"""The ideal observer takes about 0.5 ms a template and image."""


RESERVED_SEEDS = range(2**32 - 16, 2**32)
"""Data seeds of the project's own tasks (source task, calibration), kept from every target task."""

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
        InputError: One line that names the option, its value and what is allowed.
    """
    _check_image_size(config.image_size)
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


def _check_image_size(size: int) -> None:
    if size >= 32 and size % 16 == 0:
        return
    below = max(size // 16 * 16, 32)
    nearest = f"the nearest are {below} and {below + 16}" if size > 32 else "the smallest is 32"
    problem = "is not a multiple of 16" if size > 32 else "is too small"
    raise InputError(f"data.image_size={size} {problem}: {nearest}")


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


def validate_radiographs(config: RadiographDataConfig) -> None:
    """Check the options of a data set of files.

    Raises:
        InputError: An option is outside its valid values; the message names both.
    """
    choices = {
        "layout": (config.layout, ("folder", "table", "medmnist")),
        "fit": (config.fit, FITS),
        "intensity": (config.intensity, INTENSITIES),
        "on_error": (config.on_error, ("stop", "skip")),
        "on_leak": (config.on_leak, ("stop", "warn")),
        "shift": (config.shift, ("none",)),
        "difficulty": (config.difficulty, ("none",)),
    }
    for option, (value, valid) in choices.items():
        if value not in valid:
            raise InputError(
                f"data.{option}={value} is not valid for data={config.name}: choose {' or '.join(valid)}"
            )
    _check_image_size(config.image_size)
    val, test = config.val_fraction, config.test_fraction
    if not (val > 0 and test > 0 and (val + test < 1 or test == 1)):
        raise InputError(
            f"data.val_fraction={val:g} and data.test_fraction={test:g} are not valid: each is more than 0, "
            "and together they are less than 1 (or data.test_fraction=1, to test on all images)"
        )
    _check_folds(config)
    _check_layout(config)
    if config.num_workers is not None and config.num_workers < 0:
        raise InputError(f"data.num_workers={config.num_workers} is not valid: choose at least 0")
    if config.label_columns and (config.labels or config.negative):
        raise InputError("data.label_columns names the labels: data.labels and data.negative must be null")
    if config.layout == "medmnist" and (config.labels or config.negative or config.patient_regex):
        raise InputError(
            "data=medmnist has its own labels: data.labels, negative and patient_regex must be null"
        )
    taken = sorted({"name", "split", "patient", "content", "pixels"} & set(config.covariate_columns or ()))
    if taken:
        raise InputError(f"data.covariate_columns has {taken[0]}, which split.csv has already: rename it")
    if config.download and config.layout != "medmnist":
        raise InputError(f"data.download=true is for data=medmnist, not for data={config.name}")
    if config.test_list and config.split_column:
        raise InputError("data.test_list and data.split_column both give a split: choose one of them")
    if config.n_train is not None and config.n_train < 2:
        raise InputError(f"data.n_train={config.n_train} is not valid: choose at least 2")
    if config.patient_regex is not None:
        try:
            groups = re.compile(config.patient_regex).groups
        except re.error as error:
            raise InputError(
                f"data.patient_regex={config.patient_regex} is no regular expression: {error}"
            ) from None
        if groups < 1:
            raise InputError(f"data.patient_regex={config.patient_regex} needs a group: '^([0-9]+)_'")


def _check_layout(config: RadiographDataConfig) -> None:
    stated_parts(config.split_names)
    if config.split_names and (
        config.layout == "medmnist" or (config.layout == "table" and not config.split_column)
    ):
        raise InputError(
            "data.split_names says what folders (data=folder, dicom) or values of data.split_column stand "
            f"for: data={config.name} has none"
        )
    if config.subfolders is not None and (config.layout != "folder" or not config.subfolders):
        raise InputError(
            f"data.subfolders={config.subfolders} is not valid for data={config.name}: it names sub-folders "
            "of class folders (data=folder, dicom), at least one pattern"
        )
    if config.test_from is not None and config.test_from not in ("train", "val"):
        raise InputError(f"data.test_from={config.test_from} is not valid: choose train or val")


def _check_folds(config: RadiographDataConfig) -> None:
    if config.folds is None:
        if config.fold is not None:
            raise InputError(f"data.fold={config.fold} needs data.folds, the number of folds")
        return
    if config.folds < 2:
        raise InputError(f"data.folds={config.folds} is not valid: choose at least 2, or null")
    if config.fold is None or not 0 <= config.fold < config.folds:
        every = ",".join(map(str, range(config.folds)))
        raise InputError(
            f"data.folds={config.folds} needs data.fold, 0 to {config.folds - 1}, not {config.fold}: "
            f"a sweep (-m) takes them all with data.fold={every}"
        )
    if config.split_file is not None or config.test_fraction == 1:
        other = f"split_file={config.split_file}" if config.split_file else "test_fraction=1"
        raise InputError(
            f"data.folds={config.folds} and data.{other} both choose the test images: choose one"
        )
