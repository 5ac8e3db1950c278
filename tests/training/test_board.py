"""What TensorBoard finds in a run's folder."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.conftest import TINY, compose_config
from xray_tl.runs.run import run


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[EventAccumulator, dict[str, Any]]:
    """Train a tiny run once and load its events."""
    folder: Path = tmp_path_factory.mktemp("run")
    record = run(compose_config(*TINY, "mode=gradual", "logger=tensorboard"), folder)
    files = list((folder / "tensorboard").glob("events.*"))
    assert len(files) == 1, "curves and hparams share one file"
    loaded = EventAccumulator(str(files[0]), size_guidance={"images": 0, "scalars": 0})
    loaded.Reload()
    return loaded, record


def test_scalars(events: tuple[EventAccumulator, dict[str, Any]]) -> None:
    loaded, record = events
    tags = set(loaded.Tags()["scalars"])
    assert {"train/loss_step", "train/loss_epoch", "val/loss", "val/auroc", "val/accuracy", "lr/head"} <= tags
    assert "lr/layer4" in tags, "a stage that opened shows its rate"
    assert [event.value for event in loaded.Scalars("val/auroc")] == pytest.approx(
        [entry["val_auroc"] for entry in record["history"]]
    )
    assert loaded.Scalars("test/auroc")[0].value == pytest.approx(record["metrics"]["test"]["auroc"])
    assert not any(tag.startswith("hp_metric") for tag in tags)


def test_the_ceiling_is_a_line_in_the_chart_of_areas(events: tuple[EventAccumulator, dict[str, Any]]) -> None:
    loaded, record = events
    line = loaded.Scalars("test/auroc_ceiling")
    assert [event.value for event in line] == pytest.approx([record["ceiling"]["auroc"]] * 2)
    assert line[0].step == 0
    assert line[1].step == loaded.Scalars("test/auroc")[0].step
    content = loaded.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    (chart,) = layout_pb2.Layout.FromString(content).category[0].chart
    tags = set(loaded.Tags()["scalars"])
    shown = ("val/auroc", "test/auroc", "test/auroc_ceiling")
    for pattern, tag in zip(chart.multiline.tag, shown, strict=True):
        assert [name for name in tags if re.search(pattern, name)] == [tag]


def test_images(events: tuple[EventAccumulator, dict[str, Any]]) -> None:
    loaded, _ = events
    assert loaded.Tags()["images"] == ["examples/positive above negative"]
    assert len(loaded.Images("examples/positive above negative")) == 1


def test_hparams_stand_beside_final_metrics(events: tuple[EventAccumulator, dict[str, Any]]) -> None:
    loaded, _ = events
    content = loaded.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["model"].string_value == "resnet18"
    assert start.hparams["mode"].string_value == "gradual"
    experiment = loaded.SummaryMetadata("_hparams_/experiment").plugin_data.content
    infos = plugin_data_pb2.HParamsPluginData.FromString(experiment).experiment.metric_infos
    assert "test/auroc" in {info.name.tag for info in infos}


def test_a_solved_run_shows_how_its_penalty_was_chosen(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    record = run(tiny("mode=frozen", "logger=tensorboard"), tmp_path)
    loaded = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    loaded.Reload()
    for name in ("auroc", "loss"):
        shown = [event.value for event in loaded.Scalars(f"probe/held_out_{name}/opacity")]
        assert shown == pytest.approx([row[0] for row in record["head"][f"held_out_{name}"]])
    strength = [10**event.value for event in loaded.Scalars("probe/log10_l2")]
    assert strength == pytest.approx(record["head"]["grid"], rel=1e-5)
    assert loaded.Scalars("test/auroc")[0].value == pytest.approx(record["metrics"]["test"]["auroc"])


def test_no_logger_writes_no_events(tiny: Callable[..., DictConfig], tmp_path: Path) -> None:
    run(tiny("mode=frozen"), tmp_path)
    assert not (tmp_path / "tensorboard").exists()
