"""A folder for what the cache cannot take, as long as a command runs; no torch."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from pathlib import Path

_SPARE = "XRAY_TL_SPARE"
"""Tells the processes that this one starts where the folder is."""


def has_spare_folder() -> bool:
    """Tell whether this process, or the one that started it, has a `spare_folder`."""
    return _SPARE in os.environ


def spare_folder() -> Path:
    """Return where files go that the cache cannot take: removed when this process ends as it should.

    Processes that this one starts from now on share it.
    """
    if not has_spare_folder():
        spare = Path(tempfile.gettempdir(), f"xray_tl-{uuid.uuid4().hex}")
        atexit.register(shutil.rmtree, spare, ignore_errors=True)
        os.environ[_SPARE] = str(spare)
    return Path(os.environ[_SPARE])
