"""Train, test and record one run, or every run of a sweep.

python -m xray_tl.train model=vgg16 mode=frozen
python -m xray_tl.train -m model=resnet50,vgg16 mode=finetune,frozen seed=0,1,2
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xray_tl.config import conf_dir, register_schemas
from xray_tl.config.cli import clean_exit, refuse_gone
from xray_tl.config.identity import register_resolvers
from xray_tl.config.planned import check_names

log = logging.getLogger(__name__)

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> str | None:
    """Run one job; in a sweep, return why it failed, if it did."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    for option, place in (("run", settings.run.dir), ("sweep", settings.sweep.dir)):
        if place == "":
            raise SystemExit(f"error: hydra.{option}.dir= is empty (a shell variable that is not set?)")
    cfg.arm_file = settings.runtime.choices.get("arm")
    if settings.mode == RunMode.MULTIRUN:
        return _sweep_job(cfg, folder)
    _single_run(cfg, folder)
    return None


def _single_run(cfg: DictConfig, folder: Path) -> None:
    with clean_exit(f"interrupted: the same options with hydra.run.dir={folder} go on with it"):
        from xray_tl.report import board_figures as board
        from xray_tl.runs.run import run
        from xray_tl.study.run_table import format_run

        check_names(cfg, GlobalHydra.instance().config_loader().get_group_options)
        record = run(cfg, folder)
        if cfg.logger.name == "tensorboard":
            board.write_run(folder, record)
        print(format_run(record, folder))


def _sweep_job(cfg: DictConfig, folder: Path) -> str | None:
    """Run one job of a sweep: a failure is recorded and reported at the end; other jobs continue."""
    from xray_tl.sweeps.job import do_job
    from xray_tl.sweeps.sweep import begun

    settings = HydraConfig.get()
    log.info("job %s: %s", settings.job.num, folder.name)
    if begun is not None:
        return do_job(cfg, folder)
    with clean_exit("interrupted: the same command goes on with the sweep"):  # started here by a launcher
        return do_job(cfg, folder)


if __name__ == "__main__":
    from xray_tl.sweeps.sweep import summarised

    with clean_exit(), summarised():
        refuse_gone(sys.argv[1:])
        main()
