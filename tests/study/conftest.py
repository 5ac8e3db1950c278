"""A sweep in rungs that several tests read, and none changes."""

from pathlib import Path

import pytest

from tests.study.rung_sweeps import write_rungs


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sweep with eight seeds of every arm."""
    return write_rungs(tmp_path_factory.mktemp("eight"), 8)
