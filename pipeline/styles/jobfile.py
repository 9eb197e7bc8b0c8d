"""Job files: a block tree as JSON, or the same tree as TOML.

    {"Job": {"title": "Film", "children": [{"Action": {"input": "prepare"}}]}}

`json.dumps(job)` writes one. What is wrong in a file is named with its path, such as
`Job.children[1].Task.children[0]: ...`. A key `$schema` beside `Job` is for editors.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DefinitionError
from .blocks import Action, Block, Instance, Job, Task
from .files import parse_json
from .tree_nodes import read

_KINDS: dict[str, type[Block]] = {kind.__name__: kind for kind in (Job, Task, Action, Instance)}


def load(path: str | Path) -> Job:
    """The job in a file: TOML by its ending, else JSON. Raises `DefinitionError` with the file and the path in it."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
        return loads_toml(text) if file.suffix.lower() == ".toml" else loads(text)
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{file} is not UTF-8: {error}") from None
    except DefinitionError as error:
        raise DefinitionError(f"{file}: {error}") from None


def loads(text: str | bytes) -> Job:
    """The job in a JSON text."""
    return from_document(parse_json(text))


def loads_toml(text: str) -> Job:
    """The job in a TOML text."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DefinitionError(f"not TOML: {error}") from None
    return from_document(document)


def from_document(document: Any) -> Job:
    """The job in what JSON or TOML has made of a file. Raises `DefinitionError` with the path of what is wrong."""
    tree = document
    if isinstance(document, Mapping):
        tree = {key: value for key, value in document.items() if key != "$schema"}
    read(tree)
    return _block(tree)  # type: ignore[return-value]  # `read` has seen that the root is a Job


def dumps(job: Mapping[str, Any], indent: int | None = 2) -> str:
    """The JSON text of a job: checked, readable, without what says nothing."""
    read(job)
    return json.dumps(_plain(job), ensure_ascii=False, indent=indent)


def _block(node: Mapping[str, Any]) -> Block:
    """The block of a node that was checked, and of all below it."""
    ((kind, given),) = node.items()
    fields = dict(given)
    for key in ("children", "cmds"):
        if key in fields and kind in ("Job", "Task"):
            fields[key] = [_block(one) for one in _several(fields[key])]
    if kind == "Action":
        fields = {"_role": None, "_whenerror": False, **fields}
    elif kind != "Instance":
        fields.setdefault("children", [])
    return _KINDS[kind].of(fields)


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, given),) = node.items()
    if kind == "Action":
        return {kind: {key: value for key, value in given.items() if (key, value) not in _SILENT}}
    if kind == "Instance":
        return {kind: dict(given)}
    fields = {key: value for key, value in given.items() if key not in ("children", "cmds")}
    for key in ("children", "cmds"):
        if given.get(key):
            fields[key] = [_plain(one) for one in _several(given[key])]
    return {kind: fields}


def _several(given: Any) -> Sequence[Mapping[str, Any]]:
    """One command may stand without its list."""
    return [given] if isinstance(given, Mapping) else given or ()


_SILENT = (("_role", None), ("_whenerror", False))
