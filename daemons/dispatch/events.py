"""Broadcast: committed facts, numbered, for whoever watches. Never the only carrier of a fact: the api fills every gap.

One message per batch of facts: topic and epoch, and the facts as they stand in the journal. When nobody listens nothing
is sent: the socket tells of subscribers.
"""

from __future__ import annotations

import msgspec
import zmq

from ...pipeline.facts import Path
from ..protocol import PROTOCOL
from .effects import Record, Tell

DRAIN = 1000
TOPIC = b"facts"
SIGNALS = b"signals"


class Event(msgspec.Struct, frozen=True, array_like=True):
    """`facts` are (sequence, run id or None, packed fact)."""

    version: int
    epoch: int
    facts: list[tuple[int, str | None, msgspec.Raw]]


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """A report of a running job: `number` counts the signals of this epoch, and tells a watcher what it missed."""

    version: int
    epoch: int
    number: int
    run: str
    job: str
    path: Path
    attempt: int
    kind: str
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)
_signal_decoder = msgspec.msgpack.Decoder(Signal)


def decode_event(frame: bytes) -> Event:
    return _decoder.decode(frame)


def decode_signal(frame: bytes) -> Signal:
    return _signal_decoder.decode(frame)


class Broadcast:
    """The publishing side."""

    def __init__(self, socket: zmq.Socket[bytes], epoch: int) -> None:
        self._socket = socket
        self._epoch = epoch
        self._subscribers = 0
        self._signals = 0

    def drain(self) -> None:
        """Notice who came and who went, some of them per turn."""
        for _ in range(DRAIN):
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if frame[:1] == b"\x01":
                self._subscribers += 1
            elif frame[:1] == b"\x00":
                self._subscribers = max(0, self._subscribers - 1)

    def publish(self, records: list[Record]) -> None:
        if self._subscribers <= 0 or not records:
            return
        facts = [(record.sequence, record.run, msgspec.Raw(record.packed)) for record in records]
        self._send(TOPIC, _encoder.encode(Event(PROTOCOL, self._epoch, facts)))

    def signal(self, told: Tell) -> None:
        self._signals += 1
        if self._subscribers > 0:
            place = (told.run, told.job, told.path, told.attempt)
            self._send(
                SIGNALS, _encoder.encode(Signal(PROTOCOL, self._epoch, self._signals, *place, told.kind, told.body))
            )

    def _send(self, topic: bytes, frame: bytes) -> None:
        try:
            self._socket.send_multipart((topic, frame), zmq.NOBLOCK)
        except zmq.Again:
            pass  # a watcher that does not read misses events, and sees the gap
