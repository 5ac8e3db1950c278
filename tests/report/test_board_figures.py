"""Figures of the test images for TensorBoard."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.study.sweeps import scores, write_scored, write_study
from xray_tl.errors import InputError
from xray_tl.report.board_figures import EVENTS, write_run
from xray_tl.report.page import write_report
from xray_tl.store.records import PREDICTIONS, read_record

FIGURES = {"test/roc", "test/reliability", "test/confusion/opacity"}


def _images(folder: Path) -> EventAccumulator:
    loaded = EventAccumulator(str(folder / EVENTS), size_guidance={"images": 0})
    return loaded.Reload()


def test_a_run_has_each_figure_once_at_its_last_epoch(tmp_path: Path) -> None:
    run = write_scored(tmp_path, 1.0, 0)
    for _ in range(2):  # again: nothing is doubled
        write_run(run, read_record(run) or {})
    images = _images(run / "tensorboard")
    assert set(images.Tags()["images"]) == FIGURES
    for tag in FIGURES:
        (image,) = images.Images(tag)
        assert image.step == 3
        assert image.encoded_image_string.startswith(b"\x89PNG")
        assert image.width > 200


def test_every_target_has_a_matrix_at_its_own_threshold(tmp_path: Path) -> None:
    data = {"targets": ["multilabel", "mass", "effusion"]}
    run = write_scored(tmp_path, 1.0, 0, threshold=[0.4, 0.6], data=data)
    twice = [scores(1.0, 0).assign(target=target) for target in ("mass", "effusion")]
    twice[0].to_csv(run / PREDICTIONS, index=False)
    twice[1].to_csv(run / PREDICTIONS, index=False, mode="a", header=False)
    write_run(run, read_record(run) or {})
    confusion = {"test/confusion/mass", "test/confusion/effusion"}
    assert set(_images(run / "tensorboard").Tags()["images"]) == confusion | {"test/roc", "test/reliability"}


def test_a_run_without_predictions_is_named(tmp_path: Path) -> None:
    run = write_scored(tmp_path, 1.0, 0)
    (run / PREDICTIONS).unlink()
    with pytest.raises(InputError, match=r"has no predictions\.csv"):
        write_run(run, read_record(run) or {})


def test_a_sweep_has_them_once_an_arm_where_its_runs_have_a_board(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_report(tmp_path)
    assert not (tmp_path / "tensorboard").exists(), "logger=none"
    for run in tmp_path.glob("resnet18-*"):
        (run / "tensorboard").mkdir()
    old = tmp_path / "tensorboard" / "an arm that was renamed" / EVENTS
    old.parent.mkdir(parents=True)
    old.touch()
    write_report(tmp_path)
    assert not old.exists()
    boards = {path.parent.name for path in (tmp_path / "tensorboard").glob(f"*/{EVENTS}")}
    assert boards == {"resnet18-finetune-random", "resnet18-frozen-random"}
    images = _images(tmp_path / "tensorboard" / "resnet18-frozen-random")
    assert set(images.Tags()["images"]) == FIGURES
