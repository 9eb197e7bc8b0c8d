"""Aggregation: which branches a function task of a job map closes, and which groups it gets.

    "aggregate": "all"                          one run, with everything
    "aggregate": {"level": 1}                   one run per list that opened the innermost branches
    "aggregate": {"by": "season"}               one run per value of a key
    "aggregate": {"size": 5}                    one run per window of five
    "aggregate": {"level": 1, "by": "season"}   per list, and in it by key (or, with `size`, in windows)

A task without an aggregate gets one map per run, one with it a list of maps, in index order. Levels are counted by the
lists that tasks have really returned: a task that returned one map has opened no branch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..checks import show
from ..options import Gather

FIELDS = ("level", "by", "size")
_FORM = '"all", {"level": 1}, {"by": "key"} or {"size": 5}'


class Aggregate:
    """A rule, checked. Raises ValueError for what is none."""

    __slots__ = ("by", "level", "size")

    def __init__(self, given: Any) -> None:
        self.level: int | None = None
        self.by: str | None = None
        self.size: int | None = None
        if given == "all":
            return
        if not isinstance(given, Mapping) or not given:
            raise ValueError(f"must be {_FORM}, not {show(given)}")
        for key in given:
            if key not in FIELDS:
                raise ValueError(f"there is no {key!r} in it: it must be {_FORM}")
        rule = Gather(**given)
        self.level, self.by, self.size = rule.level, rule.by, rule.size

    @property
    def groups(self) -> bool:
        """There may be more than one group."""
        return any(getattr(self, field) is not None for field in FIELDS)

    def plain(self) -> Any:
        return {field: getattr(self, field) for field in FIELDS if getattr(self, field) is not None} or "all"


Path = tuple[int, ...]
Item = tuple[Path, dict[str, Any]]
"""A map, and the branch it came from."""


def grouped(rule: Aggregate, items: Iterable[Item]) -> list[tuple[Path, list[dict[str, Any]]]]:
    """The groups, each with its branch, in the order of their first items."""
    found = []
    for around, members in _levels(rule.level, items):
        inner = list(_inner(rule, members))
        several = rule.by is not None or rule.size is not None
        found += [((*around, at) if several else around, group) for at, group in enumerate(inner)]
    return found


def _levels(level: int | None, items: Iterable[Item]) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    groups: dict[Path, list[dict[str, Any]]] = {}
    for path, item in items:
        around = () if level is None else path[: max(0, len(path) - level)]
        groups.setdefault(around, []).append(item)
    yield from groups.items()


def _inner(rule: Aggregate, members: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    if rule.by is not None:
        keyed: dict[str, list[dict[str, Any]]] = {}
        for item in members:
            keyed.setdefault(_key(item, rule.by), []).append(item)
        yield from keyed.values()
    elif rule.size is not None:
        yield from (members[start : start + rule.size] for start in range(0, len(members), rule.size))
    else:
        yield members


def _key(item: dict[str, Any], by: str) -> str:
    if by not in item:
        raise ValueError(f"it groups by {by!r}, and that is not in {show(item)}")
    return json.dumps(item[by], sort_keys=True, ensure_ascii=False, default=repr)
