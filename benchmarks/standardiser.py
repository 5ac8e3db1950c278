"""How a frozen trunk's features should be standardised: what new images make of it, rule by rule.

Every feature over its own SD (z), the same cut at 5 SDs, one scale for all features, each spread shrunk
towards that of all (what `Standardiser` does). For each the test AUROC and NLL of the head that `solve_probe`
finds, and the largest |logit| and |z|.

    python benchmarks/standardiser.py model=efficientnet_lite0 weights=imagenet
    python benchmarks/standardiser.py model=resnet50 weights=source data.image_size=128 data.n_train=800
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from hydra import compose, initialize_config_dir
from scipy.special import expit
from torch import Tensor

from xray_tl.config import conf_dir, register_schemas, typed
from xray_tl.config.identity import register_resolvers
from xray_tl.errors import RunError
from xray_tl.models.classifier import Standardiser
from xray_tl.runs.parts import Parts, assemble
from xray_tl.runs.random_trunk import settle_batchnorm
from xray_tl.statistics.metrics import summarise
from xray_tl.training.linear_probe import solve_probe

OWN = ("mode=frozen", "data.image_size=64", "data.n_train=256", "data.n_test=1000", "logger=none")
PENALTIES = (0.01, 1.0)

Rule = Callable[[Tensor], Tensor]


def _z(features: Tensor) -> Rule:
    mean, sd = features.mean(0), features.std(0, correction=0)
    return lambda x: (x - mean) * torch.where(sd > 1e-6 * features.abs().amax(0), 1 / sd, 0.0)


def _clipped(features: Tensor) -> Rule:
    return lambda x: _z(features)(x).clamp(-5, 5)


def _one_scale(features: Tensor) -> Rule:
    mean, spread = features.mean(0), features.var(0, correction=0).mean().sqrt()
    return lambda x: (x - mean) / spread


def _shrunk(features: Tensor) -> Rule:
    return Standardiser(features.shape[1]).fit(features)


@torch.inference_mode()
def _features(parts: Parts, split: str) -> tuple[Tensor, Tensor]:
    backbone = parts.task.classifier.backbone.eval()
    batches = [(backbone(batch.image), batch.truth) for batch in parts.data.image_batches(split, 32)]
    features, truth = (torch.cat(column) for column in zip(*batches, strict=True))
    return features.clone(), truth.clone()


def main() -> None:
    """Print one row a rule and penalty."""
    register_schemas()
    register_resolvers()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", overrides=[*OWN, "trainer=cpu", *sys.argv[1:]])
    parts = assemble(typed(cfg))
    settle_batchnorm(parts)
    (train, truth), (test, expected) = _features(parts, "train"), _features(parts, "test")
    heading = ("rule", "penalty", "AUROC", "NLL", "|logit| train", "test", "|z| test")
    print("{:10} {:>7} {:>6} {:>8} {:>13} {:>9} {:>9}".format(*heading))
    for rule in (_z, _clipped, _one_scale, _shrunk):
        apply = rule(train)
        for penalty in PENALTIES:
            known, new = (apply(features).double().numpy() for features in (train, test))
            try:
                head = solve_probe(known, *parts.task.objective.entries(truth), "binary", penalty=penalty)
            except RunError as error:
                print(f"{rule.__name__[1:]:10} {penalty:7g} {error}")
                continue
            fitted, logit = (each @ head.weight.T + head.bias for each in (known, new))
            found = summarise(expected.double().numpy(), logit, expit(logit), [0.5])
            print(
                f"{rule.__name__[1:]:10} {penalty:7g} {found['auroc']:6.3f} {found['loss']:8.3f} "
                f"{abs(fitted).max():13.1f} {abs(logit).max():9.1f} "
                f"{float(apply(test).abs().max()):9.1f}"
            )


if __name__ == "__main__":
    main()
