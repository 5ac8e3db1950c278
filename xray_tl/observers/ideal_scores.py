"""Scores of the ideal observer for a split, computed once and cached."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from xray_tl.data.synthetic.arithmetic import side_by_side
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.observers.ideal import OBSERVER, IdealObserver
from xray_tl.store.cache import remember

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Number of images that a thread scores at a time."""


def ideal_logit(source: SyntheticRadiographs, images: int) -> NDArray[np.float64]:
    """Return the ideal observer's log-odds of the observed label [N], for the first `images` of a split."""
    identity = {
        "observer": OBSERVER,
        "data": source.identity(),
        "images": images,
        "device": source.device.type,  # devices round differently
    }
    ratio = remember("ideal", identity, lambda: {"log_likelihood_ratio": _score(source, images)})
    logit = observed_logit(source, ratio["log_likelihood_ratio"])
    return logit + marker_log_ratio(source, images)


def observed_logit(
    source: SyntheticRadiographs, log_likelihood_ratio: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-odds of the observed label [N], flips included, from the presence's likelihood ratio."""
    prevalence = source.config.prevalence
    present = log_likelihood_ratio + np.log(prevalence / (1 - prevalence))
    log_present, log_absent = -np.logaddexp(0, -present), -np.logaddexp(0, present)
    with np.errstate(divide="ignore"):  # no flips: ln 0
        kept_p, flip_p = np.log1p(-source.finding.flip_positive), np.log(source.finding.flip_positive)
        kept_n, flip_n = np.log1p(-source.finding.flip_negative), np.log(source.finding.flip_negative)
    positive = np.logaddexp(log_present + kept_p, log_absent + flip_n)
    negative = np.logaddexp(log_present + flip_p, log_absent + kept_n)
    return np.asarray(positive - negative)


def marker_log_ratio(source: SyntheticRadiographs, images: int) -> NDArray[np.float64]:
    """Return the log-likelihood ratio [N] of a positive label that the marker alone gives.

    The marker depends only on the observed label, so the log-ratios of image and marker can be added.
    """
    correlation = source.marker_correlation or 0.0
    with np.errstate(divide="ignore"):
        toward = np.log1p(correlation) - np.log1p(-correlation)
    marked = source.marked(torch.arange(images)).cpu().numpy()
    return np.where(marked, toward, -toward)


def _score(source: SyntheticRadiographs, images: int) -> NDArray[np.float64]:
    log.info("ideal observer: %d %s images", images, source.split)
    observer = IdealObserver(source)
    return side_by_side(observer.log_likelihood_ratio, images, AT_ONCE, source.device).numpy()
