"""Notes that look like slips: keys of jobs and tasks that mean nothing here, and were hardly meant to.

A job or task may carry any keys of its user's. One that is almost the name of a key with a meaning (`childern`), or
that holds blocks, would change what runs if it were written right, and nothing else tells so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from .tree_nodes import MAX_DEPTH

MEANT = ("title", "parallel", "serialsubtasks", "children", "cmds")
KINDS = frozenset({"Task", "Action", "Instance"})
NEAR = 0.8
MOST = 100
_FOREIGN = "alfred"
"""Scripts of this dialect have a reader that warns itself, and keep options of other sites as notes."""


def doubts(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """What may be a slip, with its path. Whatever the tree holds, this raises nothing."""
    found = []
    for told in _below("Job", "Job", tree.get("Job"), 0):
        found.append(told)
        if len(found) == MOST:
            break
    return tuple(found)


def _below(path: str, kind: str, inside: Any, depth: int) -> Iterator[str]:
    if not isinstance(inside, Mapping) or depth > MAX_DEPTH or inside.get("_dialect") == _FOREIGN:
        return
    for key, value in inside.items():
        if isinstance(key, str) and key not in MEANT and key[:1] != "_":
            yield from _doubt(path, kind, key, value)
    children = inside.get("children")
    for at, node in enumerate(children if isinstance(children, list | tuple) else ()):
        if isinstance(node, Mapping) and "Task" in node:
            yield from _below(f"{path}.children[{at}].Task", "Task", node["Task"], depth + 1)


def _doubt(path: str, kind: str, key: str, value: Any) -> Iterator[str]:
    near = get_close_matches(key[:40], MEANT, n=1, cutoff=NEAR)
    if near:
        yield f"{path}: {key!r} is a note that means nothing here; did you mean {near[0]!r}?"
    elif _holds_blocks(value):
        yield f"{path}: {key!r} is a note, and the blocks in it do not run: those of a {kind} stand under 'children'"


def _holds_blocks(value: Any) -> bool:
    several = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, Mapping) and len(one) == 1 and not KINDS.isdisjoint(one) for one in several[:MOST])
