"""Commands as a user types them: how fast they answer, what they print, how they end."""

import time
from pathlib import Path

import pytest

from tests.commands import run_command
from tests.conftest import TINY
from tests.data.films.radiograph_files import write_classes, write_png8

Env = dict[str, str]
WITH_DATA = ("train", "evaluate", "preview", "ceiling")


@pytest.mark.parametrize(
    "command",
    [
        *("train", "evaluate", "preview", "ceiling", "compare", "report"),
        *("pretrain", "bench", "audit", "predict", "plan", "status"),
    ],
)
@pytest.mark.parametrize("flags", [("--help",), ("--cfg", "job")])
def test_help_and_configuration_answer_at_once(
    command: str, flags: tuple[str, ...], subprocess_env: Env, tmp_path: Path
) -> None:
    start = time.monotonic()
    done = run_command(command, *flags, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Under 1 s on a quiet machine; the imports that would break it take 4 s and more.
    assert time.monotonic() - start < 3
    parts = {
        "compare": "metric: auroc",
        "report": "margin: 0.02",
        "audit": "output: audit",
        "predict": "input: ???",
        "status": "dir: ???",
    }
    part = parts.get(command, "name: resnet50")
    assert ("finding: opacity" if command in WITH_DATA else part) in done.stdout
    assert not list(tmp_path.iterdir()), "nothing is written"


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("model=resnet99", ["model/resnet99", "resnet18", "vgg16"]),
        ("mode=half", ["mode/half", "finetune", "lp_ft"]),
        ("data.imag_size=64", ["data.imag_size"]),
        ("data.n_train=many", ["data.n_train", "many"]),
        ("trainer.deterministic=perhaps", ["trainer.deterministic", "perhaps"]),
        ("data.finding=fracture", ["data.finding=fracture", "nodule, opacity"]),
    ],
)
def test_bad_input_ends_in_a_clear_line(
    override: str, names: list[str], subprocess_env: Env, tmp_path: Path
) -> None:
    done = run_command("train", *TINY, override, env=subprocess_env, cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert all(name in done.stderr for name in names), done.stderr
    assert not list(tmp_path.rglob("record.json"))
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("override", "successor"),
    [
        ("optim=lbfgs", "optim=lbfgs is gone: mode=frozen solves its head by itself (mode.head=solved)"),
        ("mode.head_epochs=0.5", "mode.head_epochs is gone: mode=lp_ft starts from the solved head"),
    ],
)
def test_an_option_that_is_gone_names_its_successor(
    override: str, successor: str, subprocess_env: Env, tmp_path: Path
) -> None:
    done = run_command("train", "mode=lp_ft", override, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"error: {successor}"]
    assert not list(tmp_path.iterdir())


