"""Where the variance lies, and readers one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.study.sweeps import write_scored, write_study
from tests.study.test_draws import write_set
from xray_tl.report.page import PARTS, write_report
from xray_tl.report.variance_table import CUT, shown_readers, shown_variance, variance_table
from xray_tl.statistics.components import nested
from xray_tl.statistics.mrmc import cells
from xray_tl.study.analysis import analyse

TUNED, FROZEN = "resnet18 finetune source", "resnet18 frozen source"


def test_where_only_seeds_vary_the_components_are_the_analysis_own(tmp_path: Path) -> None:
    done = analyse(write_study(tmp_path))
    table = variance_table(done).set_index(["of", "component"])
    assert set(table.index.get_level_values("component")) == {"images", "seed"}
    for arm, estimate in done.comparison.analysis.arms.items():
        parts = estimate.components
        assert table.loc[(arm, "images"), "variance"] == pytest.approx(parts.shared)
        expected = parts.readers - parts.error + parts.shared
        assert table.loc[(arm, "seed"), "variance"] == pytest.approx(expected)
        assert table.loc[(arm, "seed"), "sd"] == pytest.approx(np.sqrt(parts.own))
    pair = next(pair for pair in done.comparison.analysis.pairs if " - ".join(pair) in table.index)
    parts = done.comparison.analysis.pairs[pair].components
    assert table.loc[(" - ".join(pair), "images"), "variance"] == pytest.approx(parts.shared)
    assert not shown_readers(done)[1]


def test_seeds_within_a_pretraining_are_told_apart_from_it(tmp_path: Path) -> None:
    for number in range(4):
        for seed in range(2):
            write_set(tmp_path, number, seed=seed)
        write_set(tmp_path, number, mode="frozen")
    done = analyse(tmp_path)
    table = variance_table(done).set_index(["of", "component"])
    assert list(table.loc[TUNED].index) == ["images", "seed", "pretraining"]
    assert list(table.loc[FROZEN].index) == ["images", "pretraining and seed"], "one run of each set"
    value = done.comparison.computed.value[done.comparison.readings.treatments.index(TUNED)]
    head, rows = shown_readers(done)
    assert head == ["pretraining", "sha256", TUNED, FROZEN]
    assert [row[:3] for row in rows] == [
        [f"{number}", f"sha{number}", f"{value[number]:.3f}"] for number in range(4)
    ]


def test_a_difference_is_taken_seed_by_seed_within_a_pretraining(tmp_path: Path) -> None:
    for number in range(3):
        for seed in range(3):
            for mode in ("finetune", "frozen"):
                write_set(tmp_path, number, seed=seed, mode=mode)
    done = analyse(tmp_path)
    area = {
        (arm.label, run.draw.weights, run.draw.seed): roc_auc_score(run.scores["truth"], run.scores["logit"])
        for arm in done.arms
        for run in arm.runs
    }
    difference = np.array(
        [[area[TUNED, f"{n}", seed] - area[FROZEN, f"{n}", seed] for seed in range(3)] for n in range(3)]
    )
    runs = cells(replace(done.comparison.readings, group=None))
    places = [runs.readings.treatments.index(label) for label in (TUNED, FROZEN)]
    cov = runs.covariance[np.ix_(places, range(9), places, range(9))]
    over_cases = cov[0, :, 0] + cov[1, :, 1] - cov[0, :, 1] - cov[1, :, 0]
    expected = nested(difference.ravel(), over_cases, np.repeat(np.arange(3), 3))
    table = variance_table(done).set_index(["of", "component"]).loc[f"{TUNED} - {FROZEN}"]
    assert table.loc["seed", "variance"] == pytest.approx(expected.runs)
    assert table.loc["pretraining", "variance"] == pytest.approx(expected.draws)
    assert table.loc["images", "variance"] == pytest.approx(expected.images)


def test_of_published_weights_seeds_are_what_varies(tmp_path: Path) -> None:
    published = {"source": "imagenet", "name": "V1", "sha256": "published"}
    for number in range(3):
        write_set(tmp_path, number)
        write_scored(tmp_path, 1.0, number, model="vgg16", weights=published, weights_seed=None)
    table = variance_table(analyse(tmp_path)).set_index(["of", "component"])
    assert list(table.loc["vgg16 finetune imagenet"].index) == ["images", "seed"]
    assert list(table.loc[TUNED].index) == ["images", "pretraining and seed"]


def test_the_page_has_both(tmp_path: Path) -> None:
    for number in range(3):
        for mode in ("finetune", "frozen"):
            write_set(tmp_path, number, mode=mode)
    page = write_report(tmp_path).read_text()
    assert "<h2>Pretrainings one by one</h2>" in page
    assert "<h2>Where the variance lies</h2>" in page
    assert "<th>pretraining and seed</th>" in page
    assert (tmp_path / PARTS / "variance.png").exists()
    stored = pd.read_csv(tmp_path / PARTS / "variance.csv")
    assert set(stored["component"]) == {"images", "pretraining and seed"}


def test_a_variance_below_zero_is_cut_and_marked() -> None:
    rows = [("a", "images", 0.01, 1e-4, False, 5, 5), ("a", "seed", 0.0, -1e-5, True, 5, 5)]
    columns = ["of", "component", "sd", "variance", "below_zero", "readers", "runs"]
    head, shown = shown_variance(pd.DataFrame(rows, columns=columns))
    assert head == ["SD of AUROC", "images", "seed", "readers"]
    assert shown == [["a", "0.0100", f"0.0000{CUT}", "5"]]


def test_one_run_has_no_table(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    assert shown_variance(variance_table(analyse(tmp_path))) == ([], [])
