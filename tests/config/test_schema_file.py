"""The JSON schema for editors: current, fit for every file under `conf/`, and strict about keys."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from xray_tl.config import conf_dir
from xray_tl.config.schema_file import conf_schema, text

ROOT = Path(__file__).resolve().parents[2]
CONF = Path(conf_dir())
FILES = sorted(path for path in CONF.rglob("*.yaml") if "hydra" not in path.relative_to(CONF).parts)


def _fits(value: object, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Tell whether a value fits, as far as the schema's few words go (draft 7): no package is needed."""
    if "$ref" in schema:
        target: Any = whole
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _fits(value, target, whole)
    if not all(_fits(value, part, whole) for part in schema.get("allOf", [])):
        return False
    if "anyOf" in schema and not any(_fits(value, part, whole) for part in schema["anyOf"]):
        return False
    kinds = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    kind = schema.get("type")
    if kind == "null":
        return value is None
    if kind is not None:
        if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean"):
            return False
        if kind == "string" and not re.search(schema.get("pattern", ""), value):
            return False
    if isinstance(value, list):
        return all(_fits(item, schema.get("items", {}), whole) for item in value)
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        return all(
            _fits(item, known[key], whole)
            if key in known
            else other is not False and _fits(item, other, whole)
            for key, item in value.items()
        )
    return True


def _accepts(value: object) -> bool:
    schema = conf_schema()
    ours = _fits(value, schema, schema)
    try:
        import jsonschema
    except ImportError:
        return ours
    theirs = bool(jsonschema.Draft7Validator(schema).is_valid(value))
    assert ours == theirs
    return ours


def test_the_file_is_current() -> None:
    assert (ROOT / "docs" / "conf.schema.json").read_text(encoding="utf-8") == text(), "run `make schema`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_file_fits(path: Path) -> None:
    assert _accepts(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "sample",
    [
        {"name": "frozen", "head_lrr": 1e-3},
        {"name": "frozen", "head_lr": "fast"},
        {"name": "resnet34", "memory_fromat": "contiguous"},
        {"data": {"image_sise": 64}},
        {"optim": {"lr": [1]}},
        {"acquisition": {"kvpp": 80}},
    ],
    ids=str,
)
def test_a_misspelt_key_and_a_wrong_type_are_refused(sample: dict[str, Any]) -> None:
    assert not _accepts(sample)


def test_options_have_their_descriptions() -> None:
    definitions = conf_schema()["definitions"]
    assert definitions["mode"]["properties"]["head_lr"]["description"] == "Learning rate of a trained head."
    bare = [
        f"{name}.{key}"
        for name, schema in definitions.items()
        for key, option in schema.get("properties", {}).items()
        if "description" not in option
        and name not in ("config", "plan")
        and key not in conf_schema()["definitions"]
    ]
    assert bare == []


def test_editors_are_told_where_it_is() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    assert (ROOT / next(iter(settings["yaml.schemas"]))).is_file()
