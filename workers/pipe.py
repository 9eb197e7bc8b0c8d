"""A stream socket that carries whole messages, and never blocks.

What the kernel does not take yet waits here, together with the file descriptors that travel beside it; `wants_write`
says so, and `flush` goes on.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from typing import Any, Generic, TypeVar

from ..pipeline.errors import ProtocolError
from .framing import FrameReader, frame

logger = logging.getLogger(__name__)

CHUNK = 65536
MAX_FDS = 16

T = TypeVar("T")


class Pipe(Generic[T]):
    """`ended` is True once the other side is gone, or has sent what cannot be read."""

    def __init__(self, sock: socket.socket, reader: FrameReader[T], *, carries_fds: bool = False) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.ended = False
        self.fds: deque[int] = deque()
        """Descriptors that came, in the order of the messages that they belong to."""
        self._reader = reader
        self._carries_fds = carries_fds
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def wants_write(self) -> bool:
        return bool(self._unsent) and not self.ended

    def send(self, message: Any, fds: tuple[int, ...] = ()) -> None:
        """Send a message, now or with later `flush`es. `fds` belong to the pipe from here on."""
        self._unsent.append((memoryview(frame(message)), fds))
        if len(self._unsent) == 1:
            self.flush()

    def flush(self) -> None:
        while self.wants_write:
            data, fds = self._unsent[0]
            try:
                sent = socket.send_fds(self.socket, [data], fds) if fds else self.socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                self.ended = True
                return
            _close_all(fds)
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], ())

    def receive(self) -> list[T]:
        """Every whole message that has come."""
        messages: list[T] = []
        while not self.ended:
            try:
                data = self._read()
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            try:
                messages += self._reader.feed(data)
            except ProtocolError as error:
                logger.error("%s", error)
                self.ended = True
            if len(data) < CHUNK:
                break
        return messages

    def close(self) -> None:
        for _, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        _close_all(tuple(self.fds))
        self.fds.clear()
        self.socket.close()

    def _read(self) -> bytes:
        if not self._carries_fds:
            return self.socket.recv(CHUNK)
        data, fds, _, _ = socket.recv_fds(self.socket, CHUNK, MAX_FDS)
        for fd in fds:
            os.set_inheritable(fd, False)
        self.fds.extend(fds)
        return data


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
