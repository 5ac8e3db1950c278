"""Questions from a study's file to the report, as typed: in this process, in workers, and for one run."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.commands import run_command
from tests.conftest import compose_config
from tests.small_study import MINE, write_study
from xray_tl.config import conf_dir
from xray_tl.config.named_arms import split_arm
from xray_tl.config.planned import check_names, declared

Env = dict[str, str]
STUDIES = sorted((Path(conf_dir()) / "study").glob("*.yaml"), key=lambda path: path.stem)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Write a study with arms of its own into a folder of configurations."""
    return write_study(tmp_path)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_each_study_declares_questions_on_its_own_arms(path: Path) -> None:
    study = OmegaConf.load(path)
    assert OmegaConf.is_dict(study)
    families = declared(study)  # type: ignore[arg-type]  # of a file that is a mapping
    assert families, "a study asks something"
    params = study.hydra.sweeper.params
    for contrast in (contrast for asked in families.values() for contrast in asked):
        for name, _ in contrast.weights:
            file, options = split_arm(name)
            assert file in params.arm.split(","), f"{name} is no arm of this study"
            for option, value in options.items():
                assert value in str(params[option]).split(",")
        shifts = [place for place in contrast.on if place not in ("train", "test")]
        assert set(shifts) <= set(study.get("shifts", []))
    extra = ["data.root=films"] if path.stem == "cross_validation" else []
    cfg = compose_config(f"study={path.stem}", *extra)
    assert declared(cfg) == families
    check_names(cfg, lambda group: [file.stem for file in (Path(conf_dir()) / group).glob("*.yaml")])


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=parallel", "hydra.launcher.jobs=2")])
def test_a_study_s_questions_stand_in_every_record_and_are_answered(
    launcher: tuple[str, ...], conf: Path, subprocess_env: Env
) -> None:
    done = run_command("train", *MINE, *launcher, env=subprocess_env, cwd=conf)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in sorted((conf / "out").glob("*/record.json"))]
    assert [record["arm_file"] for record in records] == ["small_finetune", "small_frozen"]
    assert len({record["planned"]["sha256"] for record in records}) == 1
    assert records[0]["planned"]["families"]["how_much"][1] == {
        "contrast": "small_finetune",
        "metric": "auroc",
        "on": "train - test",
    }
    page = (conf / "out" / "report.html").read_text()
    assert "<p>How much: undecided: " in page
    assert "<h2>Planned questions</h2>" in page


def test_a_question_added_to_a_finished_sweep_is_explored(conf: Path, subprocess_env: Env) -> None:
    assert run_command("train", *MINE, env=subprocess_env, cwd=conf).returncode == 0
    more = "+planned.later=[{contrast: small_finetune - small_frozen, metric: brier}]"
    done = run_command("train", *MINE, more, env=subprocess_env, cwd=conf)
    assert done.returncode == 0, done.stderr
    page = (conf / "out" / "report.html").read_text()
    assert "The question later stands so since" in page
    assert "of 2 runs of these arms 2 are older" in page
    assert "<h2>Planned questions</h2>" in page, "the question that was there first is planned still"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("planned.how_much=[small_finetune - small_frozn]", "names no arm: small_frozn is not one of "),
        ("planned.how_much=[small_finetune - small_finetune]", "names small_finetune twice"),
        (
            "planned.how_much=[{contrast: small_finetune - small_frozen, on: fog}]",
            "fog is no shift: choose from",
        ),
    ],
)
def test_a_wrong_question_ends_a_sweep_before_it_begins(
    override: str, said: str, conf: Path, subprocess_env: Env
) -> None:
    done = run_command("train", *MINE, override, env=subprocess_env, cwd=conf)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: planned: how_much: ")
    assert said in line
    assert not (conf / "out").exists()


def test_an_arm_that_a_command_leaves_out_is_planned_and_not_run(conf: Path, subprocess_env: Env) -> None:
    done = run_command("train", *MINE, "arm=small_frozen", env=subprocess_env, cwd=conf)
    assert done.returncode == 0, done.stderr
    page = (conf / "out" / "report.html").read_text()
    assert "<p>How much: no result for 2 of 2.</p>" in page
    assert "no run of small_finetune" in page


def test_a_single_run_has_its_questions_checked_and_its_arm_noted(conf: Path, subprocess_env: Env) -> None:
    own = (*(item for item in MINE if item != "study=mine"), "hydra.run.dir=run")
    bad = run_command("train", *own, "planned={q:[a - b]}", env=subprocess_env, cwd=conf)
    assert bad.returncode == 1
    assert 'error: planned: q: "a - b" names no arm: a is not one of ' in bad.stderr
    assert not list(conf.glob("run/*.json"))
    good = "planned={q:[small_frozen - small_finetune]}"
    done = run_command("train", *own, "arm=small_frozen", good, env=subprocess_env, cwd=conf)
    assert done.returncode == 0, done.stderr
    record = json.loads((conf / "run" / "record.json").read_text())
    assert record["arm_file"] == "small_frozen"
    assert list(record["planned"]["families"]) == ["q"]
