"""`plan` as a user types it."""

from pathlib import Path

import pandas as pd

from tests.commands import run_command
from tests.study.sweeps import write_scored

Env = dict[str, str]
MODES = {"finetune": 2.5, "partial": 2.0, "frozen": 1.5}


def test_a_plan_is_printed_and_written(subprocess_env: Env, tmp_path: Path) -> None:
    """Of study=quick, whose plan names these three arms, and one of VGG16 that is not there."""
    for mode, strength in MODES.items():
        for seed in range(3):
            write_scored(tmp_path / "sweep", strength, seed, "resnet50", mode, arm_file=f"resnet50_{mode}")
    words = ("study=quick", "dir=sweep", "data.n_test=4000", "effect=0.05", "output=made")
    done = run_command("plan", *words, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "study=quick: to tell 0.05 from 0" in done.stdout
    assert "Not in this plan: resnet50_frozen - vgg16_frozen: no run of vgg16_frozen." in done.stdout
    assert done.stdout.endswith("made\n")
    made = tmp_path / "made"
    assert {path.name for path in made.iterdir()} == {"sizes.csv", "chances.csv", "map.png", "map.svg"}
    assert list(pd.read_csv(made / "sizes.csv")["images"]) == [4000, 8000, 16000]
    assert {path.name for path in tmp_path.iterdir()} == {"sweep", "made"}, "no run is made"


OWN_FILMS = """# @package _global_
defaults:
  - override /data: folder
planned:
  how_much:
    - resnet50_finetune - resnet50_frozen
"""


def test_a_study_on_own_films_has_the_images_of_the_earlier_sweep(
    subprocess_env: Env, tmp_path: Path
) -> None:
    for mode in ("finetune", "frozen"):
        for seed in range(3):
            write_scored(tmp_path / "sweep", 2.0, seed, "resnet50", mode, arm_file=f"resnet50_{mode}")
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(OWN_FILMS)
    words = ("--config-dir", "conf", "study=mine", "data.root=films", "dir=sweep", "output=made")
    done = run_command("plan", *words, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images = list(pd.read_csv(tmp_path / "made" / "sizes.csv")["images"])
    assert images == [images[0] * times for times in (1, 2, 4)]


def test_what_a_plan_lacks_is_said_in_one_line(subprocess_env: Env, tmp_path: Path) -> None:
    pilot = "python -m xray_tl.train study=quick seed=0,1,2,3,4"
    for words, said in (
        ((), "error: study= is needed: choose from adaptation, "),
        (("study=quick",), f"a pilot of 5 seeds would do: {pilot}\n"),
        (("study=quick", "dir=none"), "error: dir=none is not a folder"),
        (("study=quick", "dir=.", "planned=null"), "error: study=quick has no planned contrasts"),
    ):
        done = run_command("plan", *words, env=subprocess_env, cwd=tmp_path)
        assert done.returncode == 1, words
        assert said in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not list(tmp_path.iterdir())
