"""Pages hold what they promise: links lead somewhere, commands compose, README and pages stay short."""

import itertools
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.commands import run_command
from tests.conftest import compose_config
from xray_tl.config import conf_dir
from xray_tl.config.validation import check_values, validate

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
CONF = sorted(Path(conf_dir()).rglob("*.yaml"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"(?:^|\s)(python -m xray_tl\.(\w+)\b.*)$")
LIMITS = {"README.md": 150}
"""Lines of a page, where it is not `LIMIT`."""
LIMIT = 200
EXAMPLES = {"model=resnet34": "model=resnet18", "mode=alternate": "mode=frozen"}
"""What a page teaches to add, and what there is in its place."""
NEEDS = {"model=timm": "model.name=resnet10t"}


class Line(NamedTuple):
    """A command line: where it stands, the command, its words."""

    place: str
    command: str
    words: tuple[str, ...]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.+)$", _prose(page), re.M)
    plain = [re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip() for title in titles]
    return {re.sub(r" +", "-", title) for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{_name(page)} leads to {target}, which is not there"
        if DOCS in page.parents:  # the site holds docs/ alone
            assert DOCS in place.parents, f"{_name(page)} leads out of docs/: {target}"
        if anchor:
            assert anchor in _anchors(place), f"{_name(page)} leads to {target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_stays_short(page: Path) -> None:
    count = len(page.read_text(encoding="utf-8").splitlines())
    assert count <= LIMITS.get(page.name, LIMIT), f"{_name(page)} has {count} lines"


def test_every_page_is_in_the_navigation_and_in_the_readme() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f" {page.name}\n" in navigation, f"{page.name} is not in mkdocs.yml"
        assert page.name == "index.md" or f"(docs/{page.name})" in readme, f"README does not name {page.name}"


def test_make_targets_and_benchmarks_that_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M):
            assert name in targets, f"{_name(page)} names make {name}"
        for name in re.findall(r"benchmarks/\w+\.py", text):
            assert (ROOT / name).is_file(), f"{_name(page)} names {name}"


def _words(line: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Split a line into its command and words, a comment behind it left out."""
    wrapped = re.search(r'--wrap "(.*)"', line)  # a scheduler's job
    found = COMMAND.search(wrapped[1] if wrapped else line)
    if found is None:
        return None
    words = shlex.split(found[1], comments=True)[3:]
    end = next((i for i, word in enumerate(words) if word in ("&", "|", ">", "&&")), len(words))
    return found[1], found[2], tuple(words[:end])


def _of_page(page: Path) -> Iterator[Line]:
    """Find the commands in a page's code blocks, and those between backticks."""
    text = page.read_text(encoding="utf-8")
    lines = []
    for language, block in FENCE.findall(text):
        whole = block.replace("\\\n", " ")
        lines += [_to_comment(line) if language == "yaml" else line for line in whole.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        if found := _words(line):
            yield Line(f"{_name(page)}: {found[0]}", found[1], found[2])


def _to_comment(line: str) -> str:
    """Leave out what stands behind a command in a comment, two spaces apart."""
    return re.split(r"(?<=\S) {2,}", line.removeprefix("#").strip())[0]


def _of_conf(path: Path) -> Iterator[Line]:
    """Find the commands in the comment that a file under `conf/` opens with."""
    for line in itertools.takewhile(
        lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines()
    ):
        if line.removeprefix("#").strip().startswith("python -m xray_tl.") and (
            found := _words(_to_comment(line))
        ):
            yield Line(f"conf/{path.name}: {found[0]}", found[1], found[2])


FOUND = [line for page in PAGES for line in _of_page(page)] + [
    line for path in CONF for line in _of_conf(path)
]
LINES = list({(line.command, line.words): line for line in reversed(FOUND)}.values())


def test_there_are_commands_to_try() -> None:
    assert len({line.command for line in LINES}) >= 10
    assert {"README.md", "conf", "docs"} <= {re.split("[:/]", line.place)[0] for line in FOUND}


def _first_job(words: tuple[str, ...]) -> list[str]:
    """Return the overrides of a sweep's first job; the other choices of its lists must at least be there."""
    plain = [EXAMPLES.get(word, word) for word in words if not word.startswith("-")]
    overrides = []
    for one, text in zip(OverridesParser.create().parse_overrides(plain), plain, strict=True):
        if not one.is_sweep_override():
            overrides.append(text)
            continue
        values = list(one.sweep_string_iterator())
        group = Path(conf_dir()) / one.key_or_group
        for value in values if group.is_dir() else ():
            assert (group / f"{value}.yaml").is_file(), f"{one.key_or_group}={value} is no choice"
        overrides.append(f"{one.key_or_group}={values[0]}")
    return overrides


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.place)
def test_a_command_line_composes(line: Line) -> None:
    overrides = _first_job(line.words)
    named = [word.split("=")[0] for word in overrides]
    overrides += [extra for word, extra in NEEDS.items() if word in overrides and "model.name" not in named]
    if line.command == "train":
        validate(compose_config(*overrides))
    else:
        check_values(compose_config(*overrides, *_given(line), name=line.command))


def _given(line: Line) -> list[str]:
    """Give what a command named in passing leaves open, so that the rest of it is checked."""
    needs = {
        "evaluate": ["run"],
        "predict": ["run", "input"],
        "compare": ["scores"],
        "report": ["dir"],
        "status": ["dir"],
    }
    named = {word.split("=")[0] for word in line.words}
    given = [f"{key}=X" for key in needs.get(line.command, []) if key not in named]
    with_root = line.command in ("audit", "preview") and "data.root" not in named
    data = [word for word in line.words if word.startswith("data=")]
    return [*given, *(["data.root=X"] if with_root and (data or line.command == "audit") else [])]


SMALL = {
    "data.n_train": "24",
    "data.n_val": "16",
    "data.n_test": "16",
    "data.image_size": "32",
    "data.batch_size": "8",
    "trainer.max_epochs": "1",
}


@pytest.mark.slow
def test_the_first_study_runs_in_small(subprocess_env: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    lines = [
        line for line in _of_page(DOCS / "first-study.md") if line.words and "study=quick" not in line.words
    ]
    assert [line.command for line in lines].count("train") >= 2
    for line in lines:
        words = [
            word for word in line.words if word.split("=")[0] not in SMALL and not word.startswith("images=")
        ]
        if line.command in ("train", "preview", "ceiling"):
            known = SMALL if line.command == "train" else {"data.image_size": "32"}
            words += [f"{key}={value}" for key, value in known.items()]
        if line.command == "ceiling":
            words.append("images=50")
        done = run_command(line.command, *words, env=subprocess_env, cwd=tmp_path)
        assert done.returncode == 0, f"{line.place}\n{done.stderr}"
    assert list(tmp_path.rglob("report.html"))
