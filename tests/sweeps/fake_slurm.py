"""Commands of Slurm that only keep what they are given and say what they are told to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = {
    "sbatch": """
number=$(($(ls "$HERE"/batch.* 2>/dev/null | wc -l) + 1))
if [ -f "$HERE/refuses" ] && [ $number -ge "$(head -n 1 "$HERE/refuses")" ]; then
  tail -n +2 "$HERE/refuses" >&2; exit 1
fi
cp "$1" "$HERE/batch.$number"
echo "Submitted batch job $number"
""",
    "squeue": """
if [ -f "$HERE/down" ]; then cat "$HERE/down" >&2; exit 1; fi
cat "$HERE/queue"
""",
    "scontrol": """
echo "$@" >> "$HERE/scontrol.given"
case "$1 $2" in
  "show config") cat "$HERE/config";;
  "show job") cat "$HERE/job.$4";;
  requeue*) [ ! -f "$HERE/no_requeue" ];;
esac
""",
    "scancel": 'echo "$@" >> "$HERE/scancel.given"',
    "srun": "exit 1",
}


@dataclass(frozen=True)
class FakeSlurm:
    """A folder with such commands, first on the PATH.

    Attributes:
        folder: The folder, with what they were given and what they say.
    """

    folder: Path

    @classmethod
    def install(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
        """Write the commands into a new folder and put it on the PATH."""
        folder.mkdir()
        for name, script in SCRIPTS.items():
            (folder / name).write_text(f"#!/bin/sh\nHERE={folder}\n{script}\n")
            (folder / name).chmod(0o755)
        (folder / "queue").touch()
        (folder / "config").write_text("MaxArraySize            = 1001\n")
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return cls(folder)

    def say(self, name: str, text: str) -> None:
        """Set what is said: `queue`, `config`, `job.<id>`, `refuses` (from which submission on, and why)."""
        (self.folder / name).write_text(text)

    def given(self, name: str) -> str:
        """Return the arguments that a command was given, a line for each call; empty: it was not called."""
        path = self.folder / f"{name}.given"
        return path.read_text() if path.exists() else ""

    def batches(self) -> list[list[str]]:
        """Return the lines of each script that was submitted."""
        paths = sorted(self.folder.glob("batch.*"), key=lambda path: int(path.suffix[1:]))
        return [path.read_text().splitlines() for path in paths]

    def asked(self) -> list[dict[str, str]]:
        """Return what each submitted script asks of Slurm, by the option's name."""
        wanted = [[line[10:] for line in lines if line.startswith("#SBATCH --")] for lines in self.batches()]
        return [dict(option.partition("=")[::2] for option in options) for options in wanted]
