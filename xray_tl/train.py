"""Train, test and record one run, or every run of a sweep.

python -m xray_tl.train model=vgg16 mode=frozen
python -m xray_tl.train -m model=resnet50,vgg16 mode=finetune,frozen seed=0,1,2
"""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from xray_tl.cli import INTERRUPTED, clean_exit
from xray_tl.config import conf_dir, register_schemas
from xray_tl.errors import InputError, RunError
from xray_tl.identity import register_resolvers

log = logging.getLogger(__name__)

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> None:
    """Do one job."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if settings.mode == RunMode.MULTIRUN:
        _sweep_job(cfg, folder, Path(settings.sweep.dir))
    else:
        _single_run(cfg, folder)


def _single_run(cfg: DictConfig, folder: Path) -> None:
    with clean_exit():
        from xray_tl.evaluation.collect import format_run
        from xray_tl.training.run import run

        try:
            record = run(cfg, folder)
        except KeyboardInterrupt:
            log.warning("interrupted: the same options with hydra.run.dir=%s go on with it", folder)
            raise SystemExit(INTERRUPTED) from None
        print(format_run(record, folder))


def _sweep_job(cfg: DictConfig, folder: Path, sweep: Path) -> None:
    """Do one job of a sweep: a failure is recorded, the other jobs go on, the sweep's end names it."""
    from xray_tl.training.run import describe, record_failure, run

    log.info("job %s: %s", HydraConfig.get().job.num, folder.name)
    try:
        run(cfg, folder)
    except KeyboardInterrupt:
        from xray_tl.sweep import summarise

        summarise(sweep)
        log.warning("interrupted: the same command goes on with the sweep")
        raise SystemExit(INTERRUPTED) from None
    except InputError as error:
        log.error("%s: %s", folder.name, error)
        record_failure(folder, describe(cfg), error)
    except RunError as error:
        log.error("%s: %s", folder.name, error)
    except Exception:
        log.exception("%s failed", folder.name)


if __name__ == "__main__":
    main()
