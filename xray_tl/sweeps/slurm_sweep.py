"""A sweep on Slurm, seen from its command: what is left to do, the wait, how jobs ended; no torch."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from xray_tl.config import SlurmConfig
from xray_tl.config.cli import INTERRUPTED
from xray_tl.errors import FolderError, InputError
from xray_tl.store.locks import take
from xray_tl.store.run_folder import RunState, Standing, check_same_run, standing
from xray_tl.store.sweep_file import read_sweep
from xray_tl.sweeps import slurm_queue, sweep
from xray_tl.sweeps.batches import batches
from xray_tl.sweeps.job import Job, do_job
from xray_tl.sweeps.shared_work import distinct, lacks_weights, sets_of_weights
from xray_tl.sweeps.slurm_jobs import NOT_AGAIN
from xray_tl.sweeps.slurm_queue import Queued, main_ids
from xray_tl.sweeps.slurm_submission import Submission, error_log, for_report
from xray_tl.sweeps.standings import counted

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 10.0
"""Seconds between two looks at the queue: the first pause, and the longest to which it grows."""
SAY_S = 60.0
"""Least number of seconds between two lines on how far the sweep is."""
SETTLE_S = 10.0
"""Seconds for which what another machine has written may not be seen here."""

_NO_FAILURE = (RunState.COMPLETE, RunState.RUNNING)
"""States of runs that are not named as failures; one that another process works on is named apart."""


class SlurmSweep:
    """Runs of a sweep that are jobs of Slurm.

    Args:
        options: What the jobs ask for.
        folder: The sweep's folder, absolute.
        jobs: The runs.
        logging_config: How the job logs that makes the report.

    Raises:
        InputError: Jobs cannot be submitted from this machine, or an option has no valid value.
    """

    def __init__(
        self, options: SlurmConfig, folder: Path, jobs: Sequence[Job], logging_config: dict[str, Any]
    ) -> None:
        slurm_queue.check_here()
        for name in ("cpus_per_task", "timeout_min", "runs_per_job", "array_parallelism"):
            if getattr(options, name) < 1:
                raise InputError(
                    f"hydra.launcher.{name}={getattr(options, name)} is not valid: choose a number from 1"
                )
        if options.signal_delay_s >= 60 * options.timeout_min:
            raise InputError(
                f"hydra.launcher.signal_delay_s={options.signal_delay_s} leaves nothing of "
                f"hydra.launcher.timeout_min={options.timeout_min}: choose a longer time limit"
            )
        for name in ("additional_parameters", "report"):
            if not isinstance(getattr(options, name), dict | None):
                raise InputError(
                    f"hydra.launcher.{name}={getattr(options, name)} is not valid: give {{OPTION: VALUE}}"
                )
        for_report(options)  # before any job is submitted
        self._options, self._folder, self._runs = options, folder, distinct(jobs)
        self._logging = logging_config
        self._ids: dict[str, str] = {}
        self._report_id: str | None = None
        self._before: dict[str, Standing] = {}
        self._held: set[str] = set()

    def do(self) -> dict[str, str]:
        """Submit the runs that are left to do, and wait for them; return the failures, by name of folder.

        Raises:
            InputError: Slurm refused a job.
            SystemExit: The command ends here, and the jobs go on.
        """
        complete, failures = self._complete()
        settled = {job.folder.name for job in complete} | failures.keys()
        todo = [job for job in self._runs if job.folder.name not in settled]
        if not todo:
            return failures
        self._before = {job.folder.name: _standing(job) for job in todo}
        try:
            self._submit(todo, complete)
            if not self._options.wait:
                self._leave_them(failures)
            self._wait()
        except KeyboardInterrupt:
            self._interrupted()
        if self._report_id is not None:
            slurm_queue.cancel_waiting([self._report_id])  # this command makes the report
        return failures | self._failures(todo)

    def _complete(self) -> tuple[list[Job], dict[str, str]]:
        """Return the runs that are complete, and why others that were complete are not accepted.

        Whether image files have changed since is checked here, for runs on files.
        """
        complete, failures = [], {}
        for job in self._runs:
            if _standing(job).state is not RunState.COMPLETE:
                continue
            failure = None
            try:
                check_same_run(job.folder, job.cfg)
            except FolderError as error:
                failure = str(error)
            if failure is None and job.cfg.data.name != "synthetic":
                failure = do_job(job.cfg, job.folder)
            if failure is None:
                complete.append(job)
            else:
                failures[job.folder.name] = failure
        return complete, failures

    def _submit(self, todo: Sequence[Job], complete: Sequence[Job]) -> None:
        """Submit the runs that are not queued yet, and the report after them."""
        note = f"another command submits runs of {self._folder}: waiting for it"
        with take(self._folder / ".slurm.lock", note, wait=True):
            self._ids = self._queued_before(todo)
            new = [job for job in todo if job.folder.name not in self._ids]
            if not new:
                return
            on_gpu = _on_gpu(self._options, new)
            device = "cuda" if on_gpu else "cpu"
            weights = sets_of_weights(new, lambda job: lacks_weights(job, device))
            submission = Submission(self._options, self._folder, on_gpu, self._ids)
            submission.submit(batches(new, complete, weights, self._options.runs_per_job))
        try:
            self._report_id = submission.submit_report(self._logging)
        except InputError as error:
            log.warning("no job makes the report: %s", error)
        ids = {self._ids[job.folder.name] for job in new}
        log.info("%d runs are submitted in %d jobs: %s", len(new), len(ids), ", ".join(main_ids(ids)))

    def _queued_before(self, todo: Sequence[Job]) -> dict[str, str]:
        """Return the runs that an earlier command submitted and that are still queued, with their jobs."""
        found = read_sweep(self._folder)
        earlier = found.submitted if found is not None else {}
        earlier = {job.folder.name: earlier[job.folder.name] for job in todo if job.folder.name in earlier}
        if not earlier:
            return {}
        queue = slurm_queue.queued(earlier.values())
        if queue is None:
            raise InputError("squeue does not answer: it has to say which runs are queued already")
        here = {name: job_id for name, job_id in earlier.items() if job_id in queue}
        if here:
            jobs = ", ".join(main_ids(here.values()))
            log.info("%d runs are queued already (jobs %s): they are not submitted again", len(here), jobs)
        return here

    def _wait(self) -> None:
        """Wait until no job is queued or every run is complete; log how far they are."""
        pause, said, said_at, answered = FIRST_PAUSE_S, "", -SAY_S, True
        while True:
            queue = slurm_queue.queued(self._ids.values())
            if queue is None and answered:
                log.warning("squeue does not answer: waiting until it does")
            answered = queue is not None
            self._warn_of_held(queue or {})
            now = [self._now(job, queue) for job in self._runs]
            ended = queue == {} or all(run.state is RunState.COMPLETE for run in now)
            line = counted(now)
            if line != said and (ended or time.monotonic() - said_at >= SAY_S):
                said, said_at = line, time.monotonic()
                log.info("sweep: %s", line)
            if ended:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_S)

    def _now(self, job: Job, queue: Mapping[str, Queued] | None) -> Standing:
        """Return how a run stands; one whose job is queued waits, whatever an earlier process left."""
        name, now = job.folder.name, _standing(job)
        left = now.state in (RunState.INTERRUPTED, RunState.KILLED) or now == self._before.get(name)
        waits = now.state is not RunState.COMPLETE and (queue is None or self._ids.get(name) in queue)
        return Standing(RunState.WAITING) if left and waits else now

    def _warn_of_held(self, queue: Mapping[str, Queued]) -> None:
        """Warn, once a reason, of jobs that Slurm holds back for reasons that do not pass by themselves."""
        for job_id, (_, reason) in queue.items():
            if reason not in slurm_queue.IN_TURN | self._held:
                log.warning(
                    "job %s does not start: Slurm says %s (hydra.launcher.partition, timeout_min, ...)",
                    job_id,
                    reason,
                )
                self._held.add(reason)

    def _failures(self, todo: Sequence[Job]) -> dict[str, str]:
        """Return why runs are not complete although their jobs have ended."""
        start = time.monotonic()
        while True:
            left = {job.folder.name: _standing(job) for job in todo}
            left = {name: now for name, now in left.items() if now.state not in _NO_FAILURE}
            unclear = [name for name, now in left.items() if not self._is_recorded(name, now)]
            if not unclear or time.monotonic() - start > SETTLE_S:
                return {name: self._why(name, now) for name, now in left.items()}
            time.sleep(min(1.0, SETTLE_S))

    def _is_recorded(self, name: str, now: Standing) -> bool:
        """Tell whether a run has recorded its failure itself, since this command began."""
        return now.state is RunState.FAILED and now != self._before[name]

    def _why(self, name: str, now: Standing) -> str:
        if self._is_recorded(name, now):
            return str(now.reason)
        job_id = self._ids[name]
        ended, written = slurm_queue.how_it_ended(job_id), error_log(self._folder, job_id)
        if not written.is_file() and ended != slurm_queue.ENDED["CANCELLED"]:
            return f"job {job_id} left nothing in {self._folder}: is it on a disk that the nodes see?"
        if now.state is RunState.INTERRUPTED and written.is_file():
            said = re.findall(rf"{NOT_AGAIN}: (.*)", written.read_text(errors="replace"))
            return f"interrupted: job {job_id} was {NOT_AGAIN}{f': {said[-1]}' if said else ''} ({written})"
        return f"job {job_id} {ended or 'is gone'}, the same command goes on with the run ({written})"

    def _leave_them(self, failures: Mapping[str, str]) -> NoReturn:
        for name, failure in failures.items():
            log.error("failed: %s: %s", name, failure)
        jobs = ", ".join(main_ids(self._ids.values()))
        report = f"; job {self._report_id} makes the report" if self._report_id else ""
        print(f"{len(self._ids)} runs are queued: jobs {jobs}{report}")
        sweep.leave(1 if failures else 0)

    def _interrupted(self) -> NoReturn:
        """End this command; nothing was submitted, or the jobs go on.

        Raises:
            KeyboardInterrupt: Nothing was submitted.
        """
        if not self._ids:
            raise KeyboardInterrupt
        ids = main_ids([*self._ids.values(), *([self._report_id] if self._report_id else [])])
        print(
            "interrupted: the jobs of Slurm go on. squeue --me shows them, the same command waits for them, "
            f"scancel {' '.join(ids)} ends them",
            file=sys.stderr,
        )
        sweep.leave(INTERRUPTED)


def _standing(job: Job) -> Standing:
    return standing(job.folder, list(job.cfg.get("shifts") or []))


def _on_gpu(options: SlurmConfig, jobs: Sequence[Job]) -> bool:
    """Tell whether jobs ask for a GPU: there are some to ask for, and not all runs compute on the CPU."""
    return bool(options.gres or options.gpus_per_node) and any(
        job.cfg.trainer.accelerator != "cpu" for job in jobs
    )
