"""A cache of its own for each test of what lies on disk."""

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XRAY_TL_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"
