"""A sweep that climbs from rung to rung: which runs come next, until the declared questions are decided.

All of its state lies in the records of its folder. A sweep that was killed, or that another machine goes on
with, has the same looks and the same verdicts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from xray_tl.config.budget import budget_of
from xray_tl.config.identity import arm_hash
from xray_tl.config.planned import declared
from xray_tl.config.rungs import RUNGS, rungs_of
from xray_tl.errors import InputError
from xray_tl.store.records import RECORD, read_record
from xray_tl.store.run_folder import unfinished
from xray_tl.study.rung_decision import RungDecision, decide
from xray_tl.sweeps import sweep
from xray_tl.sweeps.composition import run_folder

log = logging.getLogger(__name__)

Overrides = list[str]

SAVED = {1000: 29, 4000: 47}
"""Test images -> seeds saved, in %, against a fixed number that decides as often: a fine-tuned and a frozen
arm by themselves, simulated (`benchmarks/sequential.py --only power`)."""


class Wanted(NamedTuple):
    """A run that a rung needs: its options, the hash of its arm, its folder, its shifts."""

    overrides: Overrides
    arm: str
    folder: Path
    shifts: Sequence[str]


class Climb:
    """Tells which runs a sweep needs next, and says how far its questions are.

    Args:
        loader: Config loader of the sweep.
        config: Configuration of the sweep.
        params: Option -> its values, from the study's file.
        arguments: Options of the command line, which win.

    Raises:
        InputError: The options are not those of a sweep that can climb.
    """

    def __init__(
        self, loader: ConfigLoader, config: DictConfig, params: dict[str, str], arguments: Sequence[str]
    ) -> None:
        self._loader, self._config = loader, config
        self._folder = Path(config.hydra.sweep.dir)
        self._rungs = self._declared_rungs()
        self._budget = budget_of(config)
        self._arms, self._first = self._read(params, arguments)
        self._known: dict[tuple[str, ...], Wanted] = {}
        self._tried: set[Path] = set()
        self._no_decision = ""
        self._check()

    def next_jobs(self) -> list[Overrides]:
        """Return the options of the runs to launch now; none where nothing is left to do.

        A run that failed is not launched again by the same command, so its arm's rung is not reached; other
        arms go on.
        """
        decision = self._decision()
        if decision is not None:
            self._tell(decision)
        wanted = self._wanted(decision)
        missing = [run for run in wanted if unfinished(run.folder, run.shifts) is not None]
        new = list({run.folder: run for run in missing if run.folder not in self._tried}.values())
        if not new:
            self._say_why_it_ends(decision, missing)
            return []
        used_runs, used_hours = self._used()
        needed = len(new) * used_hours / used_runs if used_runs else 0.0
        if not self._budget.allows(used_runs + len(new), used_hours + needed):
            log.warning(
                "until decided: the budget ends it: %s would come next, about %.1f hours; %s",
                _runs(new),
                needed,
                self._budget.left(used_runs, used_hours),
            )
            sweep.not_asked_for(run.folder.name for run in new)
            return []
        if not self._tried:
            log.info("until decided: %s", self._expected())
        self._tried |= {run.folder for run in new}
        left = self._budget.left(used_runs, used_hours)
        log.info("until decided: next %s%s", _runs(new), f"; {left}" if left else "")
        return [run.overrides for run in new]

    def _declared_rungs(self) -> tuple[int, ...]:
        """Return the rungs; each record is to hold them, or the report would judge all seeds in one look."""
        rungs = rungs_of(self._config)
        if rungs is None:
            raise InputError(
                f"until=decided looks at rungs, and rungs=null: give some, such as {list(RUNGS)}"
            )
        return rungs

    def _read(self, params: dict[str, str], arguments: Sequence[str]) -> tuple[list[Overrides], int]:
        """Return the options of each arm, and the first seed."""
        parser = OverridesParser.create(config_loader=self._loader)
        own = parser.parse_overrides(list(arguments))
        given = [item for item in own if item.get_key_element() == "seed"]
        if given and given[-1].is_sweep_override():
            raise InputError(
                f"seed={given[-1].get_value_string()}: until=decided takes as many seeds as it needs "
                f"(rungs={list(self._rungs)}): give seed=N for the first one, or other rungs"
            )
        first = given[-1].value() if given else self._config.seed
        both = parser.parse_overrides([f"{key}={value}" for key, value in params.items()]) + own
        rest: list[Override] = [item for item in both if item.get_key_element() != "seed"]
        (arms,) = BasicSweeper.split_arguments(rest, None)
        if len(arms) < 2:
            raise InputError("until=decided compares arms, and here is one: name several, as in arm=a,b")
        return arms, int(str(first))

    def _check(self) -> None:
        """Refuse a sweep without questions, a ladder that was changed, and a budget that ends at once.

        Raises:
            InputError: It is one of these.
        """
        if not declared(self._config):
            raise InputError(
                "until=decided decides the declared questions, and there are none: choose a study, or "
                "declare contrasts (planned)"
            )
        if OmegaConf.select(self._config, "hydra.launcher.wait") is False:
            raise InputError(
                "until=decided waits for each rung before it chooses the next: hydra.launcher.wait=true; "
                "where a login node ends long commands, submit this one as a job"
            )
        for record in self._records():
            rungs = tuple(record.get("rungs") or self._rungs)
            if rungs != self._rungs:
                raise InputError(
                    f"rungs={list(self._rungs)}, but runs in {self._folder} were trained for {list(rungs)}, "
                    "and rungs are not changed after a look: give those, or another folder (hydra.sweep.dir)"
                )
            if record.get("seed", self._first) < self._first:
                raise InputError(
                    f"seed={self._first}, but {self._folder} has runs of seed {record['seed']}, and rungs "
                    "begin with the lowest seed: choose another folder (hydra.sweep.dir)"
                )
        first_rung = len({run.folder for run in self._wanted(None)})
        if self._budget.runs is not None and self._budget.runs < first_rung:
            raise InputError(
                f"budget={self._budget.runs} ends before the first rung, which has {first_rung} runs "
                f"({self._rungs[0]} seeds)"
            )

    def _wanted(self, decision: RungDecision | None) -> list[Wanted]:
        """Return the runs that the rungs need to which the arms have come, each once."""
        wanted = []
        for arm in self._arms:
            run = self._run(arm, self._first)
            first_rung = range(self._first, self._first + self._rungs[0])
            seeds = first_rung if decision is None else decision.seeds_for(run.arm)
            wanted += [run if seed == self._first else self._run(arm, seed) for seed in seeds]
        return wanted

    def _run(self, arm: Overrides, seed: int) -> Wanted:
        overrides = [*arm, f"seed={seed}"]
        known = self._known.get(tuple(overrides))
        if known is None:
            cfg = self._loader.load_sweep_config(self._config, overrides)
            known = Wanted(overrides, arm_hash(cfg), run_folder(cfg), list(cfg.shifts))
            self._known[tuple(overrides)] = known
        return known

    def _decision(self) -> RungDecision | None:
        """Judge what is there; `None` if it cannot be judged yet."""
        try:
            return decide(self._folder, self._rungs, first=self._first)
        except InputError as error:  # no contrast has a run yet, or none was planned before its runs
            self._no_decision = str(error)
            return None

    def _records(self) -> list[dict[str, Any]]:
        """Return the records in the sweep's folder that can be read."""
        found = []
        for path in sorted(self._folder.glob(f"*/{RECORD}")):
            try:
                record = read_record(path.parent)
            except InputError:  # the summary names it
                continue
            if record is not None:
                found.append(record)
        return found

    def _used(self) -> tuple[int, float]:
        """Return the number of complete runs, and the hours that they took one after another."""
        times = [record.get("time") or {} for record in self._records() if record["status"] == "complete"]
        seconds = sum(time.get(part) or 0.0 for time in times for part in ("setup_s", "fit_s", "test_s"))
        return len(times), seconds / 3600

    def _tell(self, decision: RungDecision) -> None:
        """Log the rung that is reached, and each question's state, once there is a look."""
        if not any(found.standing and found.standing.course.looks for _, found in decision.judged):
            return
        rungs = ", ".join(map(str, self._rungs))
        log.info(
            "until decided: rung %d of %s; %d of %d contrasts go on",
            decision.reached,
            rungs,
            len(decision.open),
            len(decision.judged),
        )
        for line in decision.lines:
            log.info("  %s", line)

    def _expected(self) -> str:
        """Return what such a sweep may be expected to save at these images."""
        images = OmegaConf.select(self._config, "data.n_test", default=None)
        few, many = SAVED
        if images is None:
            share = f"{SAVED[few]} % (at {few} test images) to {SAVED[many]} % (at {many})"
        elif few < images < many:
            share = f"{SAVED[few]} to {SAVED[many]} %"
        else:
            share = f"{'at most ' * (images < few)}{SAVED[few if images <= few else many]} %"
        return (
            f"rungs {', '.join(map(str, self._rungs))}; a pair of arms by itself saves {share} of its seeds "
            f"{'' if images is None else f'at {images} test images '}against a fixed number that decides as "
            "often, a whole study less (simulated); plan says it for a study's own arms"
        )

    def _say_why_it_ends(self, decision: RungDecision | None, missing: Sequence[Wanted]) -> None:
        if missing:
            names = ", ".join(dict.fromkeys(run.folder.name for run in missing))
            log.warning("until decided: a rung is not reached without its runs, which did not end: %s", names)
        elif decision is None:
            sweep.failed("until decided", self._no_decision)
        elif blind := [
            found.contrast.name
            for _, found in decision.judged
            if found.standing and not found.standing.course.looks
        ]:
            sweep.failed(
                "until decided",
                f"no rung is reached by {', '.join(blind)}, although its runs are there: seeds that share a "
                "reader, or have test images of their own, are not judged by rungs",
            )
        else:
            log.info("until decided: nothing goes on")


def _runs(wanted: Sequence[Wanted]) -> str:
    return f"{len(wanted)} run{'s' * (len(wanted) != 1)}"
