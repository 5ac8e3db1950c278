"""The bench command: its files, and its names against those of a sweep."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from tests.conftest import compose_config
from tests.study.test_run_table import write_run
from xray_tl.bench import BenchTable, _measure
from xray_tl.config.identity import arm
from xray_tl.report.cost_table import as_frame, write_tradeoff

MODEL = ("model=timm", "model.name=test_resnet")
EFFORT = {"image_size": 32, "batch_size": 2, "latency_repeats": 3, "repeats": 1, "warm_up": 1}


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    overrides = [f"{key}={value}" for key, value in EFFORT.items()]
    return _measure(compose_config(*MODEL, "trainer=cpu", *overrides, name="bench"))


def test_a_timm_backbone_is_drawn_under_its_records_name(measured: dict[str, Any], tmp_path: Path) -> None:
    of_a_run = arm(compose_config(*MODEL, "mode=frozen", "weights=random"))
    write_run(tmp_path, "run", arm=of_a_run, ceiling={"auroc": 0.95, "efficiency": 0.9})
    picture = write_tradeoff(as_frame([measured]), tmp_path, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_effort_stands_in_both_files(measured: dict[str, Any], tmp_path: Path) -> None:
    table = BenchTable()
    table.measured = [measured]
    table.on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "sweep": None}))
    (written,) = json.loads((tmp_path / "bench.json").read_text())
    row = pd.read_csv(tmp_path / "bench.csv").iloc[0]
    assert {key: written[key] for key in EFFORT} == EFFORT
    assert {key: row[key] for key in EFFORT} == EFFORT
