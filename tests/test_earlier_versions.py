"""What an earlier version left: a sweep of schema 1 is read or refused, never taken for one of today."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.conftest import compose_config
from xray_tl.config.validation import validate
from xray_tl.errors import FolderError, InputError
from xray_tl.report.page import write_report
from xray_tl.runs import predictions
from xray_tl.runs.finished import open_finished
from xray_tl.runs.parts import assemble
from xray_tl.runs.retest import evaluate
from xray_tl.runs.run import run
from xray_tl.store.records import RECORD, SCHEMA, read_record
from xray_tl.store.run_folder import BEST, LAST, load_config, unfinished
from xray_tl.study.run_table import collect
from xray_tl.study.saved_predictions import read_predictions, split_of
from xray_tl.training.checkpoints import check_current, read_checkpoint
from xray_tl.training.trainer import build_trainer, expected_warnings

SWEEP = Path(__file__).parent / "schema_1"
"""Two seeds of a frozen, standardised trunk, 32 px, as version 0.1.0 wrote them, without figures and logs."""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Copy the earlier sweep to where it can be written to."""
    return Path(shutil.copytree(SWEEP, tmp_path / "sweep"))


def _first(sweep: Path) -> Path:
    return min(path.parent for path in sweep.glob(f"*/{RECORD}"))


def test_it_is_of_an_earlier_schema() -> None:
    record = read_record(_first(SWEEP))
    assert record is not None
    assert record["schema"] == 1 < SCHEMA


def test_its_report_is_made_again(sweep: Path) -> None:
    runs = collect(sweep)
    assert list(runs["seed"]) == [0, 1]
    assert runs["test_set"].nunique() == 1
    assert "timm/test_resnet frozen" in write_report(sweep).read_text(encoding="utf-8")


def test_its_network_gives_the_recorded_scores(sweep: Path, tmp_path: Path) -> None:
    """Its standardiser divides by each feature's own SD, which enlarges another machine's rounding."""
    finished = open_finished(_first(sweep), "evaluate")
    settings = finished.settings()
    with expected_warnings():
        parts = assemble(settings, "test")
        finished.restore(parts.task)
        trainer = build_trainer(settings.trainer, parts.device, parts.precision, tmp_path, None, [])
        found = predictions.predict(trainer, parts.task, parts.data, "test")
    stored = split_of(read_predictions(_first(sweep)), "test")
    order = np.argsort([str(case) for case in found.case])
    recorded = stored["logit"].to_numpy()
    assert np.abs(found.logit[order, 0] - recorded).max() < 1e-2 * recorded.std()


def test_it_is_not_taken_for_a_run_of_today(sweep: Path) -> None:
    folder = _first(sweep)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(FolderError, match=r"earlier version \(schema 1, now \d\).*choose another folder"):
        run(load_config(folder), folder)
    assert {path: path.read_bytes() for path in before} == before
    assert "earlier version" in str(unfinished(folder)), "a sweep whose jobs ran elsewhere fails too"


def test_options_that_are_gone_are_left_out_of_its_configuration(sweep: Path) -> None:
    """Of LP-FT as it was, and of the head that L-BFGS solved."""
    folder = _first(sweep)
    path = folder / ".hydra" / "config.yaml"
    stored = OmegaConf.load(path)
    OmegaConf.update(stored, "mode", {"name": "lp_ft", "head_epochs": 0.5, "head_tolerance": 0.01})
    OmegaConf.update(stored, "optim.name", "lbfgs")
    OmegaConf.save(stored, path)
    read = load_config(folder)
    assert not {"head_epochs", "head_tolerance"} & set(read.mode)
    validate(read)
    settings = open_finished(folder, "evaluate").settings()
    assert (settings.mode.name, settings.mode.head) == ("lp_ft", None)


def test_an_interrupted_one_is_not_gone_on_with(sweep: Path) -> None:
    checkpoint = read_checkpoint(_first(sweep) / BEST)
    with pytest.raises(InputError, match=r"last\.ckpt was written by an earlier version .* remove it"):
        check_current(checkpoint, LAST)


def test_frozen_stages_in_bf16_are_not_repeated_in_fp32(sweep: Path) -> None:
    path = _first(sweep) / RECORD
    record = json.loads(path.read_text())
    record["environment"]["precision"] = "bf16-mixed"
    path.write_text(json.dumps(record))
    cfg = compose_config(f"run={path.parent}", name="evaluate")
    with pytest.raises(InputError, match=r"computed frozen stages in bf16.*train it again"):
        evaluate(cfg, path.parent, [])


def test_runs_of_two_versions_are_two_arms(sweep: Path) -> None:
    """The same options, other rules: pooled, they would be seeds of one reader study."""
    first, second = sorted(path.parent for path in sweep.glob(f"*/{RECORD}"))
    shutil.rmtree(second)
    cfg = OmegaConf.merge(compose_config(), load_config(first))
    cfg.seed = 1
    now = run(cfg, sweep / "now")  # type: ignore[arg-type]  # merged from two of them
    earlier = json.loads((first / RECORD).read_text())
    earlier["arm_hash"] = now["arm_hash"]  # as between versions that have the same options
    (first / RECORD).write_text(json.dumps(earlier))
    runs = collect(sweep)
    assert sorted(runs["schema"]) == [1, SCHEMA]
    assert runs["arm_hash"].nunique() == 1
    text = write_report(sweep).read_text(encoding="utf-8")
    assert "schema=1" in text
    assert f"schema={SCHEMA}" in text
    assert f"records of schema 1 and {SCHEMA} are compared" in text
