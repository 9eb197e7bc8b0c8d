"""Any user value in a form that JSON and msgpack can both hold without loss.

What JSON has (None, booleans, numbers, texts, lists, dicts with text keys) stays as it is, readable and writable by
hand. Everything else (a date, a tuple, bytes, NaN, a dict with other keys) becomes `{"$packed": base64 of its packed
form}`, as does a dict that has such a key itself.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from typing import Any

from .errors import DefinitionError
from .payload import pack, unpack

PACKED = "$packed"
_DEEP = 60
"""Deeper values are packed whole: `pack` knows how to go down, and how to refuse what has no bottom."""
_LARGEST = 2**63


def to_plain(value: Any, where: str, depth: int = 0) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return value if value.isascii() or _encodes(value) else _packed(value, where)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else _packed(value, where)
    if kind is float:
        return value if math.isfinite(value) else _packed(value, where)
    if depth < _DEEP:
        if kind is list:
            return [to_plain(one, f"{where}[{at}]", depth + 1) for at, one in enumerate(value)]
        if kind is dict and PACKED not in value and all(type(key) is str and _encodes(key) for key in value):
            return {key: to_plain(one, f"{where}[{key!r}]", depth + 1) for key, one in value.items()}
    return _packed(value, where)


def from_plain(value: Any, where: str, depth: int = 0) -> Any:
    if isinstance(value, list | tuple | dict) and depth > _DEEP + 1:
        raise DefinitionError(f"{where} is nested too deep")
    if isinstance(value, list | tuple):
        return [from_plain(one, f"{where}[{at}]", depth + 1) for at, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if PACKED in value:
        return _unpacked(value, where)
    return {key: from_plain(one, f"{where}[{key!r}]", depth + 1) for key, one in value.items()}


def _packed(value: Any, where: str) -> dict[str, str]:
    return {PACKED: b64encode(pack(value, where)).decode()}


def _unpacked(value: dict[Any, Any], where: str) -> Any:
    text = value[PACKED]
    if len(value) != 1 or not isinstance(text, str):
        raise DefinitionError(f"{where}: {PACKED!r} must stand alone, with a text")
    try:
        return unpack(b64decode(text, validate=True))
    except ValueError as error:
        raise DefinitionError(f"{where}: {PACKED!r} holds no packed value: {error}") from None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
