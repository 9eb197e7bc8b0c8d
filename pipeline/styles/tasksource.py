"""What the source of a `tasks.py` says, without running it: which names it has, and which functions return a map.

A function task returns one map or a list of maps. Where the source says plainly that it is always one map, nothing has
to be made ready for a list, and branches have the index paths that one expects. Plainly means: the function has its
name once, no decorators, and every `return` of what runs is a dict display, `dict(...)`, the map that it was given, or
a local name for one of these. In any doubt the answer is no.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

LISTED = "make_task_dict"
"""A function of this name in `tasks.py` says itself which tasks there are, as {name: function}."""
DATA = "data"
"""A function whose first parameter has this name is itself the one that runs."""
_OPAQUE = frozenset({"*", LISTED, "__getattr__"})
Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)


class TaskSource:
    """A `tasks.py`. Raises SyntaxError, ValueError or OSError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._tree = ast.parse(path.read_bytes(), str(path))
        self._bound = list(_bound(self._tree))
        self.is_open = not _OPAQUE.isdisjoint(self._bound)
        """Only running it would tell which tasks there are."""

    def has(self, name: str) -> bool:
        return self.is_open or name in self._bound

    def returns_map(self, name: str, *, takes_map: bool = True) -> bool:
        """Does this task always return one map? `takes_map` False: it is given a list."""
        if self.is_open or self._bound.count(name) != 1:
            return False
        found = next((one for one in self._tree.body if isinstance(one, _FUNCTIONS) and one.name == name), None)
        if found is None or found.decorator_list:
            return False
        first = next(_parameters(found.args), None)
        return _gives_map(found, takes_map) if first == DATA else _makes_map(found, takes_map)


def _makes_map(factory: Function, takes_map: bool) -> bool:
    """Does every function that it returns return a map?"""
    inner = [one for one in _within(factory) if isinstance(one, _FUNCTIONS)]
    bound = list(_bound(factory))
    plain = {one.name: one for one in inner if bound.count(one.name) == 1 and not one.decorator_list}
    returned = _returned(factory)
    if isinstance(factory, ast.AsyncFunctionDef) or not returned:
        return False
    for value in returned:
        run = plain.get(value.id) if isinstance(value, ast.Name) else value
        if not isinstance(run, (*_FUNCTIONS, ast.Lambda)) or not _gives_map(run, takes_map):
            return False
    return True


def _gives_map(run: Function | ast.Lambda, takes_map: bool) -> bool:
    given = next(_parameters(run.args), None) if takes_map else None
    if isinstance(run, ast.Lambda):
        return _is_map(run.body, {given} if given else set())
    names = _maps(run, given)
    returned = _returned(run)
    yields = any(isinstance(one, ast.Yield | ast.YieldFrom) for one in _within(run))
    return bool(returned) and not yields and all(_is_map(value, names) for value in returned)


def _maps(run: Function, given: str | None) -> set[str | None]:
    """Local names that always stand for a map."""
    if any(isinstance(one, ast.Global | ast.Nonlocal) for one in ast.walk(run)):
        return set()
    values: dict[str, list[ast.expr | None]] = {}
    for one in _within(run):
        if isinstance(one, ast.Assign | ast.AnnAssign):
            for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                if isinstance(target, ast.Name):
                    values.setdefault(target.id, []).append(one.value)
    bound = list(_bound(run))
    return {
        name
        for name in {*values, given}
        if name is not None
        and bound.count(name) == len(values.get(name, []))
        and all(_is_map(value, set()) for value in values.get(name, []))
    }


def _is_map(value: ast.expr | None, names: set[str | None]) -> bool:
    if isinstance(value, ast.Dict | ast.DictComp):
        return True
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "dict"
    if isinstance(value, ast.IfExp):
        return _is_map(value.body, names) and _is_map(value.orelse, names)
    return isinstance(value, ast.Name) and value.id in names


def _returned(run: Function) -> list[ast.expr | None]:
    return [one.value for one in _within(run) if isinstance(one, ast.Return)]


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    return (one.arg for one in (*arguments.posonlyargs, *arguments.args))


def _within(scope: ast.Module | Function) -> Iterator[ast.AST]:
    """The nodes of a scope, with inner scopes but without what stands in them."""
    left: list[ast.AST] = list(scope.body)
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, _SCOPES):
            left += ast.iter_child_nodes(node)


def _bound(scope: ast.Module | Function) -> Iterator[str]:
    """The names that a scope binds, as often as it does; parameters aside."""
    for node in _within(scope):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
