"""A client's socket: frames between the Router and the pure core, never waiting. Both shells stand on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import zmq

from ...pipeline.errors import ConfigError
from ..protocol import MAX_FRAME
from .requests import Requests

RECONNECT = 50
SLOWEST_RECONNECT = 1000
EVENTS, READABLE, WRITABLE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)


def subscribed(address: str) -> zmq.Socket[bytes]:
    """A socket that hears every broadcast."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, SLOWEST_RECONNECT)
    socket.subscribe(b"")
    _connect(socket, address)
    return socket


def heard(socket: zmq.Socket[bytes], seconds: float) -> Iterator[list[bytes]]:
    """The broadcasts that are there, or else the first one that comes within so many seconds."""
    milliseconds = int(seconds * 1000)
    while socket.poll(milliseconds):
        yield socket.recv_multipart(zmq.NOBLOCK)
        milliseconds = 0


def _connect(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close()
        raise ConfigError(f"cannot connect to {address}: {error}; write tcp://host:port or ipc://path") from None


class Wire:
    """A DEALER that queues for living connections only: what cannot be sent now stays in the core, which repeats."""

    def __init__(self, requests: Requests, address: str, clock: Callable[[], float]) -> None:
        self.requests = requests
        self._clock = clock
        self._unsent: bytes | None = None
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self.socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, SLOWEST_RECONNECT)
        _connect(self.socket, address)

    def exchange(self) -> list[str]:
        """Read what has come, let time pass, send what can be sent; the keys that were touched."""
        touched: list[str] = []
        while self._events() & READABLE:
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
            touched += self.requests.feed(frames[-1], self._clock())
        touched += self.requests.tick(self._clock())
        if self.is_blocked:
            self._write()
        return touched

    @property
    def is_blocked(self) -> bool:
        """Something waits to be sent."""
        return self._unsent is not None or self.requests.has_frame

    @property
    def is_ready(self) -> bool:
        """Another exchange would read or send something at once."""
        events = self._events()
        return bool(events & READABLE or (events & WRITABLE and self.is_blocked))

    def _events(self) -> int:
        return int(self.socket.getsockopt(EVENTS))

    def _write(self) -> None:
        """Without a connection nothing leaves the core: an old frame would arrive late, beside its own repeats."""
        while self.is_blocked and self._events() & WRITABLE:
            frame = self._unsent or self.requests.frame(self._clock())
            if frame is None:
                return
            try:
                self.socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:  # the connection went in this moment
                self._unsent = frame
                return
            self._unsent = None

    def close(self) -> None:
        self.socket.close(linger=0)
