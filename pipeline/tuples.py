"""The tuple form of data and options in `serialize()`: hashable when the values are, and turned back by `dict`.

Data that is a dict stands as a tuple of its items under one key, data of any other kind as it is under another: so a
tuple of pairs is never taken for a dict.
"""

from __future__ import annotations

from typing import Any


def data_item(items_key: str, value_key: str, data: Any) -> tuple[str, Any]:
    return (items_key, tuple(data.items())) if isinstance(data, dict) else (value_key, data)


def data_of(given: dict[str, Any], items_key: str, value_key: str) -> Any:
    """Take the data out of `given`, under whichever key it stands."""
    value = given.pop(value_key, None)
    items = given.pop(items_key, None)
    return value if items is None else dict(items)


def frozen(value: Any) -> Any:
    """An option as a tuple: lists as tuples, dicts as tuples of items."""
    if isinstance(value, dict):
        return tuple((name, frozen(part)) for name, part in value.items())
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def thawed(option: str, value: Any) -> Any:
    """An option from its tuple; what is a dict is known by its name."""
    if option in _DICTS and isinstance(value, list | tuple):
        return {name: thawed(name, part) for name, part in value}
    return value


_DICTS = frozenset({"retry", "gather", "resources", "command", "env"})
