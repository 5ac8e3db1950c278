"""Arms of one backbone at several depths."""

from pathlib import Path
from typing import Any

from tests.study.sweeps import write_scored
from xray_tl.study.analysis import analyse
from xray_tl.study.depths import by_depth


def write_depth(folder: Path, name: str, depth: int | None, stages: int = 5, **options: Any) -> None:  # noqa: ANN401  (any option)
    """Write two seeds of a backbone that keeps so many stages; `None`: all of its `stages`."""
    model = name if depth is None else f"{name}-d{depth}"
    chosen = {"model.name": name, "model.depth": depth} | options
    best = {"epoch": 1, "open_stages": 0, "most_open": 0, "stages": depth or stages}
    for seed in range(2):
        write_scored(folder, 1.0 + stages / 10, seed, model, "frozen", options=chosen, best=best)


def _found(folder: Path) -> dict[str, list[tuple[int, bool]]]:
    series = by_depth(analyse(folder).arms)
    return {name: [(point.depth, point.whole) for point in points] for name, points in series.items()}


def test_the_depths_of_a_backbone_are_a_series_and_the_whole_is_its_end(tmp_path: Path) -> None:
    for depth in (3, None, 1):
        write_depth(tmp_path, "resnet18", depth)
    for depth in (2, 6):
        write_depth(tmp_path, "vgg16", depth)
    write_depth(tmp_path, "densenet121", 2)
    assert _found(tmp_path) == {
        "resnet18 frozen random": [(1, False), (3, False), (5, True)],
        "vgg16 frozen random": [(2, False), (6, False)],
    }


def test_whole_networks_alone_are_no_series(tmp_path: Path) -> None:
    write_depth(tmp_path, "resnet18", None)
    write_depth(tmp_path, "vgg16", None, stages=7)
    assert _found(tmp_path) == {}


def test_all_stages_stand_once_however_they_were_asked_for(tmp_path: Path) -> None:
    for depth in (2, 5, None):
        write_depth(tmp_path, "resnet18", depth)
    (points,) = by_depth(analyse(tmp_path).arms).values()
    assert [point.depth for point in points] == [2, 5]


def test_other_options_make_other_series(tmp_path: Path) -> None:
    for decay in (0.01, 0.1):
        for depth in (1, 2):
            write_depth(tmp_path, "resnet18", depth, **{"optim.weight_decay": decay})
    write_depth(tmp_path, "resnet18", 3, **{"optim.lr": 0.5})
    assert _found(tmp_path) == {
        f"resnet18 frozen random, weight_decay={decay}": [(1, False), (2, False)] for decay in (0.01, 0.1)
    }


def test_runs_of_earlier_versions_have_no_depth(tmp_path: Path) -> None:
    for seed in range(2):
        write_scored(tmp_path, 1.0, seed)
    assert _found(tmp_path) == {}
