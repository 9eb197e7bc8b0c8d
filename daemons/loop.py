"""What the loops of the daemons share: an orderly stop, and a link to the Router.

A loop does, per turn: wait for its sockets or the next deadline, drain every socket without blocking, feed its machine,
send what came out, batched per peer. It holds no decisions.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec
import zmq

from .memory import keep_small
from .protocol import MAX_FRAME, Inbound, Outbound, decode_outbound, encode

logger = logging.getLogger(__name__)

DRAIN = 1000
"""Frames read from one socket in one turn, so that the others get theirs."""
EVENTS, READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
"""Plain numbers: with the enums of zmq, to ask a socket whether it is readable takes five times as long."""


def place() -> str:
    """host/pid: where a process is, for people."""
    return f"{socket.gethostname()}/{os.getpid()}"


def new_id() -> str:
    return uuid.uuid4().hex


class Stopper:
    """A request to stop, from a signal or from another thread, that wakes a poll."""

    def __init__(self) -> None:
        self.requested = False
        self.signals = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def stop(self) -> None:
        self.requested = True
        self.wake()

    def wake(self) -> None:
        try:
            os.write(self._write, b".")
        except BlockingIOError:
            pass  # it is awake already

    def drain(self) -> None:
        """Take the wake-ups out of the pipe: only after a poll said that there are some."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for the stop. In another thread than the main one signals are left alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._caught) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        self.stop()


def drained(socket: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    """What has arrived, a turn's worth of it. Asking first is much cheaper than an exception at the end."""
    for _ in range(DRAIN):
        if not int(socket.getsockopt(EVENTS)) & READABLE:
            return
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def settle_down() -> None:
    """A daemon has started: what is loaded stays, rubbish is looked for seldom, and what is free goes back."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    keep_small()


class Link:
    """A peer's socket to the Router. Malformed envelopes are counted and dropped; a full pipe drops, the gap tells."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.address = address
        self.malformed = 0
        self.dropped = 0
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self.socket.setsockopt(zmq.SNDHWM, 10_000)
        self.socket.setsockopt(zmq.RCVHWM, 10_000)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self.socket.connect(address)

    def drain(self) -> Iterator[Outbound]:
        for frames in drained(self.socket):
            try:
                yield decode_outbound(frames[-1])
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                self.malformed += 1
                logger.warning("dropped a malformed envelope from the Router: %s", error)

    def send(self, envelope: Inbound) -> bool:
        try:
            self.socket.send(encode(envelope), zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1
            return False
        return True

    def close(self, linger: float = 0.0) -> None:
        self.socket.close(linger=int(linger * 1000))
