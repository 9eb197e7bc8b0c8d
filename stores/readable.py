"""Results in a form that people can read where they are kept, and that comes back exactly.

What JSON can say stays as it is. Any other part (a date, a tuple, bytes, an array, a dict with keys that are no plain
text, something very deep) is replaced by `{"!packed": <base64>, "type": ..., "text": ...}`: the first is what
counts, the others are for the reader. Everything made here is clean for JSON and for BSON.
"""

from __future__ import annotations

import json
import reprlib
from base64 import b64decode, b64encode
from math import isfinite
from typing import Any

from ..pipeline.payload import pack, unpack

MARK = "!packed"
_DEEPEST = 40
_TEXT = 80
_UNCLEAN = frozenset(".$\0")
"""Characters that BSON field names had better not hold."""


def to_readable(value: Any, depth: int = 0) -> Any:
    """Raises ValueNotSupported where `payload.pack` does: give it packable values."""
    kind = type(value)
    if kind is str:
        return value if _clean(value) else _packed(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else _packed(value)
    if kind is float:
        return value if isfinite(value) else _packed(value)
    if depth < _DEEPEST:
        if kind is list:
            return [to_readable(part, depth + 1) for part in value]
        if kind is dict and all(map(_clean_key, value)):
            return {key: to_readable(part, depth + 1) for key, part in value.items()}
    return _packed(value)


def from_readable(value: Any) -> Any:
    """What `to_readable` was given."""
    if isinstance(value, list):
        return [from_readable(part) for part in value]
    if isinstance(value, dict):
        if MARK in value:
            return unpack(b64decode(value[MARK]))
        return {key: from_readable(part) for key, part in value.items()}
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def _clean(text: str) -> bool:
    """No lone surrogates, which UTF-8 cannot hold."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _clean_key(key: Any) -> bool:
    return type(key) is str and bool(key) and key[0] != MARK[0] and not _UNCLEAN & set(key) and _clean(key)


def _packed(value: Any) -> dict[str, str]:
    text = f"{len(value)} bytes" if isinstance(value, bytes) else reprlib.repr(value)
    shown = text if len(text) <= _TEXT else f"{text[:_TEXT]}…"
    return {
        MARK: b64encode(pack(value, "the result")).decode("ascii"),
        "type": type(value).__name__,
        "text": shown.encode(errors="backslashreplace").decode(),
    }
