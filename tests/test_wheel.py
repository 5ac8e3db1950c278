"""An installed wheel works without a checkout, `conf` included."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]


def test_wheel_brings_its_configuration(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import xray_tl.config as c; print(c.__file__, c.conf_dir())"]
    files = subprocess.run(
        where, cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    ).stdout.split()
    assert all(Path(path).is_relative_to(site) for path in files)
    command = [sys.executable, "-m", "xray_tl.train", *TINY, "mode=frozen", "hydra.run.dir=run"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "record.json").read_text())["status"] == "complete"
