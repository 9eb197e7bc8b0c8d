"""Frames: how messages travel over the stream pair of a worker process.

A frame is a four-byte length (big-endian) and that many bytes of msgpack. Both sides of the pair are processes of one
machine that trust each other, so a frame that cannot be read is a bug or a torn write, never an attack: the reader
raises `ProtocolError`, and the process on the other side is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from ..pipeline.errors import ProtocolError
from .messages import FromWorker, ToWorker

LENGTH = 4
MAX_FRAME = 1 << 30
"""No message is longer: a length beyond it means that the two sides are out of step."""
CHUNK = 1 << 18
"""As much as one `recv` of a reader should ask for."""

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


def frame(message: Any) -> bytes:
    """One message, ready for the stream."""
    buffer = bytearray(LENGTH)
    _encoder.encode_into(message, buffer, LENGTH)
    buffer[:LENGTH] = (len(buffer) - LENGTH).to_bytes(LENGTH, "big")
    return bytes(buffer)


class FrameReader(Generic[T]):
    """Bytes in as they come, whole messages out."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decoder = decoder
        self._pending = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[T]:
        """Every message that these bytes complete, in order."""
        pending = self._pending
        pending += data
        messages: list[T] = []
        end = 0
        with memoryview(pending) as view:
            for start, end in _bounds(view):
                messages.append(self._decode(view[start:end]))
        del pending[:end]
        return messages

    def _decode(self, body: memoryview) -> T:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(
                f"a frame of {len(body)} bytes between Broker and worker cannot be read: {error}"
            ) from None


def _bounds(view: memoryview) -> Iterator[tuple[int, int]]:
    """Start and end of every whole body in the view."""
    start = LENGTH
    while start <= len(view):
        length = int.from_bytes(view[start - LENGTH : start], "big")
        if length > MAX_FRAME:
            raise ProtocolError(f"a frame between Broker and worker claims {length} bytes: the two are out of step")
        end = start + length
        if end > len(view):
            return
        yield start, end
        start = end + LENGTH


def from_worker() -> FrameReader[FromWorker]:
    """The Broker's reader, one per worker process."""
    return FrameReader(msgspec.msgpack.Decoder(FromWorker))


def to_worker() -> FrameReader[ToWorker]:
    """The worker process's reader."""
    return FrameReader(msgspec.msgpack.Decoder(ToWorker))
