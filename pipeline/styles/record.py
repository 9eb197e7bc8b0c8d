"""A record: a dict whose keys can be read and written as attributes too.

    record["output"]    record.output    record.output = 3

A key that is no name is written with underscores: the key `My Step` is `record.My_Step`. A key that is called like a
method of dicts (`items`) is reached in brackets only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy
from keyword import iskeyword
from typing import Any, Self

_NO_LETTER = re.compile(r"\W")
_DEEP = 50
"""Nobody reads attributes from further down."""


class Record(dict[str, Any]):
    """What steps return when they return a dict, and what Contexts are made of."""

    def __getattr__(self, name: str) -> Any:
        key = None if name.startswith("__") else self._key(name)
        if key is None:
            keys = ", ".join(map(str, self)) or "nothing"
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it holds {keys}", name=name, obj=self)
        return self[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} is an attribute of every {type(self).__name__}: write [{name!r}] = ...")
        key = self._key(name)
        self[name if key is None else key] = value

    def __delattr__(self, name: str) -> None:
        key = self._key(name)
        if key is None:
            raise AttributeError(f"{type(self).__name__} has no {name!r}", name=name, obj=self)
        del self[key]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(_name_of(key) for key in self if isinstance(key, str))]

    def copy(self) -> Self:
        """Another of the same kind, with the same values."""
        return copy(self)

    def to_dict(self, ignore: str | Iterable[str] = ()) -> dict[str, Any]:
        """A plain dict, of plain dicts, without these keys (of the first level)."""
        left_out = {ignore} if isinstance(ignore, str) else {*ignore}
        return {key: _plain(part) for key, part in self.items() if key not in left_out}

    def _key(self, name: str) -> str | None:
        """The key that an attribute stands for; None when there is no such key, or more than one."""
        if name in self:
            return name
        if "_" not in name:
            return None
        meant = [key for key in self if isinstance(key, str) and _name_of(key) == name]
        return meant[0] if len(meant) == 1 else None


def readable(value: Any) -> Any:
    """A plain dict as a record; anything else as it is."""
    return Record(value) if type(value) is dict else value


def readable_throughout(value: Any, depth: int = 0) -> Any:
    """What has come from another process, where the records in it have become dicts: as records again."""
    kind = type(value)
    if kind not in (dict, list, tuple) or depth > _DEEP:
        return value
    if kind is dict:
        return Record((key, readable_throughout(part, depth + 1)) for key, part in value.items())
    return kind(readable_throughout(part, depth + 1) for part in value)


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, Record) else value


def _name_of(key: str) -> str:
    name = _NO_LETTER.sub("_", key)
    return f"_{name}" if not name or name[0].isdigit() or iskeyword(name) else name
