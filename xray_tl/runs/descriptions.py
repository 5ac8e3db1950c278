"""Parts of a run's record: its collection of films, its data and weights, the network that is tested."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from xray_tl.config.identity import PUBLISHED
from xray_tl.data.films.radiographs import Collection
from xray_tl.data.films.reading import MODES
from xray_tl.data.quality.faults import audit
from xray_tl.runs.cost import share_behind
from xray_tl.runs.parts import Parts
from xray_tl.store.files import write_text
from xray_tl.store.records import SPLIT
from xray_tl.training.device import describe_environment

log = logging.getLogger(__name__)

Record = dict[str, Any]


def describe_collection(collection: Collection, folder: Path) -> Record:
    """Write the split table into the run's folder; log and describe the findings of an audit."""
    write_text(folder / SPLIT, collection.split_table().to_csv(index=False))
    found = audit(collection)
    for finding in found:
        log.log(logging.WARNING if finding.serious else logging.INFO, "%s: %s", finding.kind, finding.text)
    files = {
        "bits": sorted({int(bits) for bits in collection.films.bits}),
        "shortest_side": int(collection.films.shape.min()),
        "modes": sorted({MODES[mode] for mode in collection.films.mode}),
    }
    return {"audit": [finding.as_dict() for finding in found], "files": files}


def describe_tested(parts: Parts, best: dict[str, Any], epochs: int) -> Record:
    """Describe the tested epoch, what of the backbone had trained, and its numbers of parameters."""
    classifier = parts.task.classifier
    backbone = classifier.backbone
    tested = {
        "epoch": best["epoch"],
        "kind": backbone.trainable.kind,
        "trained": [backbone.stage_names[stage] for stage in backbone.trainable.stages],
        "open_stages": len(backbone.trainable.stages),
        "stages": backbone.num_stages,
        "most_open": len(parts.task.policy.at_end.stages),
    }
    parameters = {
        "total": sum(parameter.numel() for parameter in classifier.parameters()),
        "trainable": sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
        + sum(parameter.numel() for parameter in classifier.head.parameters()),
    }
    return {"best": tested, "parameters": parameters, "shares_behind": _shares(parts, epochs)}


def _shares(parts: Parts, epochs: int) -> list[float]:
    """Return, by epoch, the share of the backbone's operations that training went through."""
    task, size = parts.task, parts.settings.data.image_size
    if parts.settings.mode.is_solved:
        return []
    trained = [task.policy.trains(epoch) for epoch in range(epochs)]
    share = {now: share_behind(task.classifier.backbone, now, size) for now in set(trained)}
    return [share[now] for now in trained]


def describe_parts(parts: Parts) -> Record:
    """Describe data, initial weights and environment; what the test will add is empty."""
    backbone = parts.task.classifier.backbone
    return {
        "data": parts.data.describe(),
        "data_hash": parts.data.data_hash(),
        "sizes": dict(parts.data.sizes),
        "weights": {**vars(parts.provenance), "scale_and_shift": backbone.scale_and_shift()},
        "weights_seed": None if parts.provenance.source in PUBLISHED else parts.settings.weights.seed,
        "ceiling": None,
        "floors": None,
        "environment": describe_environment(parts.device, parts.precision),
    }


def hparams(parts: Parts, record: Record) -> dict[str, str | float]:
    """Return the options that TensorBoard shows beside the final metrics."""
    settings = parts.settings
    return {
        **record["arm"],
        "seed": settings.seed,
        "finding": record["data"]["finding"],
        "image_size": settings.data.image_size,
        "n_train": parts.data.sizes["train"],
        "head_lr": settings.mode.head_lr,
        "backbone_lr": settings.optim.lr,
        "max_epochs": settings.trainer.max_epochs,
        "trainable_parameters": record["parameters"]["trainable"],
    }
