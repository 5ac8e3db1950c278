"""The report of a sweep."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from tests.study.sweeps import TARGETS, labelled, write_folds, write_scored, write_study
from tests.study.test_depths import write_depth
from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.report import page as report_page
from xray_tl.report.figures import draw_auroc
from xray_tl.report.page import PARTS, write_report
from xray_tl.report.style import inline_svg
from xray_tl.report.tasks import compared
from xray_tl.store.files import write_text
from xray_tl.study.analysis import analyse
from xray_tl.study.study_folder import Study, atlas_path
from xray_tl.sweeps.atlas import write_atlas

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("sweep"))
    test_set = Study.load(folder).arms[0].test_set
    source = SyntheticRadiographs.open(SyntheticDataConfig(image_size=32), "test")
    write_atlas(source, 60, atlas_path(folder, test_set))
    write_report(folder)
    return folder


def test_the_page_stands_alone_and_says_what_was_found(sweep: Path) -> None:
    page = (sweep / "report.html").read_text()
    assert len(page) < 5e6
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    assert "@import" not in page
    assert "resnet18 finetune random has the highest test AUROC" in page
    assert "better than" in page
    for heading in ("Arms", "Differences", "Curves", "Five questions", "Errors", "Provenance"):
        assert f"<h2>{heading}</h2>" in page
    for letter in "BCDE":
        assert f"<h3>{letter}. " in page
    assert page.count("data:image/png;base64,") >= 8
    assert (
        "Model selection saw validation images alone: epoch,\nthreshold; learning rates are as they" in page
    )


def test_depths_have_their_figure_and_tasks_compare_whole_networks(tmp_path: Path, sweep: Path) -> None:
    for name, stages in (("resnet18", 5), ("vgg16", 7)):
        for depth in (1, 2, None):
            write_depth(tmp_path, name, depth, stages)
    page = write_report(tmp_path).read_text()
    assert '<figure id="depth">' in page
    assert page.index("<h2>Differences</h2>") < page.index("<h2>Depth</h2>") < page.index("<h2>Curves</h2>")
    assert "pooled pixels" in (tmp_path / "report/depth.svg").read_text()
    (asked,) = compared(analyse(tmp_path))["task_c"]
    assert set(asked) == {"resnet18 frozen random", "vgg16 frozen random"}
    assert "<h2>Depth</h2>" not in (sweep / "report.html").read_text()


def test_what_would_decide_comes_with_a_warning_of_second_looks(tmp_path: Path) -> None:
    for seed in range(5):
        for mode, strength in (("finetune", 1.1), ("frozen", 1.0)):
            write_scored(tmp_path, strength, seed, mode=mode)
    text = write_report(tmp_path).read_text()
    answer = text[text.index('<section class="answer">') : text.index("</section>")]
    assert "would probably decide it. Adding seeds or images after a look is a second look" in answer
    assert text[text.index("<h2>Differences</h2>") :].count("raises the error above 5 %") == 1


def test_what_is_not_known_is_no_number(tmp_path: Path) -> None:
    """A ceiling at chance has no efficiency; an older record has no time, and no history to choose by."""
    chance = {"auroc": 0.5, "auroc_se": 0.01, "efficiency": None, "above_ceiling": False}
    for seed in range(2):
        for mode in ("finetune", "frozen"):
            write_scored(tmp_path, 1.0, seed, mode=mode, ceiling=chance, time={}, history=[])
    page = re.sub(r"<svg.*?</svg>", "", write_report(tmp_path).read_text(), flags=re.DOTALL)
    assert not re.search(r"\bnan\b", page)
    assert "The best possible is 0.500; no efficiency is known" in page
    assert "first of 2 arms, none of which has a result on validation images" in page
    assert "unknown time to train" in page


def test_tables_and_figures_lie_beside_it(sweep: Path) -> None:
    arms = pd.read_csv(sweep / PARTS / "arms.csv")
    pairs = pd.read_csv(sweep / PARTS / "differences.csv")
    assert (len(arms), len(pairs)) == (4, 6)
    assert (arms["auroc_lower"] < arms["auroc"]).all()
    assert (arms["auroc"] < arms["auroc_upper"]).all()
    assert set(pairs["verdict"]) <= {"better", "equivalent", "undecided"}
    assert set(pairs["holds_for_new"]) == {"seeds, images"}
    for name in ("auroc", "differences", "curves", "roc", "reliability", *(f"task_{k}" for k in "abcd")):
        assert (sweep / PARTS / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (sweep / PARTS / f"{name}.svg").read_text()
    assert not list(sweep.rglob("*.partial-*"))


def test_the_page_says_what_images_hold_and_how_many_the_next_study_needs(sweep: Path) -> None:
    pairs = pd.read_csv(sweep / PARTS / "differences.csv")
    arms = pd.read_csv(sweep / PARTS / "arms.csv")
    assert pairs["images_share"].between(0, 1).all()
    assert arms["auroc_images_share"].between(0, 1).all()
    page = (sweep / "report.html").read_text()
    table = page[page.index('<div class="pairs">') :]
    head = re.findall("<th.*?>(.*?)</th>", table.split("</thead>")[0])
    place = head.index("images&#39; share")
    rows = [
        re.findall("<td>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", table.split("</tbody>")[0])
    ]
    shown = [row[place] for row in rows if row]
    assert shown == [f"{100 * share:.0f} %" for share in pairs["images_share"]]
    wanted = pd.read_csv(sweep / PARTS / "next_images.csv")
    assert list(wanted) == ["first", "second", "images", "images_variance", "next_images"], "no difference"
    done = analyse(sweep)
    following = done.comparison.next_cases
    assert following is not None
    assert list(wanted["next_images"]) == list(following.of_pairs.values())
    assert page.count("For the next study: ") == 1
    assert f"<code>{PARTS}/next_images.csv</code>, which has no differences" in page


def test_identifiers_of_figures_do_not_clash_and_stay_the_same(sweep: Path) -> None:
    runs = Study.load(sweep).runs
    one, again, other = (inline_svg(draw_auroc(runs), name) for name in ("a", "a", "b"))
    assert one == again
    clips = [set(re.findall(r'<clipPath id="(\w+)"', svg)) for svg in (one, other)]
    assert clips[0]
    assert not clips[0] & clips[1]


def test_intervals_of_few_seeds_say_of_how_few(sweep: Path, tmp_path: Path) -> None:
    assert "two to four seeds" not in (sweep / "report.html").read_text()
    for seed in range(3):
        for mode in ("finetune", "frozen"):
            write_scored(tmp_path, 1.0, seed, mode=mode)
    text = write_report(tmp_path).read_text()
    assert "too few seeds for a verdict, which takes 5: " in text
    answer = text[text.index('<section class="answer">') : text.index("</section>")]
    assert "of only 3 seeds" in answer
    assert len(re.findall(r"<td>-?\d\.\d{3} to -?\d\.\d{3}\*</td>", text)) == 2 + 1, "arms and difference"
    assert text.count("* of two to four seeds, which hardly tell how seeds vary") == 2
    gap = text[text.index("E. The gap between training and test") :]
    for sentence in ("Overfitting of", "Size of the test set", "an observer efficiency of"):
        assert "of only 3 seeds" in gap[gap.index(sentence) :].split("</li>")[0]
    for name in ("arms", "differences"):
        assert pd.read_csv(tmp_path / PARTS / f"{name}.csv")["few_seeds"].all()
        assert not pd.read_csv(sweep / PARTS / f"{name}.csv")["few_seeds"].any()


def test_names_are_escaped(tmp_path: Path) -> None:
    for seed in range(2):
        write_scored(tmp_path, 1.0, seed, model=HOSTILE)
    write_scored(tmp_path, 1.0, 9, status="failed", error=HOSTILE)
    page = write_report(tmp_path).read_text()
    assert "alert" in page
    assert HOSTILE not in page
    assert "<script" not in page


def test_a_dollar_in_a_name_is_no_formula(tmp_path: Path) -> None:
    for seed in range(2):
        for model in (r"a$\x{$b", "plain"):
            write_scored(tmp_path, 1.0, seed, model=model)
    assert r"a$\x{$b finetune random" in write_report(tmp_path).read_text()


@pytest.mark.parametrize("values", [("none", "light"), ("none", "light", "strong")])
def test_a_sweep_over_one_option_alone_has_its_report(tmp_path: Path, values: tuple[str, ...]) -> None:
    for value in values:
        for seed in range(2):
            write_scored(tmp_path, 1.0, seed, options={"augment.name": value})
    page = write_report(tmp_path).read_text()
    assert "augment=light" in page


def test_the_sweep_s_own_command_is_there(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    given = {"hydra": ["hydra/launcher=parallel"], "task": ["arm=a,b", "optim.lr=[1,2]"]}
    write_text(tmp_path / "multirun.yaml", OmegaConf.to_yaml({"hydra": {"overrides": given}}))
    page = write_report(tmp_path).read_text()
    assert "python -m xray_tl.train -m hydra/launcher=parallel arm=a,b &#39;optim.lr=[1,2]&#39;" in page
    (tmp_path / "multirun.yaml").write_text("hydra: [")
    assert "the sweep's own command" in write_report(tmp_path).read_text()


def test_a_run_that_was_killed_is_named(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    write_text(tmp_path / "killed" / ".hydra" / "config.yaml", "seed: 1\n")
    assert (
        "killed has no record.json: it was killed, or is still running" in write_report(tmp_path).read_text()
    )


def test_of_many_pairs_those_of_the_best_arm_lie_open(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(sweep, tmp_path / "sweep")
    assert "<details" not in (sweep / "report.html").read_text()
    monkeypatch.setattr(report_page, "MOST_DIFFERENCES", 2)
    text = write_report(folder).read_text()
    leading, all_ = re.findall(r'<(?:div|details) class="pairs">(.*?)</tbody>', text, re.DOTALL)
    assert (leading.count("<tr>"), all_.count("<tr>")) == (1 + 3, 1 + 6)
    assert "<summary>All 6 pairs</summary>" in all_


def test_runs_of_different_versions_are_told(tmp_path: Path) -> None:
    for seed in range(2):
        for mode in ("finetune", "frozen"):
            write_scored(tmp_path, 2.0, seed, mode=mode, environment={"torch": f"2.{seed}", "threads": 2})
    write_report(tmp_path)
    assert "torch 2.0 and 2.1, threads 2." in (tmp_path / "report.html").read_text()
    write_scored(tmp_path, 1.0, 0, model="vgg16")
    write_report(tmp_path)
    pairs = pd.read_csv(tmp_path / PARTS / "differences.csv").set_index(["first", "second"])
    seeds_alone = pairs.index.map(lambda pair: any("vgg16" in name for name in pair))
    assert set(pairs["holds_for_new"][seeds_alone]) == {"images"}
    assert set(pairs["holds_for_new"][~seeds_alone]) == {"seeds, images"}


def test_what_an_audit_found_is_shown(tmp_path: Path) -> None:
    found = [{"kind": "leak", "serious": True, "text": f"1 patients on both sides: {HOSTILE}", "cases": []}]
    write_scored(tmp_path, 1.0, 0, audit=found)
    page = write_report(tmp_path).read_text()
    assert "<h2>Data</h2>" in page
    assert "! leak:" in page
    assert HOSTILE not in page
    write_scored(tmp_path / "other", 1.0, 0)
    assert "<h2>Data</h2>" not in write_report(tmp_path / "other").read_text()


def test_the_rates_that_were_tried_are_shown(tmp_path: Path) -> None:
    tuning = {
        "rates": [[1e-4, 3e-4], [1e-3, 3e-3]],
        "seeds": [1000, 1001],
        "val_auroc": [[0.7, 0.8], [None, 0.6]],
        "chosen": [1e-4, 3e-4],
    }
    write_scored(tmp_path, 1.0, 0, tuning=tuning)
    page = write_report(tmp_path).read_text()
    assert "<h3>Learning rates</h3>" in page
    row = page[page.index("<h3>Learning rates</h3>") :].split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall("<td>(.*?)</td>", row)
    assert cells == ["resnet18 finetune random", "0.750", "diverged", "0.0001 / 0.0003", "1000, 1001"]
    assert "threshold and learning rates" in page


def test_without_an_atlas_there_are_no_pictures_but_a_report(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    page = write_report(tmp_path).read_text()
    assert "data:image" not in page
    assert "it says nothing about training again" in page
    assert "has a test AUROC of" in page


def test_a_damaged_atlas_is_no_atlas(tmp_path: Path) -> None:
    write_scored(tmp_path, 1.0, 0)
    atlas_path(tmp_path, Study.load(tmp_path).arms[0].test_set).write_bytes(b"\x89PNG damaged")
    assert "data:image" not in write_report(tmp_path).read_text()


def test_the_command_prints_the_page_and_needs_no_torch(
    sweep: Path, subprocess_env: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom xray_tl.report.page import write_report\n"
        f"write_report(Path({str(sweep)!r}))\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=subprocess_env, check=True, timeout=120)
    command = [sys.executable, "-m", "xray_tl.report"]
    done = subprocess.run(
        [*command, f"dir={sweep}"],
        env=subprocess_env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == str(sweep / "report.html")
    (tmp_path / "held" / "report.html").mkdir(parents=True)
    for wrong, message in (
        (f"dir={tmp_path / 'held'}", "report.html cannot be written: it is a folder"),
        (f"dir={tmp_path / 'no'}", "is not a folder"),
        (f"dir={tmp_path}", "has no run with"),
    ):
        refused = subprocess.run(
            [*command, wrong], env=subprocess_env, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert refused.returncode == 1
        assert message in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_several_targets_are_compared_by_their_mean_and_shown_one_by_one(tmp_path: Path) -> None:
    for seed in range(5):
        for mode, strength in (("finetune", 2.0), ("frozen", 0.5)):
            frame = labelled(strength, seed + 100 * (mode == "frozen"))
            changes = {"data": {"targets": ["multilabel", *TARGETS]}, "threshold": [0.5, 0.4, 0.3]}
            write_scored(tmp_path, strength, seed, mode=mode, predictions=frame, **changes)
    page = write_report(tmp_path).read_text()
    assert "has the highest test AUROC (mean over 3 targets)" in page
    assert "<h3>Each target on its own</h3>" in page
    for target in TARGETS:
        assert f"<td>{target}</td>" in page
    whole = pd.read_csv(tmp_path / PARTS / "arms.csv").set_index("arm")["auroc"]
    targets = pd.read_csv(tmp_path / PARTS / "targets.csv")
    assert targets.groupby("arm")["value"].mean().to_dict() == pytest.approx(whole.to_dict())


def test_a_cross_validation_is_one_study(tmp_path: Path) -> None:
    for seed in range(5):
        for mode, strength in (("finetune", 3.0), ("frozen", 0.3)):
            write_folds(tmp_path, strength, seed, mode=mode, scale=2.0)
    page = write_report(tmp_path).read_text()
    assert "resnet18 finetune random has the highest test AUROC (mean over 3 folds)" in page
    assert "better than resnet18 frozen random" in page
    assert "The 60 images are of 30 patients" in page
    assert "new seeds on these training sets, which overlap, and new patients" in page
    assert "0, 1, 2, 3, 4 x 3 folds" in page


def test_one_target_left_of_two_makes_a_report(tmp_path: Path) -> None:
    frame = labelled(1.0, 0)
    rare = frame[frame["target"] == "mass"].assign(truth=0)
    both = pd.concat([frame[frame["target"] == "nodule"], rare])
    data = {"targets": ["multilabel", "nodule", "mass"]}
    write_scored(tmp_path, 1.0, 0, predictions=both, data=data, threshold=[0.5, 0.4])
    page = write_report(tmp_path).read_text()
    assert "patients of a class: mass" in page
    assert pd.read_csv(tmp_path / PARTS / "arms.csv")["threshold"].tolist() == [0.5]
