"""A pretender: it listens where a Router should be, and answers everybody with garbage, in the session they opened."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Self

import zmq
from garbage import Frames, Garbage

from headrace.daemons.protocol import PROTOCOL, Inbound, Outbound, Welcome, decode_inbound, encode


class Pretender:
    """`welcome`: now and then it greets as a Router does, so that the other side believes it."""

    def __init__(self, address: str, seed: int, *, welcome: bool) -> None:
        self.peers: dict[bytes, Inbound] = {}
        self.heard = 0
        self._sent: dict[tuple[bytes, str], int] = {}
        self._garbage = Garbage(seed, Outbound)
        self._welcome = welcome
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._context.destroy(linger=0)

    def listen(self, peers: int, seconds: float = 60.0) -> None:
        """Until so many have spoken."""
        deadline = time.monotonic() + seconds
        while len(self.peers) < peers:
            assert self._socket.poll(int(max(0.0, deadline - time.monotonic()) * 1000)), "nobody speaks"
            self._read()

    def answer(self, count: int) -> None:
        """Garbage to everybody, and what they say to it thrown away."""
        for turn in range(count):
            for address, envelope in list(self.peers.items()):
                frames = self._greeting(address, envelope) if self._welcome and not turn % 20 else None
                with contextlib.suppress(zmq.Again):
                    self._socket.send_multipart([address, *(frames or self._rubbish(address, envelope))], zmq.NOBLOCK)
            while self._socket.poll(0):
                self._read()

    def _greeting(self, address: bytes, envelope: Inbound) -> Frames:
        return [encode(Outbound(PROTOCOL, 1, envelope.session, self._number(address, envelope), [Welcome()]))]

    def _rubbish(self, address: bytes, envelope: Inbound) -> Frames:
        self._garbage.session, self._garbage.number = envelope.session, self._number(address, envelope)
        return self._garbage.next()

    def _number(self, address: bytes, envelope: Inbound) -> int:
        place = address, envelope.session
        self._sent[place] = self._sent.get(place, 0) + 1
        return self._sent[place]

    def _read(self) -> None:
        frames = self._socket.recv_multipart()
        self.heard += 1
        self.peers[frames[0]] = decode_inbound(frames[-1])