def test_ceilings_of_several_kinds_of_image(subprocess_env: Env, tmp_path: Path) -> None:
    size = ("data.image_size=32", "data.finding=nodule", "images=100")
    done = run_command("ceiling", "-m", *size, "difficulty=easy,hard", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    easy, hard = (
        float(line.split()[3]) for line in done.stdout.splitlines() if line.startswith("  AUROC at most")
    )
    assert easy > hard > 0.5
    assert "d0 5.5, difficulty easy, shift none: 100 images" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    refused = run_command("ceiling", "images=1", env=subprocess_env, cwd=tmp_path)
    assert refused.returncode != 0
    assert refused.stderr.strip().endswith("images=1 is not valid: choose at least 2")


def test_pretraining_refuses_what_it_cannot_do(subprocess_env: Env, tmp_path: Path) -> None:
    done = run_command("pretrain", "budget=large", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: budget=large is not valid: choose one of small, full"
    assert not list(tmp_path.iterdir())


def test_a_difficulty_that_is_not_for_the_finding(subprocess_env: Env, tmp_path: Path) -> None:
    for command in ("train", "ceiling", "preview"):
        done = run_command(command, "difficulty=easy", "data.finding=mass", env=subprocess_env, cwd=tmp_path)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "difficulty=easy is not made for data.finding=mass: choose from nodule, opacity" in done.stderr


def test_traceback_where_it_is_asked_for(subprocess_env: Env, tmp_path: Path) -> None:
    env = {**subprocess_env, "HYDRA_FULL_ERROR": "1"}
    assert "Traceback" in run_command("train", *TINY, "data.n_train=0", env=env, cwd=tmp_path).stderr


def test_single_run_and_evaluate(subprocess_env: Env, tmp_path: Path) -> None:
    done = run_command("train", *TINY, "mode=frozen", "hydra.run.dir=run", env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "auroc" in done.stdout
    again = run_command("evaluate", "run=run", "trainer.threads=1", env=subprocess_env, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "came out exactly" in again.stdout
    bad = run_command("evaluate", "run=nowhere", env=subprocess_env, cwd=tmp_path)
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: run=nowhere is not a run's folder")


def test_bench_measures_several_backbones_and_draws_a_sweep(subprocess_env: Env, tmp_path: Path) -> None:
    sweep = ("-m", *TINY, "trainer.max_epochs=1", "mode=frozen", "hydra.sweep.dir=sweep")
    assert run_command("train", *sweep, env=subprocess_env, cwd=tmp_path).returncode == 0
    effort = ("image_size=32", "batch_size=2", "latency_repeats=2", "repeats=1", "warm_up=0", "trainer=cpu")
    where = ("sweep=sweep", "hydra.sweep.dir=bench")
    models = "model=resnet18,timm,efficientnet_lite0"  # timm lacks its name
    done = run_command("bench", models, *effort, *where, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("error: model.name must be given on the command line: model.name=...")
    assert "resnet18" in done.stdout
    assert "efficientnet_lite0" in done.stdout
    written = {path.name for path in (tmp_path / "bench").iterdir()}
    assert {"bench.csv", "bench.json", "auroc_against_latency.png"} <= written
    refused = run_command(
        "bench", "sweep=nowhere", "hydra.sweep.dir=refused", env=subprocess_env, cwd=tmp_path
    )
    assert refused.returncode != 0
    assert "error: sweep=nowhere is not a folder: give that of a finished sweep" in refused.stderr


def test_a_study_is_a_sweep_that_ends_with_a_report(subprocess_env: Env, tmp_path: Path) -> None:
    """Two of its arms, two seeds, tiny images; every study passes in small in tests/test_studies.py."""
    tiny = [item for item in TINY if not item.startswith(("model=", "weights="))]
    arms = ("arm=resnet50_frozen,efficientnet_lite0_frozen_imagenet", "weights=random", "seed=0,1")
    small = ("trainer.max_epochs=1", "tune.rates=[[1e-3,1e-3]]", "shifts=[low_dose]")
    overrides = [*tiny, *small, "hydra.sweep.dir=out", *arms]
    done = run_command("train", "study=homework", *overrides, env=subprocess_env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs complete" in done.stdout, "solved heads: one for both seeds"
    assert "Report: out/report.html" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "<h3>E. " in page
    assert "Shift low_dose, the finding&#39;s detectability kept: shifted minus test images, AUROC" in page
    assert (tmp_path / "out" / "auroc.png").is_file()
    assert "image_statistics" in done.stdout


def test_a_folder_of_films_from_audit_to_scores(subprocess_env: Env, tmp_path: Path) -> None:
    root = write_classes(tmp_path / "films", 48, write_png8, per_patient=2)
    env = {**subprocess_env, "XRAY_TL_CACHE": str(tmp_path / "cache")}
    real = ("data=folder", f"data.root={root}", "data.image_size=32", "data.patient_regex='^([0-9]+)_'")
    audited = run_command("audit", *real, "output=found", env=env, cwd=tmp_path)
    assert audited.returncode == 0, audited.stderr
    assert "24 patients, known of 48 of 48 images" in audited.stdout
    assert {path.name for path in (tmp_path / "found").iterdir()} == {"audit.json", "split.csv", "sheet.png"}
    previewed = run_command("preview", *real, "split=test", env=env, cwd=tmp_path)
    assert previewed.stdout.strip() == "preview.png"
    small = [option for option in TINY if not option.startswith("data.")]
    sweep = ("-m", *small, *real, "mode=frozen", "mode.head=solved,trained", "hydra.sweep.dir=sweep")
    trained = run_command("train", *sweep, env=env, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "The best possible AUROC is not known for these images" in page
    assert "<h2>Data</h2>" in page
    assert "data:image/png;base64," in page
    (run, _) = sorted(path.parent for path in (tmp_path / "sweep").glob("*/record.json"))
    same = run_command("evaluate", f"run={run}", env=env, cwd=tmp_path)
    assert "came out exactly" in same.stdout, same.stderr
    elsewhere = write_classes(tmp_path / "elsewhere", 16, seed=9)
    new = ("data=folder", f"data.root={elsewhere}", "data.test_fraction=1", "name=elsewhere")
    external = run_command("evaluate", f"run={run}", *new, env=env, cwd=tmp_path)
    assert external.returncode == 0, external.stderr
    assert len((run / "evaluations" / "elsewhere" / "predictions.csv").read_text().splitlines()) == 17
    scored = run_command(
        "predict", f"run={run}", f"input={elsewhere}", "output=scores.csv", env=env, cwd=tmp_path
    )
    assert scored.stdout.strip() == "scores.csv", scored.stderr
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 17


@pytest.mark.parametrize(
    ("command", "args", "said"),
    [
        ("audit", ("data.root=no",), "error: data.root=no is not a folder"),
        ("audit", ("data=synthetic",), "error: data=synthetic has nothing to audit"),
        ("audit", (), "error: data.root must be given on the command line: data.root=..."),
        (
            "ceiling",
            ("data=folder", "data.root=films"),
            "the best possible result is not known for this data",
        ),
        ("predict", ("run=no", "input=no"), "error: input=no does not exist"),
        ("preview", ("input=.", "data.image_size=100"), "error: data.image_size=100 is not a multiple of 16"),
        ("preview", ("data=dicom", "input=.", "data.fit=no"), "error: data.fit=no is not valid"),
        ("preview", ("input=no",), "error: input=no does not exist"),
        ("preview", ("data=dicom", "input=."), "error: input=. holds no PNG, JPEG, TIFF or DICOM file"),
        ("preview", ("data=csv", "input=."), "error: input=. holds no PNG, JPEG, TIFF or DICOM file"),
        (
            "train",
            ("data=nih", "data.root=.", "data.download=true"),
            "error: data.download=true is for data=medmnist",
        ),
        ("predict", ("run=no", "input=.", "output=a.txt"), "error: output=a.txt must end in .csv"),
        ("train", ("data=folder", "data.root=films", "shift=blur"), "Key 'acquisition' not in"),
        (
            "train",
            ("data=folder", "data.root="),
            "error: data.root= is empty (a shell variable that is",
        ),
        ("predict", ("run=no", "input="), "error: input= is empty"),
        ("report", ("dir=",), "error: dir= is empty"),
        ("train", ("hydra.run.dir=",), "error: hydra.run.dir= is empty"),
        (
            "audit",
            ("data.root=.", "output=/dev/null"),
            "error: output=/dev/null/audit.json cannot be",
        ),
        ("preview", ("output=/dev/null/a.png",), "error: output=/dev/null/a.png cannot be written"),
        ("train", ("data=folder",), "error: data.root must be given on the command line: data.root=..."),
    ],
)
def test_wrong_files_end_in_a_clear_line(
    command: str, args: tuple[str, ...], said: str, subprocess_env: Env, tmp_path: Path
) -> None:
    done = run_command(command, *args, env=subprocess_env, cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert not list(tmp_path.rglob("*.csv"))
