"""The canonical form of a value: equal values give equal bytes, in every process and on every machine.

It is the packed form of `payload` with everything put in order: the entries of maps by their packed keys, the elements
of sets by themselves. Numbers are exact and keep their type, so that 1, 1.0 and True are three values; 0.0 and -0.0
are two. Arrays and tables count by dtype, shape and content, paths by their text. What cannot be packed has no
canonical form: it raises what `pack` raises.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from itertools import chain
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from .errors import ValueNotSupported
from .extensions import encode
from .payload import pack

_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_REFUSED = (ValueError, TypeError, OverflowError, RecursionError)


def canonical(value: Any, where: str = "value") -> bytes:
    """The bytes. Raises `ValueNotSupported` for what cannot travel, naming the place; `where` begins it."""
    try:
        return _ordered(value)
    except _REFUSED as error:
        pack(value, where)
        raise ValueNotSupported(where, type(value).__name__, str(error)) from None


def digest(value: Any, where: str = "value") -> bytes:
    """32 bytes that stand for the value."""
    return sha256(canonical(value, where)).digest()


def _ordered(value: Any) -> bytes:
    kind = type(value)
    if kind in _PLAIN:
        return _packed(value)
    if kind is list:
        if _PLAIN.issuperset(map(type, value)):
            return _packed(value)
        return b"".join((_LIST.header(len(value)), *map(_ordered, value)))
    if kind is dict:
        return _map(value)
    found = encode(value, _ordered)
    return _packed(found) if type(found) is msgpack.ExtType else _ordered(found)


def _map(value: dict[Any, Any]) -> bytes:
    """Texts as keys are sorted as texts, which is quicker; all others as they are packed."""
    if not _TEXT.issuperset(map(type, value)):
        pairs = sorted((_ordered(key), _ordered(part)) for key, part in value.items())
        return b"".join((_MAP.header(len(value)), *chain.from_iterable(pairs)))
    ordered = {key: value[key] for key in sorted(value)}
    if _PLAIN.issuperset(map(type, ordered.values())):
        return _packed(ordered)
    parts = chain.from_iterable((_packed(key), _ordered(part)) for key, part in ordered.items())
    return b"".join((_MAP.header(len(value)), *parts))


class _Header:
    """The beginning of a packed list or map."""

    def __init__(self, short: int, long: int) -> None:
        self._short = short
        self._long = long

    def header(self, length: int) -> bytes:
        return bytes([self._short | length]) if length < 16 else struct.pack(">BI", self._long, length)


_LIST, _MAP = _Header(0x90, 0xDD), _Header(0x80, 0xDF)


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, default=_larger, strict_types=True, unicode_errors="surrogatepass")
    return packed


def _larger(value: Any) -> Any:
    """A whole number that msgpack has no form for."""
    return encode(value, _ordered)
