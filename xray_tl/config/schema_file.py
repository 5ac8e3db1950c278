"""JSON schema of the files under `conf/`, made from the dataclasses; editors use it to mark misspelt keys.

python -m xray_tl.config.schema_file docs/conf.schema.json
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from xray_tl.config.groups import SCHEMAS

Schema = dict[str, Any]

GROUPS = ("model", "mode", "weights", "optim", "trainer", "logger", "augment", "tune")
"""Options of a command that are groups with one schema each; `data` has one of two schemas."""
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}
DATA: Schema = {
    "anyOf": [{"$ref": "#/definitions/data_synthetic"}, {"$ref": "#/definitions/data_radiographs"}]
}
OPEN: Schema = {
    "type": "string",
    "pattern": r"^(\$\{.*\}|\?\?\?)$",
    "description": "Another option, or not given.",
}
HYDRA: Schema = {
    "defaults": {"type": "array", "description": "Hydra: the files that this one is put together from."},
    "hydra": {"type": "object", "description": "Hydra's own options."},
}


def conf_schema() -> Schema:
    """Return the JSON schema (draft 7) of all files under `conf/`, except Hydra's own."""
    definitions = {name: _of_dataclass(schema) for name, schema in SCHEMAS.items()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A file under conf/",
        "description": "Made by `make schema` from the dataclasses in xray_tl/config.",
        "anyOf": [{"$ref": f"#/definitions/{name}"} for name in definitions],
        "definitions": {"open": OPEN, **definitions},
    }


def _of_dataclass(schema: type) -> Schema:
    """Return the schema of a dataclass: its fields are the keys, and no others are allowed."""
    hints, said = get_type_hints(schema), _attributes(schema)
    keys = {}
    for field in dataclasses.fields(schema):
        described = {"description": said[field.name]} if field.name in said else {}
        keys[field.name] = {**_of_option(field.name, hints[field.name]), **described}
    return {
        "type": "object",
        "description": (inspect.getdoc(schema) or "").split("\n")[0],
        "properties": {**HYDRA, **keys},
        "additionalProperties": False,
    }


def _of_option(name: str, hint: Any) -> Schema:  # noqa: ANN401  (a type, of whatever form)
    if hint is Any and name == "data":
        return dict(DATA)
    if hint is Any and name in GROUPS:
        return {"allOf": [{"$ref": f"#/definitions/{name}"}]}
    return _of_type(hint)


def _of_type(hint: Any) -> Schema:  # noqa: ANN401  (a type, of whatever form)
    """Return the schema of a type, for the types that the dataclasses use."""
    if hint is Any:
        return {}
    if hint in SCALARS:
        return {"anyOf": [{"type": SCALARS[hint]}, {"$ref": "#/definitions/open"}]}
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _of_dataclass(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [_of_type(kind) for kind in inner if kind is not type(None)]
        return {"anyOf": [*kinds, {"type": "null"}]}
    if origin is list:
        return {"type": "array", "items": _of_type(inner[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(inner[1])}
    raise TypeError(f"{hint} has no place in the schema yet")


def _attributes(schema: type) -> dict[str, str]:
    """Return the description of each attribute from a dataclass's docstring, and those of its bases."""
    described: dict[str, str] = {}
    for kind in reversed(schema.__mro__[:-1]):
        _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
        found = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", listed, re.M)
        described |= {name: " ".join(text.split()) for name, text in found}
    return described


def text() -> str:
    """Return the text of the schema file."""
    return json.dumps(conf_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
