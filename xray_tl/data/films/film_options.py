"""Checks of the options of a data set of radiographs in files."""

from __future__ import annotations

import re

from xray_tl.config import RadiographDataConfig
from xray_tl.config.validation import check_image_size
from xray_tl.data.films.decode import FITS, INTENSITIES
from xray_tl.data.films.names import stated_parts
from xray_tl.errors import InputError


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
    check_image_size(config.image_size)
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
