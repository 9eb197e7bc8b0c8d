"""What runs attempts: a pool of places, each a worker process (or what stands for one on another engine).

A pool decides nothing. Its owner starts processes, feeds them, takes back what has not begun, and hears what happened;
`filenos` are what it waits on. All methods return at once, but for `close`.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..pipeline.task import Assignment, RunHeader
from .messages import Broken, Ended, Fetch, Packet, Progress, Resend, Settings, ToWorker, Up

PACKET_LIMIT = 32 * 1024
"""The largest packet. What is larger is announced by its lease alone, and asked for with `Resend`."""


class SlotUp(msgspec.Struct, frozen=True):
    """The process has made its workers and its store, and takes packets."""

    slot: int
    pid: int
    up: Up


class SlotBroken(msgspec.Struct, frozen=True):
    """The process cannot make its workers or its store, and ends."""

    slot: int
    broken: Broken


class Said(msgspec.Struct, frozen=True):
    slot: int
    message: Ended | Fetch | Resend | Progress


class SlotDown(msgspec.Struct, frozen=True):
    """The process has ended, and everything that came from it. It said nothing that was not heard before."""

    slot: int
    pid: int
    exit_code: int | None = None
    signal: int | None = None
    unread: tuple[bytes, ...] = ()
    """Packets that it had not begun: nobody will read them any more."""
    log_tail: str = ""
    """The end of its output, when it ended badly."""
    overdue: bool = False
    """The pool has ended it by itself: the deadline was not moved on in time."""


PoolEvent = SlotUp | SlotBroken | Said | SlotDown


class Pool(Protocol):
    def start(self, slot: int, settings: Settings) -> None:
        """Make a process for the slot. `SlotUp`, `SlotBroken` or `SlotDown` follows."""

    def feed(self, slot: int, packet: bytes) -> bool:
        """Put a packet at the end of the slot's pipe. False: it is full, or there is no process."""

    def take_back(self, slot: int) -> list[bytes]:
        """The packets that had not begun; they never will."""

    def send(self, slot: int, message: ToWorker) -> None: ...

    def interrupt(self, slot: int) -> None:
        """SIGTERM to the process. `Stop` should have been sent before."""

    def kill(self, slot: int) -> None:
        """End the process and everything that came from it. `SlotDown` follows."""

    def renew(self, at: float | None) -> None:
        """Should nothing more be heard of the owner, everything ends at this time of `clock.now`."""

    def filenos(self) -> list[int]:
        """Readable when `poll` has something to do."""

    def poll(self, timeout: float = 0.0) -> list[PoolEvent]: ...

    def close(self, grace: float = 0.0) -> None:
        """End all processes: after the attempts that run, for up to `grace` seconds, then by force."""


class _Label(msgspec.Struct, frozen=True, array_like=True):
    header: msgspec.Raw
    assignment: msgspec.Raw
    lease: int


_encoder = msgspec.msgpack.Encoder()
_labels = msgspec.msgpack.Decoder(_Label)


def pack(header: RunHeader, assignment: Assignment) -> bytes:
    """An attempt as a packet."""
    packet = _encoder.encode(Packet(header, assignment, assignment.lease))
    if len(packet) > PACKET_LIMIT:
        return _encoder.encode(Packet(None, None, assignment.lease))
    return packet


def lease_of(packet: bytes) -> int:
    return _labels.decode(packet).lease
