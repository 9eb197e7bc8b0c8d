"""New namespaces: packages with functions that run as they are, for their owner to fill."""

from __future__ import annotations

import json
import keyword
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .namespaces import TASKS, BadDefinition, Namespace, Namespaces, method_path
from .tasksource import TaskSource

EXAMPLE = "example"
_HEAD = '''"""Function tasks of the namespace {namespace}: each has its definition in METHOD.json, beside this file."""
'''
_FUNCTION = """

def {method}(init_args):
    text = init_args.get("text", "done")

    async def run(data):
        return {{**data, "{method}": text}}

    return run
"""


def new_namespace(folder: Path, name: str, methods: tuple[str, ...]) -> list[Path]:
    """Make a namespace below `folder`, or add methods to one. Returns the files that were written.

    Nothing that is there is overwritten. Raises `ConfigError`.
    """
    _check_name(folder, name)
    known = Namespaces(folder).get(name)
    methods = methods or (() if known is not None else (EXAMPLE,))
    _check_methods(known, name, methods)
    written = _packages(folder, name.split("."))
    namespace = Namespace(name, folder.joinpath(*name.split(".")))
    tasks = namespace.folder / TASKS
    if known is None:
        tasks.write_text(_HEAD.format(namespace=name), encoding="utf-8")
    for method in methods:
        definition = method_path(namespace, method)
        definition.write_text(json.dumps(_definition(method), indent=4) + "\n", encoding="utf-8")
        with tasks.open("a", encoding="utf-8") as file:
            file.write(_FUNCTION.format(method=method))
        written.append(definition)
    return [*written, tasks]


def example_map(name: str, method: str) -> dict[str, Any]:
    """A job map that runs one method."""
    task = {
        "name": method,
        "type": "function",
        "namespace": name,
        "method": method,
        "consumes": "any",
        "produces": "any",
        "init_args": {},
    }
    return {
        "name": f"{name}.{method}",
        "datasource": {"source": "direct", "content": {"input": "hello"}},
        "tasks": [{"name": "in", "type": "input"}, task, {"name": "out", "type": "output"}],
        "workflow": [["in", method], [method, "out"]],
    }


def _check_name(folder: Path, name: str) -> None:
    parts = name.split(".")
    for part in parts:
        if not part.isidentifier() or keyword.iskeyword(part) or part.startswith("__"):
            raise ConfigError(f"{name!r} cannot be a namespace: it is made of Python names, as in 'weather.stations'")
    if parts[0] in sys.stdlib_module_names:
        raise ConfigError(f"{name!r} cannot be a namespace: {parts[0]!r} is the name of a module of Python's own")
    module = folder / f"{parts[0]}.py"
    if module.exists():
        raise ConfigError(f"{name!r} cannot be a namespace: {module} is a module of that name")


def _check_methods(known: Namespace | None, name: str, methods: tuple[str, ...]) -> None:
    if known is not None and not methods:
        raise ConfigError(f"there is a namespace {name!r} in {known.folder}: say which method to add to it")
    for at, method in enumerate(methods):
        if not method.isidentifier() or keyword.iskeyword(method) or method in methods[:at]:
            raise ConfigError(f"{method!r} cannot be a method: it is named once, like a Python function")
        if known is not None and (method_path(known, method).exists() or _source(known).has(method)):
            raise ConfigError(f"the namespace {name!r} has a method {method!r}: see {known.folder}")


def _source(known: Namespace) -> TaskSource:
    """Of a `tasks.py` that can be added to."""
    try:
        source = known.source
    except BadDefinition as error:
        raise ConfigError(f"{known.folder / TASKS} cannot be added to: {error}") from None
    if source.is_open:
        raise ConfigError(f"{known.folder / TASKS} makes its names itself: add the method and its definition by hand")
    return source


def _packages(folder: Path, parts: list[str]) -> list[Path]:
    """The folders of a dotted name, each a package."""
    written = []
    for part in parts:
        folder = folder / part
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}") from None
        if not (folder / "__init__.py").exists():
            (folder / "__init__.py").touch()
            written.append(folder / "__init__.py")
    return written


def _definition(method: str) -> dict[str, Any]:
    return {
        "name": method,
        "consumes": ["any"],
        "produces": ["any"],
        "init_args": [{"name": "text", "type": "string", "required": False}],
        "returns": "dict",
        "description": f"Adds a text to what it gets, under {method!r}.",
    }
