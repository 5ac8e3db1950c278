"""One job of a sweep: what it is, and what the process that does it does; no torch at import."""

from __future__ import annotations

import logging
import logging.config
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from xray_tl.data.films.processes import cores
from xray_tl.errors import FolderError, InputError, InUseError, RunError
from xray_tl.sweeps.places import on_cores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run that a launcher has to do.

    Attributes:
        cfg: Its configuration, without Hydra's own.
        folder: Its folder, absolute.
        logging_config: How it logs (`hydra.job_logging`).
    """

    cfg: DictConfig
    folder: Path
    logging_config: dict[str, Any]


def do_job(cfg: DictConfig, folder: Path) -> str | None:
    """Run one job of a sweep; record a failure and return its message, else return `None`.

    A run that another process works on is no failure: at the end of the sweep its folder is checked.

    Raises:
        KeyboardInterrupt: The run was interrupted, is recorded as interrupted, and can be resumed.
    """
    from xray_tl.runs.run import record_refusal, release_memory, run, settle_imports

    settle_imports()
    try:
        run(cfg, folder, beside=folder.parent)
    except InUseError as error:
        log.warning("%s: %s", folder.name, error)
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


def do_elsewhere(job: Job) -> str | None:
    """Run one job in a process that a launcher started, on at most the threads that it was given."""
    _set_up(job.logging_config, f"{job.folder.name}: ")
    from xray_tl.training.device import limit_threads

    limit_threads(cores())
    return do_job(job.cfg, job.folder)


def make_weights(job: Job, present: list[int] | None = None) -> str | None:
    """Train the source weights that a job needs, if any, while no job runs; return a failure.

    Args:
        job: The job.
        present: Cores to use, of all processes; `None`: those of this process.
    """
    _set_up(job.logging_config, "")
    from xray_tl.runs.run import prepare
    from xray_tl.training.device import limit_threads

    try:
        if present is None:
            limit_threads(cores())
            prepare(job.cfg)
        else:
            with on_cores(present):
                prepare(job.cfg)
    except (InputError, RunError) as error:
        return str(error)
    return None


def _set_up(logging_config: dict[str, Any], prefix: str) -> None:
    """Register config schemas and resolvers; log with a prefix to the terminal that jobs share."""
    from xray_tl.config import register_schemas
    from xray_tl.config.identity import register_resolvers

    register_schemas()
    register_resolvers()
    plain = logging_config["formatters"]["simple"]
    named = {**plain, "format": plain["format"].replace("%(message)s", f"{prefix}%(message)s")}
    logging_config["formatters"]["named"] = named
    logging_config["handlers"]["console"]["formatter"] = "named"
    logging.config.dictConfig(logging_config)
