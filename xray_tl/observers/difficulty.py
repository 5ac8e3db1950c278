"""Difficulty of a task: find the detectability d0 at which the best possible AUROC has a given value."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit, ndtri

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.generator_options import RESERVED_SEEDS, validate
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.errors import InputError
from xray_tl.observers.ideal import OBSERVER, IdealObserver
from xray_tl.observers.ideal_scores import marker_log_ratio, observed_logit
from xray_tl.statistics.bounds import weighted_auroc
from xray_tl.store.cache import remember

log = logging.getLogger(__name__)

IMAGES = 1000
"""Number of images on which difficulty is measured; they belong to no data set."""

LOWEST, HIGHEST = 0.5, 100.0
"""Limits of the search for d0."""

TOLERANCE = 2e-3
"""Relative tolerance of d0, far below its uncertainty from the sampling of images."""


def resolve_difficulty(
    config: SyntheticDataConfig, device: torch.device | str = "cpu"
) -> SyntheticDataConfig:
    """Return the configuration with the `d0` for its `target_auroc`, or unchanged if it has no target.

    Raises:
        InputError: An option is outside its range or excluded by another, or no d0 reaches the target; the
            message then states the possible range.
    """
    target = config.target_auroc
    if target is None:
        return config
    validate(config)
    open_ended = replace(config, target_auroc=None, d0=LOWEST)
    source = SyntheticRadiographs(open_ended, split="test", seed=RESERVED_SEEDS[0], device=device)
    identity = {"observer": OBSERVER, "data": source.identity(), "images": IMAGES, "target": target}
    identity["device"] = source.device.type  # devices round differently
    found = remember("difficulty", identity, lambda: {"d0": np.array(_solve(open_ended, target, device))})
    return replace(config, target_auroc=None, d0=float(found["d0"]))


def _solve(config: SyntheticDataConfig, target: float, device: torch.device | str) -> float:
    log.info("looking for the d0 at which the best possible AUROC is %g", target)

    @functools.cache
    def excess(log_d0: float) -> float:
        auroc = soft_auroc(replace(config, d0=float(np.exp(log_d0))), device)
        return float(ndtri(np.clip(auroc, 1e-6, 1 - 1e-6)) - ndtri(target))  # ndtri(1) is infinite

    low, high = float(np.log(LOWEST)), float(np.log(HIGHEST))
    if excess(low) > 0 or excess(high) < 0:
        reachable = [soft_auroc(replace(config, d0=d0), device) for d0 in (LOWEST, HIGHEST)]
        raise InputError(
            f"data.target_auroc={target:g} cannot be reached: data.finding={config.finding} with its label "
            f"flips and mild findings allows {reachable[0]:.3f} to {reachable[1]:.3f}"
        )
    # Rounded, far below what matters, so that machines with different rounding get the same data set.
    d0 = float(f"{np.exp(brentq(excess, low, high, xtol=TOLERANCE)):.4g}")
    log.info("d0 = %.3f", d0)
    return d0


def soft_auroc(config: SyntheticDataConfig, device: torch.device | str = "cpu") -> float:
    """Return the best possible AUROC of a configuration, measured on images that belong to no data set."""
    source = SyntheticRadiographs(config, split="test", seed=RESERVED_SEEDS[0], device=device)
    logit = observed_logit(source, IdealObserver(source).log_likelihood_ratio(torch.arange(IMAGES)).numpy())
    logit = logit + marker_log_ratio(source, IMAGES)
    return weighted_auroc(expit(logit), logit)[0]
