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

from xray_tl.cli import clean_exit
from xray_tl.config import conf_dir, register_schemas
from xray_tl.errors import FolderError, InputError, RunError
from xray_tl.identity import register_resolvers

log = logging.getLogger(__name__)

register_schemas()
register_resolvers()


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> str | None:
    """Do one job; in a sweep return why it failed, if it did."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    if settings.mode == RunMode.MULTIRUN:
        return _sweep_job(cfg, folder, Path(settings.sweep.dir))
    _single_run(cfg, folder)
    return None


def _single_run(cfg: DictConfig, folder: Path) -> None:
    with clean_exit(f"interrupted: the same options with hydra.run.dir={folder} go on with it"):
        from xray_tl.evaluation.collect import format_run
        from xray_tl.training.run import run

        print(format_run(run(cfg, folder), folder))


def _sweep_job(cfg: DictConfig, folder: Path, sweep: Path) -> str | None:
    """Do one job of a sweep: a failure is recorded, the other jobs go on, the sweep's end names it."""
    with clean_exit("interrupted: the same command goes on with the sweep"):
        from xray_tl.sweep import summarise
        from xray_tl.training.run import record_refusal, release_memory, run

        log.info("job %s: %s", HydraConfig.get().job.num, folder.name)
        try:
            run(cfg, folder)
        except KeyboardInterrupt:
            summarise(sweep)
            raise
        except (InputError, RunError) as error:
            log.error("%s: %s", folder.name, error)
            if not isinstance(error, FolderError | RunError):
                record_refusal(cfg, folder, error)
            return str(error)
        except Exception as error:
            log.exception("%s failed", folder.name)
            return f"{type(error).__name__}: {error}"
        finally:
            release_memory()
    return None


if __name__ == "__main__":
    main()
