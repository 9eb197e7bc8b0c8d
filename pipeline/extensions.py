"""The extension types of `payload`: what plain msgpack does not know, each under a number that never changes.

An encoder gets the value and the function that packs its parts; a decoder gets the bytes and the function that unpacks
them. Sets are written in the order of their packed elements, so that equal sets give equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgpack import ExtType  # type: ignore[import-untyped]  # it ships no types

from . import arrays, tables

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]
Encoder = Callable[[Any, Pack], bytes]
Decoder = Callable[[bytes, Unpack], Any]

TUPLE, SET, FROZENSET = 1, 2, 3
DATETIME, DATE, TIME, TIMEDELTA = 4, 5, 6, 7
DECIMAL, UUID_, COMPLEX, BIG_INT, PATH = 8, 9, 10, 11, 12


class Unsupported(TypeError):
    """This value cannot travel; the text is a hint. `payload` adds the place and the type."""


def encode(value: Any, pack: Pack) -> Any:
    """Called for whatever msgpack does not take by itself: an ExtType, or a plain value that stands for it."""
    kind = type(value)
    known = _ENCODERS.get(kind)
    if known is not None:
        code, encoder = known
        return ExtType(code, encoder(value, pack))
    foreign = arrays.encode(value, pack) or tables.encode(value, pack)
    if foreign is not None:
        return ExtType(*foreign)
    for base, plain in _PLAIN.items():
        if isinstance(value, base):
            return plain(value)
    for base, (code, encoder) in _ENCODERS.items():
        if isinstance(value, base):
            return ExtType(code, encoder(value, pack))
    raise Unsupported(_hint(value))


def decode(code: int, data: bytes, unpack: Unpack) -> Any:
    decoder = _DECODERS.get(code) or arrays.DECODERS.get(code) or tables.DECODERS.get(code)
    if decoder is None:
        raise ValueError(f"extension type {code} is unknown here: was it written by a newer Headrace?")
    return decoder(data, unpack)


def _hint(value: Any) -> str:
    if hasattr(value, "__dataclass_fields__"):
        return "give a dict: dataclasses.asdict(value)"
    if isinstance(value, BaseException):
        return "give its text, or raise it"
    if hasattr(value, "__next__") or hasattr(value, "__iter__"):
        return "make a list of it"
    return "give plain data: numbers, text, bytes, lists, dicts, dates, arrays"


# Containers ---------------------------------------------------------------------------------------------------------


def _pack_tuple(value: Any, pack: Pack) -> bytes:
    return pack(list(value))


def _pack_set(value: Any, pack: Pack) -> bytes:
    parts = sorted(pack(part) for part in value)
    return struct.pack(">I", len(parts)) + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _unpack_set(data: bytes, unpack: Unpack) -> set[Any]:
    (count,) = struct.unpack_from(">I", data)
    offset, found = 4, set()
    for _ in range(count):
        (length,) = struct.unpack_from(">I", data, offset)
        found.add(unpack(data[offset + 4 : offset + 4 + length]))
        offset += 4 + length
    return found


# Dates and times ----------------------------------------------------------------------------------------------------


def _zone(zone: tzinfo | None, when: datetime | None) -> Any:
    """A zone as data: its name where it has one, else its offset in microseconds."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if zone is None or isinstance(name, str):
        return name
    offset = zone.utcoffset(when)
    if offset is None:
        raise Unsupported("its time zone has neither a name nor an offset")
    return offset // timedelta(microseconds=1)


def _zone_again(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    return ZoneInfo(zone) if isinstance(zone, str) else timezone(timedelta(microseconds=zone))


def _pack_datetime(value: Any, pack: Pack) -> bytes:
    naive = value.replace(tzinfo=None, fold=0)
    return pack([naive.isoformat(), value.fold, _zone(value.tzinfo, value)])


def _unpack_datetime(data: bytes, unpack: Unpack) -> datetime:
    text, fold, zone = unpack(data)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_zone_again(zone))


def _pack_time(value: Any, pack: Pack) -> bytes:
    return pack([value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _zone(value.tzinfo, None)])


def _unpack_time(data: bytes, unpack: Unpack) -> time:
    text, fold, zone = unpack(data)
    return time.fromisoformat(text).replace(fold=fold, tzinfo=_zone_again(zone))


def _pack_timedelta(value: Any, pack: Pack) -> bytes:
    return struct.pack(">iII", value.days, value.seconds, value.microseconds)


def _unpack_timedelta(data: bytes, unpack: Unpack) -> timedelta:
    days, seconds, microseconds = struct.unpack(">iII", data)
    return timedelta(days, seconds, microseconds)


# Numbers and names --------------------------------------------------------------------------------------------------


def _pack_big_int(value: Any, pack: Pack) -> bytes:
    return int(value).to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _pack_path(value: Any, pack: Pack) -> bytes:
    kind = "path" if isinstance(value, Path) else "windows" if isinstance(value, PureWindowsPath) else "posix"
    return pack([kind, str(value)])


def _unpack_path(data: bytes, unpack: Unpack) -> PurePath:
    kind, text = unpack(data)
    kinds: dict[str, type[PurePath]] = {"path": Path, "windows": PureWindowsPath, "posix": PurePosixPath}
    return kinds[kind](text)


_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: lambda value: str.__str__(value),
    int: lambda value: int(value) if -(1 << 63) <= value < 1 << 64 else ExtType(BIG_INT, _pack_big_int(value, bytes)),
    float: lambda value: float(value),
    bytes: lambda value: bytes(value),
    bytearray: lambda value: bytes(value),
    memoryview: lambda value: bytes(value),
    Mapping: lambda value: dict(value),
    list: lambda value: list(value),
}
_ENCODERS: dict[type, tuple[int, Encoder]] = {
    tuple: (TUPLE, _pack_tuple),
    set: (SET, _pack_set),
    frozenset: (FROZENSET, _pack_set),
    datetime: (DATETIME, _pack_datetime),
    date: (DATE, lambda value, pack: value.isoformat().encode()),
    time: (TIME, _pack_time),
    timedelta: (TIMEDELTA, _pack_timedelta),
    Decimal: (DECIMAL, lambda value, pack: str(value).encode()),
    UUID: (UUID_, lambda value, pack: value.bytes),
    complex: (COMPLEX, lambda value, pack: struct.pack(">dd", value.real, value.imag)),
    int: (BIG_INT, _pack_big_int),
    PurePath: (PATH, _pack_path),
}
_DECODERS: dict[int, Decoder] = {
    TUPLE: lambda data, unpack: tuple(unpack(data)),
    SET: _unpack_set,
    FROZENSET: lambda data, unpack: frozenset(_unpack_set(data, unpack)),
    DATETIME: _unpack_datetime,
    DATE: lambda data, unpack: date.fromisoformat(data.decode()),
    TIME: _unpack_time,
    TIMEDELTA: _unpack_timedelta,
    DECIMAL: lambda data, unpack: Decimal(data.decode()),
    UUID_: lambda data, unpack: UUID(bytes=data),
    COMPLEX: lambda data, unpack: complex(*struct.unpack(">dd", data)),
    BIG_INT: lambda data, unpack: int.from_bytes(data, "big", signed=True),
    PATH: _unpack_path,
}
