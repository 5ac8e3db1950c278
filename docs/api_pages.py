"""A hook of mkdocs: one page for the API of each package in `xray_tl`, whatever packages there are."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = "xray_tl"


def _packages(config: MkDocsConfig) -> list[str]:
    root = Path(config.config_file_path).parent / PACKAGE
    return sorted(path.parent.name for path in root.glob("*/__init__.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to the navigation."""
    assert config.nav is not None
    config.nav.append({"API": [{name: f"api/{name}.md"} for name in _packages(config)]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Make the pages: what is in them comes from docstrings."""
    for name in _packages(config):
        text = f"# {PACKAGE}.{name}\n\n::: {PACKAGE}.{name}\n"
        files.append(File.generated(config, f"api/{name}.md", content=text))
    return files
