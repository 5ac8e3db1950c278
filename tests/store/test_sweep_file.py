"""What a sweep's commands asked for, kept in its folder."""

import json
import threading
from pathlib import Path

import pytest

from xray_tl.errors import InputError
from xray_tl.store.records import git_revision
from xray_tl.store.sweep_file import SWEEP, Job, read_sweep, write_sweep

FIRST = {"a-s0": Job(("mode=frozen", "seed=0"), ("no_grid",))}


def test_a_later_command_adds_its_jobs(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "sweep"
    assert read_sweep(folder) is None
    first = write_sweep(folder, FIRST, command=["study=quick"])
    assert first == read_sweep(folder)
    assert (first.command, first.git, first.jobs) == (("study=quick",), git_revision(), FIRST)
    more = {"a-s1": Job(("mode=frozen", "seed=1")), "a-s0": Job(("mode=frozen", "seed=0"))}
    second = write_sweep(folder, more, command=["study=quick", "seed=1"])
    assert second == read_sweep(folder)
    assert (second.began, second.command) == (first.began, ("study=quick", "seed=1"))
    assert second.jobs == {**FIRST, **more}
    handed = write_sweep(folder, submitted={"a-s1": "41_3"})
    assert handed == read_sweep(folder)
    assert (handed.command, handed.git, handed.jobs) == (second.command, second.git, second.jobs)
    assert write_sweep(folder, submitted={"a-s1": "42"}).submitted == {"a-s1": "42"}


def test_commands_that_begin_at_once_lose_no_job(tmp_path: Path) -> None:
    names = [f"run-s{seed}" for seed in range(6)]
    commands = [threading.Thread(target=write_sweep, args=(tmp_path, {name: Job()})) for name in names]
    for command in commands:
        command.start()
    for command in commands:
        command.join()
    found = read_sweep(tmp_path)
    assert found is not None
    assert sorted(found.jobs) == names


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"began": "", "command": [], "git": null, "jobs": [], "submitted": {}}',
        '{"began": "", "command": "x", "git": null, "jobs": {}, "submitted": {}}',
        '{"began": "", "command": [], "git": null, "jobs": {"a": {"overrides": []}}, "submitted": {}}',
        '{"began": "", "command": [], "git": null, "jobs": {}, "submitted": {"a": 41}}',
    ],
)
def test_a_broken_file_is_named_and_made_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / SWEEP).write_text(text)
    with pytest.raises(InputError, match=r"sweep\.json is not a sweep file .*remove it") as caught:
        read_sweep(tmp_path)
    assert "\n" not in str(caught.value)
    assert write_sweep(tmp_path, FIRST).jobs == FIRST
    assert json.loads((tmp_path / SWEEP).read_text())["jobs"]["a-s0"]["shifts"] == ["no_grid"]
