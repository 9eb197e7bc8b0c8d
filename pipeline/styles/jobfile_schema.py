"""The JSON Schema of job files, made from the model, so that editors know what may stand in one.

    python -m headrace.pipeline.styles.jobfile_schema > docs/jobfile.schema.json

Options are described by the fields of the compiled form that they set: what this says of them is what is enforced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any, get_type_hints

import msgspec

from ..definition import CommandLine, Node, RetryRule, RunOptions
from .tree_nodes import ACTION, GROUP, RUN

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
YES_OR_NO: Schema = {"anyOf": [{"type": "boolean"}, {"enum": [0, 1]}]}
_NOTHING: Schema = {"type": "null"}


def schema() -> Schema:
    """The whole schema."""
    options, definitions = _options()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Headrace job file",
        "type": "object",
        "required": ["Job"],
        "properties": {"$schema": TEXT, "Job": _ref("Job")},
        "additionalProperties": False,
        "$defs": {
            "Job": _group("The whole, with the options of its run.", options["run"]),
            "Task": _group("A part, with options for every action in it.", options["group"]),
            "Action": _block("One piece of work: options, and the inputs of its role.", {}, options["action"], []),
            "Instance": _block("Stands for the task of that title.", {"title": TEXT}, {}, ["title"]),
            "Node": {"anyOf": [_only("Task"), _only("Action"), _only("Instance")]},
            "Command": _only("Action"),
            **definitions,
        },
    }


def _options() -> tuple[dict[str, Schema], Schema]:
    """By kind of block: the schema of each of its options; and the definitions that those refer to."""
    fields: dict[str, Any] = {}
    for struct in (CommandLine, RunOptions, Node):
        fields.update(get_type_hints(struct, include_extras=True))
    run = {**fields, **get_type_hints(RunOptions, include_extras=True)}
    tables = {"action": (ACTION, fields), "group": (GROUP, fields), "run": (RUN, run)}
    made: dict[str, Schema] = {}
    _, definitions = msgspec.json.schema_components([RetryRule], ref_template="#/$defs/{name}")
    definitions["RetryRule"]["required"] = ["tries"]
    for kind, (table, types) in tables.items():
        names = [name for name in table if name not in _OTHERS]
        schemas, found = msgspec.json.schema_components([types[name] for name in names], ref_template="#/$defs/{name}")
        definitions.update(found)
        described = {**dict(zip(names, schemas, strict=True)), **{n: _OTHERS[n] for n in table if n in _OTHERS}}
        made[kind] = {f"_{name}": _or_nothing(described[name]) for name in table}
    return made, {name: _closed(one) for name, one in definitions.items()}


def _group(text: str, options: Schema) -> Schema:
    own = {
        "title": {**TEXT, "description": "For people: it may be empty, and need not be the only one."},
        "parallel": {**YES_OR_NO, "description": "Do the children run all at once?"},
        "serialsubtasks": {**YES_OR_NO, "description": "The opposite of parallel."},
        "children": {"type": "array", "items": _ref("Node")},
        "cmds": {"type": "array", "items": _ref("Command"), "description": "Run after the children, in this order."},
    }
    return _block(text, own, options, ["title"])


def _block(text: str, own: Schema, options: Schema, required: Iterable[str]) -> Schema:
    """Keys of the user may have any name that does not begin with an underscore."""
    names = "|".join(name[1:] for name in options)
    return {
        "description": text,
        "type": "object",
        "required": list(required),
        "properties": {**own, **options},
        "propertyNames": {"pattern": f"^([^_].*|_({names})|)$" if names else "^([^_].*|)$"},
    }


def _only(kind: str) -> Schema:
    return {"type": "object", "required": [kind], "properties": {kind: _ref(kind)}, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _or_nothing(one: Schema) -> Schema:
    """None says nothing, wherever it stands."""
    several = one.get("anyOf")
    if several is None:
        return {"anyOf": [one, _NOTHING]}
    return one if _NOTHING in several else {**one, "anyOf": [*several, _NOTHING]}


def _closed(one: Schema) -> Schema:
    return {**one, "additionalProperties": False}


_ACTIONS: Schema = {"anyOf": [_ref("Command"), {"type": "array", "items": _ref("Command")}]}
_OTHERS: dict[str, Schema] = {
    "name": {**TEXT, "minLength": 1},
    "whenerror": YES_OR_NO,
    "retry": {"anyOf": [{"type": "integer", "minimum": 1, "description": "tries"}, _ref("RetryRule")]},
    "limits": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
    "after": {"anyOf": [TEXT, {"type": "array", "items": TEXT}]},
    "not_before": {"anyOf": [{"type": "number"}, {**TEXT, "format": "date-time"}]},
    "cache": {"const": "content"},
    "hooks": {
        "type": "object",
        "properties": {"success": _ACTIONS, "failure": _ACTIONS, "always": _ACTIONS},
        "additionalProperties": False,
    },
}
"""Options that a file may write in another form than the compiled one."""


def main() -> None:
    json.dump(schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
