"""Kept: packed values in the memory of a worker process, and how they are unpacked."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no types

from ..pipeline.errors import JobError
from ..pipeline.payload import unpack

ENTRY = 300
"""Bytes that an entry costs beside its value: the many small ones count too."""
MOST = 4096


class Kept:
    """Bytes by key, the least recently used ones forgotten first: when they weigh more than `limit` together, or when
    they are more than `MOST`, so that a process is soon as large as it will ever be."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._entries: OrderedDict[object, bytes] = OrderedDict()

    def get(self, key: object) -> bytes | None:
        data = self._entries.get(key)
        if data is not None:
            self._entries.move_to_end(key)
        return data

    def put(self, key: object, data: bytes) -> None:
        if len(data) > self._limit // 2 or key in self._entries:
            return
        self._entries[key] = data
        self._size += len(data) + ENTRY
        while self._size > self._limit or len(self._entries) > MOST:
            self._size -= len(self._entries.popitem(last=False)[1]) + ENTRY


class Elements:
    """A packed list, element by element, without unpacking the others."""

    def __init__(self, data: bytes) -> None:
        unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1, strict_map_key=False)
        unpacker.feed(data)
        self._data = data
        self._ends = [0] * (unpacker.read_array_header() + 1)
        self._ends[0] = unpacker.tell()
        for number in range(1, len(self._ends)):
            unpacker.skip()
            self._ends[number] = unpacker.tell()

    def get(self, index: int, where: str) -> Any:
        if index + 1 >= len(self._ends):
            raise JobError(f"{where} has {len(self._ends) - 1} elements, and none with index {index}")
        return unpacked(memoryview(self._data)[self._ends[index] : self._ends[index + 1]], f"{where}[{index}]")


def elements_of(data: bytes, where: str) -> Elements:
    try:
        return Elements(data)
    except (ValueError, msgpack.UnpackException) as error:
        raise JobError(f"{where} is no list that could be spread: {error}") from None


def unpacked(data: bytes | memoryview, where: str) -> Any:
    try:
        return unpack(data)
    except ValueError as error:
        raise JobError(f"{where} cannot be read: {error}") from None
