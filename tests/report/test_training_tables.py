"""How much of a backbone the arms trained, and what a solved one looks like beside curves."""

from pathlib import Path

from tests.study.sweeps import write_scored
from xray_tl.report.curves import draw_curves
from xray_tl.report.training_tables import shown_training
from xray_tl.study.analysis import analyse

SOLVED = {"kind": "solved", "penalty": [1.0]}


def test_passes_sum_the_share_of_each_epoch_and_a_solved_head_has_none(tmp_path: Path) -> None:
    sizes = {"train": 200, "val": 50, "test": 50}
    write_scored(tmp_path, 2.0, 0, mode="frozen", head=SOLVED, sizes=sizes)
    for seed in range(2):  # as stages open
        write_scored(tmp_path, 1.0, seed, mode="gradual", shares_behind=[0.2, 0.4, 0.6], sizes=sizes)
    done = analyse(tmp_path)
    head, rows = shown_training(done)
    assert head[-1] == "passes"
    found = {row[0]: row[1:] for row in rows}
    assert found["resnet18 frozen random"] == ["none: solved", "", "", "0"]
    assert found["resnet18 gradual random"] == ["3", "200", "40 %", f"{200 * (0.2 + 0.4 + 0.6):.0f}"]


def test_a_solved_head_is_a_dashed_line_beside_curves(tmp_path: Path) -> None:
    write_scored(tmp_path, 2.0, 0, mode="frozen", head=SOLVED)
    write_scored(tmp_path, 1.0, 0)
    for axes in draw_curves(analyse(tmp_path).arms).axes:
        styles = {str(line.get_label()): line.get_linestyle() for line in axes.lines}
        assert styles == {"resnet18 frozen random": "--", "resnet18 finetune random": "-"}
