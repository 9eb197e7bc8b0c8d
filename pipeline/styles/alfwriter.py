"""A block tree as an Alfred script: what was read is written so that reading it makes the same tree.

Only commands have a form there: a call of a function's role has none, nor has an action among tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from ..errors import DefinitionError
from .alflists import listed, word

HEADER = "##AlfredToDo 3.0"
INDENT = "    "
_NAMES = {
    "_limits": "tags",
    "_timeout": "maxrunsecs",
    "_priority": "priority",
    "_max_active": "maxactive",
    "_after": "afterjids",
    "_paused": "paused",
    "_cwd": "spoolcwd",
    "_role": "service",
}
_OURS = {
    "title",
    "children",
    "cmds",
    "parallel",
    "serialsubtasks",
    "argv",
    "dirmaps",
    "_on_error",
    "_dialect",
    "_whenerror",
}
_WHEN = {"success": "done", "failure": "error"}


def dumps(tree: Mapping[str, Any]) -> str:
    """The script of a tree. Raises `DefinitionError` for what has no form in one."""
    if list(tree) != ["Job"]:
        raise DefinitionError("only a whole tree, {'Job': ...}, can be an Alfred script")
    inside = tree["Job"]
    maps = next(_maps(inside), None)
    lines = [f"Job -title {word(inside['title'])}"]
    if maps:
        lines.append(f"-dirmaps {word(listed(listed(one) for one in maps))}")
    lines += _group(inside, "Job")
    return "\n".join([HEADER, lines[0], *(f"{INDENT}{line}" for line in lines[1:])]) + "\n"


def _group(inside: Mapping[str, Any], path: str) -> list[str]:
    """The options of a Job or Task, each on lines of its own."""
    lines = [] if inside.get("parallel", not inside.get("serialsubtasks", True)) else ["-serialsubtasks 1"]
    lines += [f"-{name} {value}" for name, value in _options(inside, path)]
    hooks = inside.get("_hooks", {})
    lines += _block("cleanup", _commands(hooks.get("always", ()), f"{path}._hooks.always"))
    ends = [
        f"{line} -when {when}"
        for kind, when in _WHEN.items()
        for line in _commands(hooks.get(kind, ()), f"{path}._hooks.{kind}")
    ]
    lines += _block("postscript", ends)
    children = [_child(one, f"{path}.children[{at}]") for at, one in enumerate(inside.get("children", ()))]
    lines += _block("subtasks", [line for several in children for line in several])
    return lines + _block("cmds", _commands(inside.get("cmds", ()), f"{path}.cmds"))


def _child(node: Mapping[str, Any], path: str) -> list[str]:
    kind, inside = next(iter(node.items()))
    if kind == "Instance":
        return [f"Instance {word(inside['title'])}"]
    if kind != "Task":
        raise DefinitionError(
            f"{path}: an {kind} among tasks has no form in an Alfred script: give it a Task of its own"
        )
    return [f"Task {word(inside['title'])}", *(f"{INDENT}{line}" for line in _group(inside, path))]


def _commands(nodes: Any, path: str) -> list[str]:
    return [_command(one["Action"], f"{path}[{at}].Action") for at, one in enumerate(nodes)]


def _command(inside: Mapping[str, Any], path: str) -> str:
    if "argv" not in inside or inside.get("_whenerror"):
        raise DefinitionError(f"{path}: only a command, with `argv`, has a form in an Alfred script")
    options = "".join(f" -{name} {value}" for name, value in _options(inside, path))
    return f"RemoteCmd {word(listed(inside['argv']))}{options}"


def _options(inside: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    keys: list[str] = []
    for key, value in inside.items():
        if key in _OURS or key == "_hooks" or value is None:
            continue
        if key == "envkey":
            keys.insert(0, value)
        elif key == "_env":
            keys.append(listed(["setenv", *(f"{name}={text}" for name, text in value.items())]))
        elif key[:1] != "_" or key in _NAMES or key in _WRITTEN:
            yield _option(key, value)
        else:
            raise DefinitionError(f"{path}: {key} has no form in an Alfred script")
    if keys:
        yield "envkey", word(" ".join(keys))


def _option(key: str, value: Any) -> tuple[str, str]:
    if key in _WRITTEN:
        return _WRITTEN[key](value)
    name = _NAMES.get(key, key.removeprefix("-"))
    if isinstance(value, list | tuple):
        return name, word(listed(value))
    if isinstance(value, bool | int | float):
        return name, f"{value:g}" if isinstance(value, float) else str(int(value))
    return name, word(str(value))


def _moment(value: Any) -> tuple[str, str]:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else datetime.fromtimestamp(float(value))
    return "after", f"{{{moment.month} {moment.day} {moment.hour}:{moment.minute:02}}}"


_WRITTEN: dict[str, Callable[[Any], tuple[str, str]]] = {
    "_not_before": _moment,
    "_retry": lambda value: ("retryrc", word(" ".join(map(str, value["on"])))),
    "_resources": lambda value: ("atleast", str(value["slots"])),
    "expand": lambda value: ("expand", "1"),
}


def _block(name: str, lines: list[str]) -> list[str]:
    return [f"-{name} {{", *(f"{INDENT}{line}" for line in lines), "}"] if lines else []


def _maps(inside: Any) -> Iterator[Any]:
    """Path maps stand on the commands that use them, and in a script on the Job."""
    if isinstance(inside, Mapping):
        if "argv" in inside and "dirmaps" in inside:
            yield inside["dirmaps"]
        for value in inside.values():
            yield from _maps(value)
    elif isinstance(inside, list | tuple):
        for value in inside:
            yield from _maps(value)
