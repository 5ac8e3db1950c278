"""Submission of batches to Slurm through submitit: arrays, dependencies, what a job asks for; no torch."""

from __future__ import annotations

import logging
import os
import shlex
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xray_tl.config import SlurmConfig
from xray_tl.errors import InputError, RunError
from xray_tl.store.cache import cache_folder
from xray_tl.store.files import write_text
from xray_tl.store.records import git_revision
from xray_tl.store.sweep_file import write_sweep
from xray_tl.sweeps.batches import Batch, arrays
from xray_tl.sweeps.slurm_jobs import MARK, Report, Terms, Work, read_mark
from xray_tl.sweeps.slurm_queue import longest_array, main_ids

log = logging.getLogger(__name__)

LOGS = Path(".submitit") / "%j"
"""Folder of a job's own files in the sweep's folder; `%j` is its id."""


NAMED = ("partition", "account", "qos", "constraint", "gres", "gpus_per_node", "cpus_per_task", "mem")
"""What is said of a job that Slurm refuses."""


@dataclass
class Submission:
    """Jobs of a sweep that this process submits.

    Attributes:
        options: What they ask of Slurm.
        folder: The sweep's folder, absolute.
        on_gpu: Whether they ask for a GPU.
        ids: Name of a run's folder -> id of its job; it grows while jobs are submitted.
    """

    options: SlurmConfig
    folder: Path
    on_gpu: bool
    ids: dict[str, str]

    def submit(self, batches: Sequence[Batch]) -> None:
        """Submit batches, those that others wait for first.

        Raises:
            InputError: Slurm refused a job; what was submitted before goes on.
        """
        terms = Terms(
            self.options.cpus_per_task,
            self.options.timeout_min,
            self.options.signal_delay_s,
            git_revision(),
            cache_folder().absolute(),
            _mark_cache(),
        )
        ids: dict[int, str] = {}
        for array in arrays(batches, self._longest()):
            before = (ids[number] for number in sorted(batches[array[0]].after))
            asked = _asked(self.options, on_gpu=self.on_gpu) | _after(before)
            given = self._hand_over([Work(batches[number], terms) for number in array], asked)
            ids |= dict(zip(array, given, strict=True))
            new = {
                job.folder.name: ids[number]
                for number in array
                for job in batches[number].jobs
                if not batches[number].weights
            }
            self.ids.update(new)
            try:
                write_sweep(self.folder, submitted=new)
            except OSError as error:
                log.warning(
                    "which runs are queued (jobs %s) cannot be noted in %s, so that another command would "
                    "submit them again: %s",
                    ", ".join(main_ids(new.values())),
                    self.folder,
                    error,
                )

    def submit_report(self, logging_config: dict[str, Any]) -> str:
        """Submit the job that makes the report when all others have ended, well or not; return its id.

        Raises:
            InputError: Slurm refused it.
        """
        own = for_report(self.options)
        on_gpu = not {"gpus_per_node", "gres"}.isdisjoint(self.options.report or {})
        asked = _asked(own, on_gpu=on_gpu) | _after(main_ids(self.ids.values()))
        (job_id,) = self._hand_over([Report(self.folder, logging_config)], asked)
        return job_id

    def _longest(self) -> int:
        longest = self.options.max_array
        if longest == "auto":
            return longest_array()
        if not isinstance(longest, int) or longest < 1:
            raise InputError(
                f"hydra.launcher.max_array={longest} is not valid: choose auto or a number from 1"
            )
        return longest

    def _hand_over(self, calls: Sequence[Callable[[], None]], asked: dict[str, Any]) -> list[str]:
        """Submit calls as one job or one array; return the id of each."""
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import clean_env

        inside = clean_env() if "SLURM_JOB_ID" in os.environ else nullcontext()
        try:
            with inside, redirect_stderr(StringIO()):  # what sbatch says is printed too, and raised
                executor = SlurmExecutor(self.folder / LOGS, max_num_timeout=self.options.max_num_timeout)
                executor.update_parameters(**asked)
                return [job.job_id for job in executor.submit_array(list(calls))]
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(self._refused(str(error), asked)) from error

    def _refused(self, said: str, asked: dict[str, Any]) -> str:
        """Return one line on a job that Slurm refused: its own last line, what was asked, what goes on."""
        last = (said.strip().splitlines() or ["no reason given"])[-1].removeprefix("sbatch: error: ")
        given = " ".join(f"{name}={asked[name]}" for name in NAMED if name in asked)
        text = f"Slurm refused the jobs: {last} (hydra.launcher asks for {given}"
        if "gpus_per_node" in asked:
            text += "; where there are no GPUs, hydra.launcher.gpus_per_node=0"
        text += ")"
        if self.ids:
            text += (
                f"; jobs {', '.join(main_ids(self.ids.values()))} ({len(self.ids)} runs) go on, "
                "the same command submits the others"
            )
        return text


def error_log(folder: Path, job_id: str) -> Path:
    """Return the file of a job's stderr in a sweep's folder."""
    return folder / str(LOGS).replace("%j", job_id) / f"{job_id}_0_log.err"


def for_report(options: SlurmConfig) -> SlurmConfig:
    """Return the options of the job that makes the report: one core, and what `report` says.

    Raises:
        InputError: It names no option, or gives one a wrong type.
    """
    try:
        own = OmegaConf.merge(OmegaConf.structured(options), {"cpus_per_task": 1}, options.report or {})
        made = OmegaConf.to_object(own)
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.launcher.report={options.report}: {str(error).splitlines()[0]}") from error
    assert isinstance(made, SlurmConfig)
    return made


def _asked(options: SlurmConfig, *, on_gpu: bool) -> dict[str, Any]:
    """Return what a job asks for, by submitit's names."""
    cores, additional = options.cpus_per_task, {"requeue": True, **(options.additional_parameters or {})}
    own = [
        f"export OMP_NUM_THREADS={cores} MKL_NUM_THREADS={cores}",  # read at imports
        f"export XRAY_TL_CACHE={shlex.quote(str(cache_folder().absolute()))}",
    ]
    asked = {
        "job_name": "xray_tl",
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "gres": options.gres if on_gpu else None,
        "gpus_per_node": options.gpus_per_node or None if on_gpu and not options.gres else None,
        "cpus_per_task": cores,
        "mem": f"{1024 * options.mem_gb:.0f}M" if options.mem_gb else None,
        "time": options.timeout_min,
        "signal_delay_s": options.signal_delay_s,
        "array_parallelism": options.array_parallelism,
        "setup": [*own, *options.setup],  # the user's have the last word
        "srun_args": [f"--cpus-per-task={cores}"],  # from Slurm 22.05 on srun takes one core otherwise
        "additional_parameters": {name: value for name, value in additional.items() if value is not None},
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return given | {"wckey": None}  # of submitit, which a site that keeps such keys would refuse


def _after(ids: Iterable[str]) -> dict[str, str]:
    """Return the dependency on jobs that must have ended, well or not; empty if there are none."""
    text = ":".join(ids)
    return {"dependency": f"afterany:{text}"} if text else {}


def _mark_cache() -> str | None:
    """Return the mark of the cache folder, made if there is none; `None`: it cannot be written to."""
    cache = cache_folder()
    if read_mark(cache) is None:
        with suppress(OSError, RunError):
            write_text(cache / MARK, uuid.uuid4().hex)
    return read_mark(cache)
