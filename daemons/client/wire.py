"""A client's socket: frames between the Router and the pure core, never waiting. Both shells stand on it."""

from __future__ import annotations

from collections.abc import Callable

import zmq

from ...pipeline.errors import ConfigError
from ..protocol import MAX_FRAME
from .requests import Requests

RECONNECT = 50
SLOWEST_RECONNECT = 1000
READABLE, WRITABLE = int(zmq.POLLIN), int(zmq.POLLOUT)


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
        try:
            self.socket.connect(address)
        except zmq.ZMQError as error:
            self.socket.close()
            raise ConfigError(f"cannot connect to {address}: {error}; write tcp://host:port or ipc://path") from None

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
        return int(self.socket.getsockopt(zmq.EVENTS))

    def _write(self) -> None:
        """Without a connection nothing leaves the core: an old frame would arrive late, beside its own repeats."""
        while self._events() & WRITABLE:
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
