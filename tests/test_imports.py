"""Rooms: a package imports what its own docstring says, data flow one way, and heavy imports stay out.

python -m tests.test_imports    prints the rooms, their modules, lines and arrows
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xray_tl

PACKAGE = Path(xray_tl.__file__).parent
LEAVES = {"errors", "seeding"}
"""Modules that any other may import."""
COMMANDS = {
    "audit",
    "bench",
    "ceiling",
    "compare",
    "evaluate",
    "plan",
    "predict",
    "pretrain",
    "preview",
    "status",
    "train",
}
"""What a user can type; nothing imports them. `report` is one more, in its package."""
ROOMS = sorted(
    ".".join(path.parent.relative_to(PACKAGE).parts)
    for path in PACKAGE.rglob("__init__.py")
    if path.parent != PACKAGE
)


def _stated(room: str, what: str) -> set[str]:
    """Read from a package's docstring what it may import, or never does."""
    text = ast.get_docstring(ast.parse(PACKAGE.joinpath(*room.split("."), "__init__.py").read_text())) or ""
    found = re.search(rf"\b{what}: (.*?)\.(?: [A-Z]|$)", " ".join(text.split()))
    return set(found[1].split(", ")) - {"nothing"} if found else set()


def _room(name: str) -> str:
    """Return the package of a module, by its name below `xray_tl`."""
    parts = name.split(".")
    return next(
        (".".join(parts[:k]) for k in range(len(parts), 0, -1) if ".".join(parts[:k]) in ROOMS), parts[0]
    )


def _imported(path: Path) -> set[str]:
    """Return the packages, leaves and commands that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {_room(name.removeprefix("xray_tl.")) for name in names if name.startswith("xray_tl.")}


def _files(room: str) -> list[Path]:
    return sorted(PACKAGE.joinpath(*room.split(".")).glob("*.py"))


def test_the_top_holds_commands_packages_and_two_leaves() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == COMMANDS | LEAVES


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_imports_what_its_docstring_says(room: str) -> None:
    stated, found = _stated(room, "Imports"), set[str]()
    for path in _files(room):
        imported = _imported(path) - LEAVES - {room, "__version__"}
        assert imported <= stated, f"{path} imports {sorted(imported - stated)}"
        found |= imported
    assert found == stated, "nothing is stated that is not so"


def test_no_package_is_imported_by_what_it_imports() -> None:
    """Data flow one way: an order exists in which each package stands after all that it imports."""
    waiting = {room: _stated(room, "Imports") for room in ROOMS}
    while waiting:
        free = {room for room, needs in waiting.items() if not needs & waiting.keys()}
        assert free, f"a circle: {waiting}"
        waiting = {room: needs for room, needs in waiting.items() if room not in free}


def _modules_after(statement: str, subprocess_env: dict[str, str]) -> set[str]:
    code = f"{statement}; import sys; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", code]
    return set(
        subprocess.run(command, capture_output=True, text=True, check=True, env=subprocess_env).stdout.split()
    )


@pytest.mark.parametrize("room", [room for room in ROOMS if _stated(room, "Never imports")])
def test_what_a_package_never_imports(room: str, subprocess_env: dict[str, str]) -> None:
    modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in _files(room)]
    names = [name.removesuffix(".__init__") for name in modules if not name.endswith("__main__")]
    loaded = _modules_after("; ".join(f"import {name}" for name in names), subprocess_env)
    assert not _stated(room, "Never imports") & loaded


@pytest.mark.parametrize("command", sorted(COMMANDS | {"report.__main__"}))
def test_commands_import_little(command: str, subprocess_env: dict[str, str]) -> None:
    heavy = {"torch", "lightning", "pandas", "matplotlib", "numpy", "sklearn"}
    assert not heavy & _modules_after(f"import xray_tl.{command}", subprocess_env)


@pytest.mark.parametrize("module", ["decode", "listing", "film_options", "names"])
def test_what_workers_and_checks_import_has_no_torch(module: str, subprocess_env: dict[str, str]) -> None:
    assert "torch" not in _modules_after(f"import xray_tl.data.films.{module}", subprocess_env)


def test_a_name_stands_for_one_thing() -> None:
    names = [path.stem for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    names += [room.rpartition(".")[2] for room in ROOMS]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"modules or packages of one name: {sorted(twice)}"


if __name__ == "__main__":
    arrows, longest = 0, max(PACKAGE.rglob("*.py"), key=lambda path: len(path.read_text().splitlines()))
    for place in [*ROOMS, ""]:
        paths = _files(place) if place else sorted(PACKAGE.glob("*.py"))
        lines = sum(len(path.read_text().splitlines()) for path in paths)
        needs = sorted(set().union(*map(_imported, paths)) - LEAVES - {place, "__version__"})
        arrows += len(needs)
        print(f"{place or 'commands':16}{len(paths):4} modules{lines:6} lines -> {', '.join(needs) or '-'}")
    print(
        f"{len(ROOMS) + 1} places, {arrows} arrows; longest module: {longest.relative_to(PACKAGE)}, ", end=""
    )
    print(f"{len(longest.read_text().splitlines())} lines")
