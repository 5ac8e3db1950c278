"""Floors of a run: classifiers without learned features, scored once per data set."""

from __future__ import annotations

import logging

import numpy as np
import sklearn
from scipy.special import expit, softmax

from xray_tl.data.datamodule import XrayDataModule
from xray_tl.data.synthetic.rng import SPLITS
from xray_tl.statistics.floors import BINS, FLOORS, VERSION, image_features, logistic_regression, majority
from xray_tl.statistics.metrics import choose_thresholds, summarise
from xray_tl.store.array_file import Arrays
from xray_tl.store.cache import remember

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Images rendered at once."""


def describe_floors(data: XrayDataModule) -> dict[str, dict[str, float]]:
    """Return the record's `floors`: the test metrics of every floor, thresholds chosen on validation."""
    kept, multiclass = _kept(data), data.targets.kind == "multiclass"
    described = {}
    for name in FLOORS:
        logit = {split: kept[f"{name}.{split}"] for split in ("val", "test")}
        val = softmax(logit["val"], axis=1) if multiclass else expit(logit["val"])
        thresholds = choose_thresholds(kept["truth.val"], val)
        test, truth = logit["test"], kept["truth.test"]
        probability = softmax(test, axis=1) if multiclass else expit(test)
        described[name] = summarise(truth, test, probability, thresholds, multiclass=multiclass)
    return described


def describe_images(data: XrayDataModule) -> dict[str, list[float]]:
    """Return the record's `images`: mean and SD, over training images, of an image's mean and of its SD."""
    kept = _kept(data)["intensity.train"]
    return {name: [float(kept[0, k]), float(kept[1, k])] for k, name in enumerate(("mean", "spread"))}


def _kept(data: XrayDataModule) -> Arrays:
    identity = {
        "floors": VERSION,
        "data": data.data_hash(),
        "device": data.device.type,  # devices render slightly different images
        "scikit-learn": sklearn.__version__,
    }
    return remember("floors", identity, lambda: _score(data))


def _score(data: XrayDataModule) -> Arrays:
    """Return truth and every floor's logits of validation and test [N, T], and intensities of training."""
    log.info("floors: %s images", sum(data.sizes.values()))
    truth, features = {}, {}
    for split in SPLITS:
        parts = [
            image_features(batch.image[:, 0].cpu().numpy()) | {"truth": batch.truth.cpu().double().numpy()}
            for batch in data.image_batches(split, AT_ONCE)
        ]
        features[split] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        truth[split] = features[split].pop("truth")
    scores = {"majority": majority(truth)}
    for name in features["train"]:
        scores[name] = logistic_regression({split: features[split][name] for split in SPLITS}, truth)
    kept = {f"{name}.{split}": scores[name][split] for name in FLOORS for split in ("val", "test")}
    intensity = features["train"]["image_statistics"][:, BINS : BINS + 2].astype(np.float64)
    kept["intensity.train"] = np.stack([intensity.mean(0), intensity.std(0)])
    return kept | {f"truth.{split}": truth[split] for split in ("val", "test")}
