"""Temporary folder for files that the cache cannot store; it exists as long as a command runs."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from pathlib import Path

_SPARE = "XRAY_TL_SPARE"
"""Environment variable that gives the folder's path to child processes."""


def has_spare_folder() -> bool:
    """Tell whether this process, or its parent process, has a `spare_folder`."""
    return _SPARE in os.environ


def spare_folder() -> Path:
    """Return the temporary folder for files that the cache cannot store; removed when this process exits.

    Child processes that are started from now on share it.
    """
    if not has_spare_folder():
        spare = Path(tempfile.gettempdir(), f"xray_tl-{uuid.uuid4().hex}")
        atexit.register(shutil.rmtree, spare, ignore_errors=True)
        os.environ[_SPARE] = str(spare)
    return Path(os.environ[_SPARE])
