"""`until=decided`: which runs it launches, what it goes on with, what it says, and what it refuses."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.commands import run_command
from tests.small_study import MINE, write_study
from tests.study.rung_sweeps import ASKED, RUNGS, scores_of
from tests.study.sweeps import write_scored
from xray_tl.config.planned import plan_of
from xray_tl.errors import InputError
from xray_tl.sweeps.climb import Climb, Wanted

Env = dict[str, str]

MEANS = {"finetune": 2.0, "frozen": 1.97, "partial": 1.0}
"""Arm -> mean of its scores: the first is about as good as the second, and much better than the third."""


class Sweep:
    """A sweep whose runs are drawn instead of trained; one seed may fail."""

    def __init__(
        self,
        folder: Path,
        failing: tuple[str, int] | None = None,
        seeds_of_a_set: int | None = None,
        **options: object,
    ) -> None:
        self.folder, self.failing, self.seeds_of_a_set = folder, failing, seeds_of_a_set
        self.config = OmegaConf.create(
            {
                "hydra": {"sweep": {"dir": str(folder)}},
                "seed": 0,
                "rungs": list(RUNGS),
                "planned": ASKED,
                "budget": None,
                "data": {"n_test": 2000},
                **options,
            }
        )
        self.trained: list[list[str]] = []

    def run(self, arm: list[str], seed: int) -> Wanted:
        """Name a run as `write_scored` does."""
        mode = arm[0].removeprefix("arm=resnet18_")
        found = [path.name for path in self.folder.glob(f"resnet18-{mode}-*-s{seed}-*")]
        name = found[0] if found else f"none-{mode}-{seed}"
        return Wanted([*arm, f"seed={seed}"], f"resnet18-{mode}-[]", self.folder / name, ())

    def launch(self, jobs: list[list[str]]) -> None:
        """Write the runs that were asked for."""
        self.trained.append([f"{arm.removeprefix('arm=resnet18_')} {seed[5:]}" for arm, seed in jobs])
        for arm, option in jobs:
            mode, seed = arm.removeprefix("arm=resnet18_"), int(option[5:])
            if (mode, seed) == self.failing:
                continue
            spread = 0.06 if mode == "finetune" else 0.0
            mean = MEANS[mode] + spread * (1 if seed % 2 else -1) * (1 + seed % 3)
            number = 100 * list(MEANS).index(mode) + seed
            drawn = 0 if self.seeds_of_a_set is None else seed // self.seeds_of_a_set
            write_scored(
                self.folder,
                0,
                seed,
                mode=mode,
                predictions=scores_of(mean, number),
                arm_file=f"resnet18_{mode}",
                planned=plan_of(self.config),
                rungs=list(RUNGS),
                weights={"source": "random", "name": f"seed {drawn}", "sha256": f"sha {drawn}"},
                weights_seed=drawn,
                time={"setup_s": 360.0, "fit_s": 3000.0, "test_s": 240.0},
            )

    def climb(self, monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> None:
        """Sweep to its end, or until it is killed after a number of rungs."""
        monkeypatch.setattr(Climb, "_run", lambda _, arm, seed: self.run(arm, seed))
        arms = "resnet18_finetune,resnet18_frozen,resnet18_partial"
        climb = Climb(None, self.config, {"arm": arms, "seed": "0,1"}, [])  # type: ignore[arg-type]  # `_run` has it
        while (jobs := climb.next_jobs()) and (stop_after is None or len(self.trained) < stop_after):
            self.launch(jobs)


def _of(trained: list[str], mode: str) -> list[int]:
    return [int(run.split()[1]) for run in trained if run.startswith(mode)]


@pytest.mark.parametrize("killed", [None, 1])
def test_arms_of_open_questions_climb_and_others_stop(
    killed: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed between two rungs and gone on with it is the same."""
    caplog.set_level("INFO")
    sweep = Sweep(tmp_path)
    if killed:
        sweep.climb(monkeypatch, stop_after=killed)
    sweep.climb(monkeypatch)
    first, *later = sweep.trained
    assert [_of(first, mode) for mode in MEANS] == [list(range(5))] * 3
    assert later, "the first question is open after the first rung"
    assert all(not _of(runs, "partial") for runs in later), "its question is decided"
    climbed = [seed for runs in later for seed in _of(runs, "finetune")]
    assert climbed in (list(range(5, 8)), list(range(5, 12)))
    assert [seed for runs in later for seed in _of(runs, "frozen")] == climbed
    assert (
        "rungs 5, 8, 12; a pair of arms by itself saves 29 to 47 % of its seeds at 2000 test images"
        in caplog.text
    )
    assert "until decided: next 15 runs" in caplog.text
    assert "rung 5 of 5, 8, 12; 1 of 2 contrasts go on" in caplog.text
    assert caplog.messages[-1] == "until decided: nothing goes on"


