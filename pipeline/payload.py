"""User data as bytes: `pack` and `unpack`, the only way in which a value leaves or enters a process.

The form is msgpack, so that any language can read plain data, plus numbered extension types (in `extensions`, `arrays`
and `tables`) for what Python programs hand each other: a tuple comes back as a tuple, a set as a set, a date as a date.
Never pickle: a value can say what it is, but it cannot run anything when it is read.

Subclasses of plain types (an OrderedDict, an IntEnum) travel as the plain type, other mappings as dicts,
bytearray and memoryview as bytes. A value that cannot travel is refused with the place where it stands:
`data['rows'][3]`. Finding that place costs time only when something is wrong: the fast path packs, and only a failure
looks for its cause.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from .errors import HeadraceError, ValueNotSupported
from .extensions import Unsupported, decode, encode

MAX_NESTED = 32
"""How many tuples, sets and other extension values may stand inside each other. msgpack keeps a stack frame of 40 KiB
for each while it unpacks, and knows no limit of its own: without ours, a few hundred bytes could end the process."""
MAX_DEPTH = 500
"""How many lists and dicts may stand inside each other, whatever the version of msgpack: some take more."""
_MEASURED = 4
"""The level of nesting at which the depth of what is left is measured: msgpack counts it per level only."""
KEPT_BUFFER = 1 << 20
"""A packer keeps its buffer for the next value, but not a larger one than this."""
_SHOWN = 160
_TOO_DEEP = (
    f"it is nested too deep (about {MAX_DEPTH} lists and dicts, {MAX_NESTED} tuples and sets, may stand in each other)"
)
_REFUSED = (ValueError, TypeError, OverflowError, RecursionError)
_MALFORMED = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError),
    *(struct.error, OSError),  # the latter is what pyarrow says
)


class _Packers(threading.local):
    """One packer per thread and level of nesting: making one costs more than packing a small dict.

    A level is in use while its `pack` runs, also for a signal handler or a mapping of the user's that packs meanwhile.
    """

    def __init__(self) -> None:
        self.level = -1
        self.free: list[msgpack.Packer] = []

    def pack(self, value: Any) -> bytes:
        self.level = level = self.level + 1
        try:
            if level == _MEASURED and _deeper_than(MAX_DEPTH, value):
                raise Unsupported(_TOO_DEEP)
            if level >= len(self.free):
                if level > MAX_NESTED:
                    raise Unsupported(_TOO_DEEP)
                self.free.append(msgpack.Packer(default=_default, strict_types=True))
            packed: bytes = self.free[level].pack(value)
        finally:
            self.level -= 1
        return packed


_packers = _Packers()


class _Nesting(threading.local):
    """How many extension values are being unpacked inside each other."""

    level = 0


_nesting = _Nesting()


def _default(value: Any) -> Any:
    return encode(value, _packers.pack)


def pack(value: Any, where: str = "value") -> bytes:
    """The value as bytes. `where` begins the place that a `ValueNotSupported` names."""
    try:
        packed = _packers.pack(value)
    except UnicodeEncodeError:
        return _pack_surrogates(value, where)
    except _REFUSED as error:
        raise _explained(value, where, error) from None
    if len(packed) > KEPT_BUFFER and _packers.level < 0:
        _packers.free.clear()
    return packed


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """The value again. Raises a ValueError for bytes that no `pack` has made."""
    try:
        return _unpack(data)
    except HeadraceError:
        raise
    except _MALFORMED as error:
        raise ValueError(f"these {len(data)} bytes are no packed value: {type(error).__name__}: {error}") from error


def _unpack(data: bytes | bytearray | memoryview) -> Any:
    return msgpack.unpackb(data, ext_hook=_ext_hook, strict_map_key=False, timestamp=3, unicode_errors="surrogatepass")


def _ext_hook(code: int, data: bytes) -> Any:
    _nesting.level += 1
    try:
        if _nesting.level > MAX_NESTED:
            raise ValueError(_TOO_DEEP)
        return decode(code, data, _unpack)
    finally:
        _nesting.level -= 1


def _pack_surrogates(value: Any, where: str) -> bytes:
    """Text with lone surrogates (an undecodable file name) travels too, by a slower packer of its own."""

    nested = 0

    def default(item: Any) -> Any:
        return encode(item, packb)

    def packb(item: Any) -> bytes:
        nonlocal nested
        nested += 1
        if nested > MAX_NESTED + 1:
            raise Unsupported(_TOO_DEEP)
        packed: bytes = msgpack.packb(item, default=default, strict_types=True, unicode_errors="surrogatepass")
        nested -= 1
        return packed

    try:
        if _deeper_than(MAX_DEPTH, value):
            raise Unsupported(_TOO_DEEP)
        return packb(value)
    except _REFUSED as error:
        raise _explained(value, where, error) from None


def _deeper_than(limit: int, value: Any) -> bool:
    stack = [iter((value,))]
    while stack:
        for part in stack[-1]:
            if isinstance(part, list | tuple | set | frozenset):
                stack.append(iter(part))
            elif isinstance(part, dict):
                stack.append(chain(part, part.values()))
            else:
                continue
            if len(stack) > limit:
                return True
            break
        else:
            stack.pop()
    return False


# What was wrong, and where ------------------------------------------------------------------------------------------


def _explained(value: Any, where: str, error: Exception) -> ValueNotSupported:
    """Walk the value depth first, without recursion, to the first part that cannot travel by itself."""
    stack: list[tuple[str, Any, Iterator[tuple[str, Any]]]] = []
    open_ids: set[int] = set()
    done_ids: set[int] = set()
    pending: tuple[str, Any] | None = (where, value)
    while pending or stack:
        if pending:
            place, item = pending
            pending = None
            children = _children(place, item)
            if children is None:
                if (reason := _refusal(item)) is not None:
                    return ValueNotSupported(_elided(place), _type_name(item), reason)
            elif id(item) in open_ids:
                return ValueNotSupported(_elided(place), _type_name(item), "it contains itself")
            elif len(stack) >= MAX_DEPTH:
                return ValueNotSupported(_elided(place), _type_name(item), _TOO_DEEP)
            elif id(item) not in done_ids:
                open_ids.add(id(item))
                stack.append((place, item, children))
            continue
        _, item, children = stack[-1]
        pending = next(children, None)
        if pending is None:
            stack.pop()
            open_ids.discard(id(item))
            done_ids.add(id(item))
    return ValueNotSupported(where, _type_name(value), _reason(error))


def _children(place: str, item: Any) -> Iterator[tuple[str, Any]] | None:
    """The parts of a container with their places; None for a value that has none."""
    if isinstance(item, Mapping):
        return _entries(place, item)
    if isinstance(item, list | tuple):
        return ((f"{place}[{index}]", part) for index, part in enumerate(item))
    if isinstance(item, set | frozenset):
        return ((f"{place}{{{_shown(part)}}}", part) for part in item)
    return None


def _entries(place: str, item: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, part in item.items():
        yield f"the key {_shown(key)} of {place}", key
        yield f"{place}[{_shown(key)}]", part


def _refusal(item: Any) -> str | None:
    """Why this value cannot travel even alone; None when it can."""
    try:
        msgpack.packb(item, default=_default, strict_types=True, unicode_errors="surrogatepass")
    except _REFUSED as error:
        return str(error)
    return None


def _reason(error: Exception) -> str:
    return _TOO_DEEP if isinstance(error, RecursionError) or "recursion limit" in str(error) else str(error)


def _type_name(item: Any) -> str:
    kind = type(item)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(key: Any) -> str:
    text = repr(key) if isinstance(key, str | int | float | bytes | bool | None) else f"<{_type_name(key)}>"
    return text if len(text) <= 40 else f"{text[:30]}…{text[-5:]}"


def _elided(place: str) -> str:
    return place if len(place) <= _SHOWN else f"{place[: _SHOWN // 2]}…{place[-_SHOWN // 2 :]}"
