"""Measure what backbones cost on this machine: latency, throughput, training speed and memory.

python -m xray_tl.bench model=resnet50,vgg16
python -m xray_tl.bench model=resnet50,vgg16 sweep=outputs/study/quick
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from xray_tl.config import BenchConfig, conf_dir, register_schemas, typed_node
from xray_tl.config.cli import clean_exit
from xray_tl.config.identity import backbone_name
from xray_tl.config.validation import check_values
from xray_tl.errors import InputError
from xray_tl.store.files import write_text

log = logging.getLogger(__name__)

register_schemas()


class BenchTable(Callback):
    """Hydra callback: write one table, and one figure, of all the backbones that were measured."""

    def __init__(self) -> None:
        self.measured: list[dict[str, Any]] = []
        self.refused: list[str] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Keep the measurements of one backbone, or the reason why there are none."""
        result = job_return._return_value
        if job_return.status == JobStatus.COMPLETED and isinstance(result, dict):
            self.measured.append(result)
        else:
            self.refused.append(str(result))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401  (Hydra)
        """Write the table as CSV and JSON, print it, and plot the sweep's arms against latency."""
        with clean_exit():
            if self.measured:
                self._write(Path(config.hydra.sweep.dir), config.sweep)
            if self.refused:
                raise InputError("; ".join(self.refused))

    def _write(self, folder: Path, sweep: str | None) -> None:
        from xray_tl.report.cost_table import as_frame, format_bench, write_tradeoff

        frame = as_frame(self.measured)
        write_text(folder / "bench.csv", frame.to_csv(index=False))
        write_text(folder / "bench.json", json.dumps(self.measured, indent=1))
        print(f"\n{format_bench(frame)}\n\n{folder / 'bench.csv'}")
        if sweep is not None:
            print(write_tradeoff(frame, Path(sweep), folder))


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="bench")
def main(cfg: DictConfig) -> dict[str, Any] | str:
    """Measure one backbone, or return why it cannot be measured: the other backbones' results are kept."""
    with clean_exit():
        try:
            return _measure(cfg)
        except InputError as error:
            return str(error)


def _measure(cfg: DictConfig) -> dict[str, Any]:
    check_values(cfg)
    chosen = typed_node(cfg, BenchConfig)
    _check(chosen)
    from xray_tl.runs.cost import Effort, machine_for, measure
    from xray_tl.store.allocator import keep_large_blocks
    from xray_tl.training.device import choose_device, choose_precision, describe_environment, set_threads

    keep_large_blocks()
    set_threads(chosen.trainer)
    device = choose_device(chosen.trainer.accelerator)
    precision = choose_precision(chosen.trainer.precision, device)
    effort = Effort(
        chosen.image_size, chosen.batch_size, chosen.latency_repeats, chosen.repeats, chosen.warm_up
    )
    name = backbone_name(cfg)
    log.info("measuring %s", name)
    return {
        "model": name,
        **measure(chosen.model, effort, machine_for(device, precision)),
        **asdict(effort),
        "environment": describe_environment(device, precision),
    }


def _check(chosen: BenchConfig) -> None:
    for option, least in (("batch_size", 2), ("latency_repeats", 1), ("repeats", 1), ("warm_up", 0)):
        value = getattr(chosen, option)
        if value < least:
            raise InputError(f"{option}={value} is not valid: choose at least {least}")
    if chosen.sweep is not None and not Path(chosen.sweep).is_dir():
        raise InputError(f"sweep={chosen.sweep} is not a folder: give that of a finished sweep")


if __name__ == "__main__":
    main()