@pytest.mark.parametrize(
    ("budget", "said"),
    [("17", "next 15 runs; 17 of 17 runs left"), ("16h", "about 6.0 hours; 1.0 of 16 hours left")],
)
def test_the_budget_ends_it_before_a_rung_that_would_go_beyond(
    budget: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every run takes an hour, and two arms of three more seeds come next."""
    caplog.set_level("INFO")
    not_asked_for: list[str] = []
    monkeypatch.setattr("xray_tl.sweeps.sweep.not_asked_for", not_asked_for.extend)
    sweep = Sweep(tmp_path, budget=budget)
    sweep.climb(monkeypatch)
    assert len(sweep.trained) == 1
    assert len(not_asked_for) == 6, "else each of them would be a failure of the sweep"
    assert said in caplog.text
    assert "the budget ends it: 6 runs would come next" in caplog.messages[-1]


def test_a_run_that_fails_holds_back_its_own_questions_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = Sweep(tmp_path, failing=("partial", 3))
    sweep.climb(monkeypatch)
    first, *later = sweep.trained
    assert "partial 3" in first
    assert later
    assert all("partial 3" not in runs for runs in later), "tried once a command"
    assert "a rung is not reached without its runs, which did not end: none-partial-3" in caplog.messages[-1]


def test_a_first_rung_that_cannot_be_judged_sets_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The runs were there before the questions, so that none of these was planned."""
    told: list[str] = []
    monkeypatch.setattr("xray_tl.sweeps.sweep.failed", lambda name, failure: told.append(failure))
    before = Sweep(tmp_path, planned=None)
    for mode in MEANS:
        before.launch([[f"arm=resnet18_{mode}", f"seed={seed}"] for seed in range(RUNGS[0])])
    Sweep(tmp_path).climb(monkeypatch)
    (said,) = told
    assert "has no planned contrast to decide" in said


def test_seeds_that_no_rung_can_count_are_named_and_set_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Five seeds from two sets of weights are two readers."""
    told: list[str] = []
    monkeypatch.setattr("xray_tl.sweeps.sweep.failed", lambda name, failure: told.append(failure))
    shared = Sweep(tmp_path, seeds_of_a_set=3)
    shared.climb(monkeypatch)
    assert len(shared.trained) == 1
    (said,) = told
    assert said.startswith("no rung is reached by resnet18 finetune random - resnet18 frozen random")


CLIMB = (*MINE, "until=decided", "rungs=[5,7]")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Write a study of two arms."""
    return write_study(tmp_path)


def test_as_typed(conf: Path, subprocess_env: Env) -> None:
    """On 16 images more seeds decide nothing: it stops after the first rung, and asks for images."""
    done = run_command("train", *CLIMB, env=subprocess_env, cwd=conf)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in (conf / "out").glob("*/record.json")]
    trained = [record["seed"] for record in records if record["arm"]["mode"] == "finetune"]
    assert sorted(trained) == [0, 1, 2, 3, 4]
    assert len(records) == 6, "a solved arm has one run"
    assert all(record["rungs"] == [5, 7] for record in records)
    assert "until decided: next 6 runs" in done.stderr
    assert re.search(
        r"Stopped at 5 seeds: 7 would hardly decide it .* In a new study \d+ images", done.stderr
    )
    again = run_command("train", *CLIMB, env=subprocess_env, cwd=conf)
    assert again.returncode == 0, again.stderr
    assert "until decided: next" not in again.stderr, "nothing is left to do"
    page = (conf / "out" / "report.html").read_text()
    assert "Looks are planned at 5 and 7 seeds: this is look 1, at 5." in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("arm=small_frozen",), "until=decided compares arms, and here is one"),
        (("planned=null",), "there are none: choose a study, or declare contrasts"),
        (("seed=0,1,2",), "seed=0,1,2: until=decided takes as many seeds as it needs (rungs=[5, 7])"),
        (("rungs=[3,5]",), "rungs=[3, 5] starts with 3: a verdict takes 5 readers at least"),
        (("rungs=[8,5]",), "does not rise"),
        (("rungs=null",), "until=decided looks at rungs, and rungs=null: give some, such as [5, 8, 12, 20]"),
        (("budget=5",), "budget=5 ends before the first rung, which has 6 runs (5 seeds)"),
        (("budget=2 days",), "budget=2 days is not valid: give a number of runs"),
    ],
)
def test_a_sweep_that_cannot_climb_is_refused_in_one_line(
    options: tuple[str, ...], said: str, conf: Path, subprocess_env: Env
) -> None:
    done = run_command("train", *CLIMB, *options, env=subprocess_env, cwd=conf)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (conf / "out").exists()


def test_a_changed_ladder_and_a_command_that_does_not_wait_are_refused(tmp_path: Path) -> None:
    record = {"schema": 3, "status": "complete", "seed": 0, "rungs": list(RUNGS)}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text(json.dumps(record))
    params = {"arm": "a,b"}
    changed = Sweep(tmp_path, rungs=[5, 8]), "not changed after a look"
    begun_later = Sweep(tmp_path, seed=1), "has runs of seed 0"
    hydra = {"sweep": {"dir": str(tmp_path)}, "launcher": {"wait": False}}
    left_alone = Sweep(tmp_path, hydra=hydra), r"hydra\.launcher\.wait=true"
    for sweep, said in (changed, begun_later, left_alone):
        with pytest.raises(InputError, match=said):
            Climb(None, sweep.config, params, [])  # type: ignore[arg-type]  # not reached
