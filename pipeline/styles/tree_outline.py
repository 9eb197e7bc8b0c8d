"""A block tree as indented lines, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LONGEST = 100
_ENDS = {"success": "when done", "failure": "on error", "always": "in the end"}


def outline(tree: Mapping[str, Any]) -> str:
    """One line per block: its kind, title and order; of an action, its role and inputs."""
    return "\n".join(_lines(tree, 0))


def _lines(node: Mapping[str, Any], depth: int, when: str = "") -> Iterator[str]:
    ((kind, inside),) = node.items()
    line = f"{'  ' * depth}{_action(inside, when) if kind == 'Action' else _group(kind, inside)}"
    yield line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
    if kind == "Action":
        return
    for child in (*_several(inside.get("children")), *_several(inside.get("cmds"))):
        yield from _lines(child, depth + 1)
    for end, actions in (inside.get("_hooks") or {}).items():
        for action in _several(actions):
            yield from _lines(action, depth + 1, _ENDS.get(end, end))


def _several(given: Any) -> Iterable[Mapping[str, Any]]:
    """One command may stand without its list."""
    return [given] if isinstance(given, Mapping) else given or ()


def _group(kind: str, inside: Mapping[str, Any]) -> str:
    serial = not inside.get("parallel", not inside.get("serialsubtasks", True))
    order = "" if kind == "Instance" or not inside.get("children") else (" (serial)" if serial else " (parallel)")
    return f"{kind} {inside['title']!r}{order}"


def _action(inside: Mapping[str, Any], when: str = "") -> str:
    role = f" [{inside['_role']}]" if inside.get("_role") else ""
    when = f" {when}:" if when else " on error:" if inside.get("_whenerror") else ""
    if "argv" in inside and isinstance(inside["argv"], list | tuple):
        return f"Action{role}{when} {' '.join(map(str, inside['argv']))}"
    inputs = {key: value for key, value in inside.items() if key[:1] != "_"}
    if list(inputs) == ["input"]:
        return f"Action{role}{when} {inputs['input']}"
    return f"Action{role}{when} {', '.join(f'{key}={value!r}' for key, value in inputs.items())}".rstrip()
