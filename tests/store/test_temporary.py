"""A folder that lasts as long as a command."""

import subprocess
import sys
from pathlib import Path


def test_a_spare_folder_is_shared_with_child_processes_and_goes_with_its_own(
    subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    show = "from xray_tl.store.temporary import spare_folder; print(spare_folder())"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {show!r}], check=True)"
    stays = "(spare_folder() / 'source').mkdir(parents=True)"
    code = f"{show}; {stays}; sys.stdout.flush(); {child}; assert (spare_folder() / 'source').is_dir()"
    env = {name: value for name, value in subprocess_env.items() if name != "XRAY_TL_SPARE"}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"],
        env=env | {"TMPDIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    own, childs = done.stdout.splitlines()
    assert own == childs
    assert Path(own).parent == tmp_path
    assert not Path(own).exists()
