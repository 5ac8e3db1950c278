"""How a sweep stands, by its folder alone."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.commands import run_command
from xray_tl.errors import InputError
from xray_tl.store.locks import take
from xray_tl.store.records import RECORD, write_record
from xray_tl.store.run_folder import CONFIG, LOCK, shifted
from xray_tl.store.sweep_file import Job, write_sweep
from xray_tl.sweeps.standings import counted, standings, table

WHEN = datetime(2026, 11, 30, 9, 21).timestamp()


def put_record(run: Path, status: str, error: str | None = None) -> None:
    write_record(run, {"status": status, "error": error})
    os.utime(run / RECORD, (WHEN, WHEN))


def put_begun(run: Path) -> None:
    (run / CONFIG).parent.mkdir(parents=True)
    (run / CONFIG).touch()
    os.utime(run / CONFIG, (WHEN, WHEN))


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fill a folder with a run of every state."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = tmp_path / "sweep"
    write_sweep(
        folder, {f"net-{word}-s0": Job((word,)) for word in ("done", "waits", "late", "fails", "dies")}
    )
    put_record(folder / "net-done-s0", "complete")
    put_record(folder / "net-fails-s0", "failed", "RunError: loss\nis nan " + 300 * "x")
    put_record(folder / "net-older-s0", "interrupted")
    put_begun(folder / "net-dies-s0")
    (folder / "net-runs-s0").mkdir()
    return folder


def squeue(tmp_path: Path, script: str) -> None:
    """Stand in for Slurm's command."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    place = tmp_path / "bin" / "squeue"
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)


def test_a_table_names_every_run_and_why_it_is_not_complete(sweep: Path) -> None:
    with take(sweep / "net-runs-s0" / LOCK, "", wait=False):
        runs = standings(sweep)
        now = f"{datetime.fromtimestamp(time.time()):%Y-%m-%d}"
    assert counted(runs.values()) == "1 of 7 done, 1 failed, 1 killed, 1 interrupted, 1 running, 2 waiting"
    lines = table(runs).splitlines()
    since = "2026-11-30 09:21"
    assert lines[:3] == [
        f"complete     {since}  net-done-s0",
        "waiting                        net-waits-s0  no record: it never began",
        "waiting                        net-late-s0   no record: it never began",
    ]
    assert lines[3].startswith(f"running      {now}")
    assert lines[3].endswith("  net-runs-s0")
    assert lines[4:6] == [
        f"interrupted  {since}  net-older-s0  interrupted",
        f"killed       {since}  net-dies-s0   no record: it was killed",
    ]
    assert lines[6].startswith(f"failed       {since}  net-fails-s0  RunError: loss is nan xxx")
    assert lines[6].endswith("xxx ...")


def test_a_run_is_done_when_it_is_tested_on_its_shifts_too(sweep: Path) -> None:
    write_sweep(sweep, {"net-done-s0": Job(("done",), ("low_dose", "no_grid"))})
    put_record(shifted(sweep / "net-done-s0", "no_grid"), "complete")
    assert table(standings(sweep)).count("it was not tested on low_dose") == 1


def test_a_sweep_of_an_earlier_version_has_the_runs_that_it_has(tmp_path: Path) -> None:
    put_record(tmp_path / "b", "complete")
    put_begun(tmp_path / "a")
    (tmp_path / "report").mkdir()
    assert list(standings(tmp_path)) == ["a", "b"]


def test_runs_in_a_queue_of_slurm_say_so(sweep: Path, tmp_path: Path) -> None:
    jobs = {"waits": "41_3", "late": "41_4", "dies": "40", "done": "41_1", "gone": "41_9", "fails": "41_5"}
    write_sweep(sweep, submitted={f"net-{word}-s0": job for word, job in jobs.items()})
    squeue(tmp_path, 'echo "$@" > "$0.asked"; echo "41_3|PENDING|Priority"; echo "40|RUNNING|None"')
    runs = standings(sweep)
    assert str(runs["net-fails-s0"].reason).startswith("RunError: loss"), "it ended as its record says"
    assert (tmp_path / "bin" / "squeue.asked").read_text().strip().endswith("--jobs=40,41")
    assert {name: run.reason for name, run in runs.items() if "Slurm" in str(run.reason)} == {
        "net-waits-s0": "queued in Slurm: job 41_3, PENDING (Priority); no record: it never began",
        "net-late-s0": "Slurm has no job 41_4 now; no record: it never began",
        "net-dies-s0": "queued in Slurm: job 40, RUNNING; no record: it was killed",
    }
    squeue(tmp_path, 'echo "41_5|PENDING|Priority"')
    again = str(standings(sweep)["net-fails-s0"].reason)
    assert again.startswith("queued in Slurm: job 41_5, PENDING (Priority); RunError: loss")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'error: Unable to contact slurm controller' >&2; exit 1", "no record: it never began"),
        (
            "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
            "Slurm has no job 41_3 now; no record: it never began",
        ),
    ],
)
def test_slurm_that_does_not_answer_says_nothing(sweep: Path, tmp_path: Path, script: str, said: str) -> None:
    write_sweep(sweep, submitted={"net-waits-s0": "41_3"})
    squeue(tmp_path, script)
    assert standings(sweep)["net-waits-s0"].reason == said


def test_a_folder_that_is_no_sweep_s_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^dir=.*nowhere is not a folder: give that of a sweep$"):
        standings(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no run: give the folder of a sweep$"):
        standings(tmp_path)
    put_begun(tmp_path)
    with pytest.raises(InputError, match=r"holds no run \(it is a run's: give the folder that it lies in\)"):
        standings(tmp_path)


def test_the_command_ends_well_whatever_the_state(
    sweep: Path, subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    before = sorted(sweep.rglob("*"))
    done = run_command("status", f"dir={sweep}", env=subprocess_env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "1 of 6 done, 1 failed, 1 killed, 1 interrupted, 2 waiting"
    assert sorted(sweep.rglob("*")) == before
    wrong = run_command("status", "dir=nowhere", env=subprocess_env, cwd=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: dir=nowhere is not a folder: give that of a sweep\n"
