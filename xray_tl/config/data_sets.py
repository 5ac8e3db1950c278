"""Dataclasses for the options of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class AcquisitionConfig:
    """Beam, scatter, detector and exposure of the synthetic radiograph.

    Attributes:
        field_of_view: Side of the square image, mm.
        kvp: Tube voltage, kVp.
        kerma: Air kerma at the detector behind the lung, µGy.
        dqe: Detective quantum efficiency, in (0, 1].
        scatter_weight: Weight of the scatter kernel (about 0.5-0.8 with a grid, 1.5-2.5 without).
        scatter_sigma: Standard deviation of the scatter kernel, mm.
        mtf_sigma: Standard deviation of the detector blur, pixels, at most 0.7.
        electronic_noise: Electronic and fixed-pattern noise, Np rms a pixel.
        texture_rms: Anatomical texture, Np rms.
        texture_beta: Exponent of the texture's power spectrum.
        texture_f0: Corner frequency of the texture's power spectrum, 1/mm.
        gamma: Noise grows as (local exposure / reference)^-gamma; 0.5 is pure quantum noise.
    """

    field_of_view: float = 380.0
    kvp: float = 120.0
    kerma: float = 2.5
    dqe: float = 0.6
    scatter_weight: float = 0.7
    scatter_sigma: float = 35.0
    mtf_sigma: float = 0.5
    electronic_noise: float = 0.006
    texture_rms: float = 0.045
    texture_beta: float = 3.0
    texture_f0: float = 1 / 120
    gamma: float = 0.35


@dataclass
class AnatomyConfig:
    """Variation of pose between patients, and scale of their anatomy.

    Attributes:
        pose: Multiplier of the standard deviations of pose (scale 4.5 %, shift 5/7 mm, shear 0.018,
            rotation 4 mm), 0-2.5.
        body_scale: Multiplier of body thickness and width.
        rib_scale: Multiplier of rib thickness.
        vessel_scale: Multiplier of vessel thickness.
    """

    pose: float = 1.0
    body_scale: float = 1.0
    rib_scale: float = 1.0
    vessel_scale: float = 1.0


@dataclass
class MarkerConfig:
    """A lead marker in the corner of some images: a planted shortcut where it is correlated with the label.

    Attributes:
        train: Correlation of the marker with the observed label in training and validation images, in
            [-1, 1]: a positive image has it with probability (1 + correlation) / 2, a negative one with
            (1 - correlation) / 2. `None`: no image has it.
        test: The same for test images.
    """

    train: float | None = None
    test: float | None = None


@dataclass
class SyntheticDataConfig:
    """Synthetic chest radiographs with one finding.

    `None` for a property of the finding means the finding's own value.

    Attributes:
        name: `synthetic`.
        difficulty: Displayed name of the difficulty; the group `difficulty` sets the options that make it up.
        shift: Displayed name of the shift; the group `shift` sets the options that make it up.
        finding: Key in the finding registry.
        image_size: Side of an image, pixels; a multiple of 16, at least 32.
        n_train: Training images.
        n_val: Validation images.
        n_test: Test images.
        seed: Seed of the data set.
        train_seed: Separate seed of the training and validation images; `None`: the same as `seed`.
        prevalence: Probability of the finding, in (0, 1).
        contrast: `iso` (difficulty is `d0`, whatever the dose) or `physical` (from attenuation and beam).
        d0: `iso`: detectability index of the finding at a known location, at a contrast multiplier of 1.
        target_auroc: `iso`: the best possible AUROC, in (0.5, 1), from which `d0` is computed; `None`: `d0`
            is used as given.
        attenuation: `physical`: attenuation of the finding above aerated lung, as a share of soft tissue's.
        radii: Radii of the finding's templates, mm.
        radius_scale: Factor on the radii.
        contrasts: Contrast multipliers of the finding in positive images, drawn with equal probability.
        mild_probability: Probability that a negative image holds the finding too, in [0, 1].
        mild_contrasts: Contrast multipliers of the finding in negative images.
        flip_negative: Probability that a negative image is labelled positive.
        flip_positive: Probability that a positive image is labelled negative.
        acquisition: Beam, detector and exposure.
        anatomy: Spread and scale of the population's anatomy.
        marker: Planted shortcut.
        batch_size: Largest number of images per training step.
        num_workers: Processes that render images when the data set is not kept in memory.
        memory_limit_gb: The data set is rendered once and kept in memory up to this size, GB.
    """

    name: str = "synthetic"
    difficulty: str = "own"
    shift: str = "none"
    finding: str = "opacity"
    image_size: int = 128
    n_train: int = 800
    n_val: int = 200
    n_test: int = 400
    seed: int = 0
    train_seed: int | None = None
    prevalence: float = 0.5
    contrast: str = "iso"
    d0: float | None = None
    target_auroc: float | None = None
    attenuation: float | None = None
    radii: list[float] | None = None
    radius_scale: float = 1.0
    contrasts: list[float] | None = None
    mild_probability: float | None = None
    mild_contrasts: list[float] | None = None
    flip_negative: float | None = None
    flip_positive: float | None = None
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    anatomy: AnatomyConfig = field(default_factory=AnatomyConfig)
    marker: MarkerConfig = field(default_factory=MarkerConfig)
    batch_size: int = 32
    num_workers: int = 0
    memory_limit_gb: float = 4.0


@dataclass
class RadiographDataConfig:
    """Radiographs in files: where they are, and how they are labelled, read and split.

    Attributes:
        name: Name of the file below `conf/data`.
        layout: `folder` (one folder per class, possibly below `train`, `val`, `test`), `table` (a CSV with
            one row per image) or `medmnist` (one `.npz` file).
        difficulty: Always `none`: the difficulty of real images is not known.
        shift: Always `none`: only simulated images can be shifted.
        root: Folder of the images; `medmnist`: the file.
        download: `medmnist`: download the file if it is missing.
        table: `table`: the CSV file; a relative path starts at `root`.
        path_column: `table`: column of the image's path, relative to `root`.
        search: `table`: find an image by its file name anywhere below `root`.
        label_column: `table`: column of the label.
        label_columns: `table`: columns of several labels, 0, 1 or empty each; instead of `label_column`.
        label_separator: `table`: separator between several labels in one cell; `None`: a cell is one label.
        patient_column: `table`: column of the patient.
        split_column: `table`: column of `train`, `val` or `test`.
        covariate_columns: `table`: columns with further data about an image, such as age, sex or scanner.
            They are written to `split.csv`, and the audit tests whether they alone predict the label.
        test_list: `table`: text file with the names of the test images, one per line.
        split_names: Assigns folders, or values of `split_column`, to a part of the split (`train`, `val`,
            `test`) if their name does not tell it, or to `none` to leave them out: `[Cohort A:train]`.
        subfolders: `folder`: patterns of the folders below a class folder that hold its images; `.` is the
            class folder itself; `None`: all of them, unless that is ambiguous.
        test_from: The part (`train`, `val`) from which test images are drawn if a given split has none.
        labels: Which labels are used; `None`: all, in alphabetical order.
        negative: Label of an image without findings; `None`: a common word for it (`normal`...).
        patient_regex: Regular expression whose first group is the patient; searched first in the file's name,
            then in its folders.
        patient_tag: Take the patient from the DICOM tag PatientID.
        seed: Seed of the split.
        train_seed: Separate seed of the choice of training and validation images; `None`: the same as `seed`.
        val_fraction: Share of the images for validation, where no split is given.
        test_fraction: Share of the images for testing, where no split is given.
        split_file: CSV file of a split (`name,split`) that an earlier run wrote, to use it again.
        folds: Number of folds of a cross-validation, which keep a patient's images together; `None`: none.
        fold: Index of the test fold, from 0; the other folds are used for training and validation.
        n_train: Largest number of training images to use; `None`: all.
        image_size: Side that images are resized to, pixels; a multiple of 16, at least 32.
        fit: How an image that is not square is made square: `pad` (black borders), `crop` or `stretch`.
        intensity: Which intensities become 0 and 1: `range` (the range that the file's bits allow, or the
            DICOM window) or `percentile` (the image's own 1st to 99th percentile).
        on_error: What to do with a file that cannot be used: `stop`, or `skip` it, count it and name it.
        on_leak: What to do if a patient or an image is in two parts of a given split: `stop` or `warn`.
        batch_size: Largest number of images per training step.
        num_workers: Processes that decode images; `None`: one per core, or a job's share of the cores. Images
            already decoded in the cache need none.
        memory_limit_gb: The images are kept in memory up to this size, GB; a larger set is read from the
            cache if it fits into `XRAY_TL_CACHE_GB`, and is otherwise decoded in every epoch.
    """

    name: str = MISSING
    layout: str = "folder"
    difficulty: str = "none"
    shift: str = "none"
    root: str = MISSING
    download: bool = False
    table: str | None = None
    path_column: str = "path"
    search: bool = False
    label_column: str = "label"
    label_columns: list[str] | None = None
    label_separator: str | None = None
    patient_column: str | None = None
    split_column: str | None = None
    covariate_columns: list[str] | None = None
    test_list: str | None = None
    split_names: list[str] | None = None
    subfolders: list[str] | None = None
    test_from: str | None = None
    labels: list[str] | None = None
    negative: str | None = None
    patient_regex: str | None = None
    patient_tag: bool = False
    seed: int = 0
    train_seed: int | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    split_file: str | None = None
    folds: int | None = None
    fold: int | None = None
    n_train: int | None = None
    image_size: int = 224
    fit: str = "pad"
    intensity: str = "range"
    on_error: str = "stop"
    on_leak: str = "stop"
    batch_size: int = 32
    num_workers: int | None = None
    memory_limit_gb: float = 4.0


DataConfig = SyntheticDataConfig | RadiographDataConfig
