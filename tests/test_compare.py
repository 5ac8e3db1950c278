"""The analysis of anybody's table, as typed."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xray_tl.statistics.mrmc import mrmc
from xray_tl.statistics.readings import Readings
from xray_tl.statistics.simulation import STRUCTURES, simulate

STUDY = simulate((0.75, 0.9), STRUCTURES["LL"], 5, 60, 60, np.random.default_rng(0))


def _write(path: Path, study: Readings = STUDY) -> Path:
    lines = ["reader,treatment,case,truth,rating,note"]
    for t, treatment in enumerate(study.treatments):
        for r, reader in enumerate(study.readers):
            lines += [
                f'{reader},{treatment},{case},{int(truth)},{study.rating[t, r, case]!r},"a, b"'.replace(
                    "np.float64(", ""
                ).replace("),", ",")
                for case, truth in enumerate(study.truth)
            ]
    path.write_text("\n".join(lines))
    return path


def _compare(*args: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xray_tl.compare", *args]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_json_has_every_number_and_nothing_else(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    path = _write(tmp_path / "scores.csv")
    done = _compare(f"scores={path}", "format=json", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, expected = json.loads(done.stdout), mrmc(STUDY).pairs["arm 0", "arm 1"]
    pair = found["pairs"][0]
    assert (pair["value"], pair["se"], pair["p"]) == pytest.approx(
        (expected.value, expected.se, expected.p), rel=1e-12
    )
    assert pair["hillis"] == pytest.approx(asdict(expected.hillis), rel=1e-12)
    assert pair["lower"] < pair["hillis"]["lower"] < pair["hillis"]["upper"] < pair["upper"], "both are there"
    assert pair["p"] > pair["hillis"]["p"]
    assert set(found["treatments"][0]["hillis"]) == {"df", "lower", "upper"}
    assert (pair["verdict"], pair["better"]) == ("better", "arm 1")
    assert set(pair["obuchowski_rockette"]) >= {"cov1", "cov2", "cov3", "error", "ms_treatment_reader"}
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"], "nothing is written"


def test_text_says_what_the_study_supports(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    path = _write(tmp_path / "scores.csv")
    done = _compare(f"scores={path}", env=subprocess_env, cwd=tmp_path)
    assert "2 treatments, 5 readers, 120 cases (60 positive)" in done.stdout
    assert "arm 1 is better than arm 0: AUROC by" in done.stdout
    assert done.stdout.strip().endswith("Holds for new readers and new cases.")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "scores must be given on the command line: scores=..."),
        (("scores=scores.csv", "readers=fixed", "cases=fixed"), "cannot both be fixed"),
        (("scores=scores.csv", "format=xml"), "format=xml is not valid: choose one of text, json"),
    ],
)
def test_bad_input_ends_in_one_line(
    args: tuple[str, ...], message: str, subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    _write(tmp_path / "scores.csv")
    done = _compare(*args, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not done.stdout


def _asked(
    questions: str, mean: tuple[float, ...], env: dict[str, str], folder: Path
) -> tuple[str, dict[str, Any]]:
    """Compare simulated scores with questions from a file; return text and JSON."""
    study = simulate(mean, STRUCTURES["LL"], 5, 60, 60, np.random.default_rng(1))
    _write(folder / "scores.csv", study)
    (folder / "asked.yaml").write_text(questions)
    args = ("scores=scores.csv", "planned=asked.yaml")
    text = _compare(*args, env=env, cwd=folder)
    assert text.returncode == 0, text.stderr
    return text.stdout, json.loads(_compare(*args, "format=json", env=env, cwd=folder).stdout)


def test_questions_declared_in_a_file_are_judged_on_their_own(
    subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    given = "which is better:\n  - arm 1 - arm 0\n"
    text, found = _asked(given, (0.75, 0.9, 0.8), subprocess_env, tmp_path)
    assert "which is better: arm 1 is better than arm 0: AUROC by" in text
    (asked,) = found["planned"]
    assert (asked["question"], asked["contrast"]) == ("which is better", "arm 1 - arm 0")
    assert asked["p_holm"] == asked["p"]
    assert [pair["question"] for pair in found["pairs"]] == ["which is better", None, None]


def test_which_is_best_is_answered(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    given = "dose: [{best: [arm 0, arm 1, arm 2]}]\n"
    text, found = _asked(given, (0.75, 0.95, 0.74), subprocess_env, tmp_path)
    assert "\nDose: the best of 3 is arm 1; arm 1 is better than arm 0, by " in text
    assert found["which_is_best"] == {"dose": {"may_be_best": ["arm 1"], "beaten": ["arm 0", "arm 2"]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "planned=asked.yaml is not a file of questions"),
        ("a: [b", "planned=asked.yaml is no YAML: "),
        ("[1]", "is no mapping of questions to lists of contrasts"),
        ("q: [arm 0 - arm 9]", 'q: "arm 0 - arm 9" names no treatment: arm 9 is not one of arm 0, arm 1'),
        ("q: [{contrast: arm 0 - arm 1, metric: brier}]", "a table has one metric"),
    ],
)
def test_questions_that_cannot_be_read_end_in_one_line(
    content: str | None, message: str, subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    _write(tmp_path / "scores.csv")
    if content is not None:
        (tmp_path / "asked.yaml").write_text(content)
    done = _compare("scores=scores.csv", "planned=asked.yaml", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not done.stdout
