"""A store that stays in its process, lent to the processes that were forked from it.

A store that was given as an object (`store=MemoryStore()`) has to see what every process saves. So the forks have a
stand-in that asks: one call goes up as a frame, its answer comes down as one. Upstream results do not travel with it:
the lender has them already.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from ...pipeline import errors
from ...pipeline.errors import JobError, ProtocolError
from ...pipeline.payload import pack, unpack
from ...pipeline.task import Assignment

LENGTH = 8
MakeUpstream = Callable[[Assignment], Mapping[str, Any]]


class LentStore:
    """In the fork: looks like the store."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def retrieve(self, info: dict[str, Any]) -> Any:
        return self._call("retrieve", info)

    def save(self, info: dict[str, Any]) -> None:
        self._call("save", info)

    def _call(self, method: str, info: dict[str, Any]) -> Any:
        told = {key: value for key, value in info.items() if key != "upstream"}
        _send(self._line, pack([method, told], "what the store is told"))
        answer = unpack(_receive(self._line))
        if "error" in answer:
            raise _rebuilt(*answer["error"])
        return answer["value"]


class Lender:
    """In the process that has the store: answers one call after the other."""

    def __init__(self, store: Any, upstream: MakeUpstream) -> None:
        self._store = store
        self._upstream = upstream

    def answer(self, line: socket.socket, assignment: Assignment | None) -> None:
        """Take one call and answer it. Raises `EOFError` when the other side is gone."""
        method, info = unpack(_receive(line))
        if assignment is not None:
            info["upstream"] = self._upstream(assignment)
        try:
            answer = {"value": getattr(self._store, method)(info)}
            packed = pack(answer, "the store's answer")
        except Exception as error:  # noqa: BLE001  the store is user code: its exceptions are for the worker to judge
            packed = pack({"error": _told(error)})
        _send(line, packed)


def _told(error: Exception) -> tuple[str, str, dict[str, str]]:
    plain = {name: value for name, value in vars(error).items() if isinstance(value, str)}
    return type(error).__name__, str(error), plain


def _rebuilt(name: str, text: str, attributes: dict[str, str]) -> Exception:
    """The same exception when it is one of ours; any other is told by its name and text."""
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, JobError):
        error = found.__new__(found)
        error.args = (text,)
        vars(error).update(attributes)
        return error
    return RuntimeError(f"{name}: {text}")


def _send(line: socket.socket, data: bytes) -> None:
    line.sendall(len(data).to_bytes(LENGTH, "big") + data)


def _receive(line: socket.socket) -> bytes:
    length = int.from_bytes(_exactly(line, LENGTH), "big")
    if length > 1 << 34:
        raise ProtocolError(f"a call of a store claims {length} bytes: the two sides are out of step")
    return _exactly(line, length)


def _exactly(line: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = line.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError("the other side of a lent store is gone")
        data += part
    return bytes(data)
