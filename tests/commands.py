"""Commands as a user types them, each in a process of its own."""

import subprocess
import sys
from pathlib import Path


def run_command(
    command: str, *words: str, env: dict[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run `python -m xray_tl.<command> <words>` in a folder, and return what it printed and how it ended."""
    line = [sys.executable, "-m", f"xray_tl.{command}", *words]
    return subprocess.run(line, env=env, cwd=cwd, capture_output=True, text=True, timeout=600)
