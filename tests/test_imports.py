"""Data flows one way: a module imports only from those before it; evaluation never imports torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xray_tl

PACKAGE = Path(xray_tl.__file__).parent
# Each may import those before it in the list, and the leaves.
FLOW = ["config", "data", "models", "observers", "training", "report"]
LEAVES = {
    "csv_table",
    "errors",
    "files",
    "seeding",
    "records",
    "evaluation",
    "identity",
    "runfolder",
    "validation",
}
# `identity` and `runfolder` read configurations; `validation` checks them.
MAY_IMPORT = {
    "records": {"errors", "files"},
    "evaluation": {"csv_table", "errors", "files", "records"},
    "runfolder": {"errors", "files", "identity", "records"},
}


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("xray_tl.") and len(name.split(".")) > 1}


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if _part(path) in {*FLOW, *LEAVES}]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_flow(path: Path) -> None:
    part, imported = _part(path), _imported(path) & {*FLOW, *LEAVES}
    if part in FLOW:
        allowed = {*FLOW[: FLOW.index(part) + 1], *LEAVES}
    else:
        allowed = {part, *MAY_IMPORT.get(part, {"errors"})}
    assert imported <= allowed, f"{path} imports against the flow: {sorted(imported - allowed)}"


def _modules_after(statement: str, subprocess_env: dict[str, str]) -> set[str]:
    code = f"{statement}; import sys; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", code]
    return set(
        subprocess.run(command, capture_output=True, text=True, check=True, env=subprocess_env).stdout.split()
    )


@pytest.mark.parametrize(
    "module", ["evaluation.metrics", "evaluation.analysis", "records", "runfolder", "report.page"]
)
def test_evaluation_imports_no_torch(module: str, subprocess_env: dict[str, str]) -> None:
    assert "torch" not in _modules_after(f"import xray_tl.{module}", subprocess_env)


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "preview", "compare", "audit", "predict", "report.__main__"]
)
def test_entry_points_import_little(command: str, subprocess_env: dict[str, str]) -> None:
    heavy = {"torch", "lightning", "pandas", "matplotlib", "numpy", "sklearn"}
    assert not heavy & _modules_after(f"import xray_tl.{command}", subprocess_env)
