"""The blocking shell of a client: it carries flows through by polling its socket.

Any thread may use it. Threads take turns at the socket, a turn of a waiting thread is at most `poll_time` long, and
turns are fair: a thread that waits for the end of a run for hours does not keep another from submitting.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zmq

from ..addresses import Address, connect_address
from ..protocol import RunEnd
from .conversation import Conversation, Flow, T, Wait
from .requests import Requests
from .wire import Wire


def new_id() -> str:
    return uuid.uuid4().hex


def converse(api: Address, ended: Callable[[RunEnd], None], timeout: float) -> tuple[Conversation, Wire]:
    """What both shells are made of: the pure core with its flows, and its socket."""
    address = connect_address(api)
    requests = Requests(new_id(), new_id(), address, new_id=new_id, ended=ended, timeout=timeout)
    return Conversation(requests, time.monotonic, new_id), Wire(requests, address, time.monotonic)


class Turns:
    """A lock that is handed on in fairness: who holds it has to come in by the door again.

    Somebody in a hurry rings: a poll that watches `fileno` ends, and with it the turn.
    """

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._inside = threading.Lock()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        return self._read

    def enter(self, *, hurry: bool) -> None:
        with self._door:
            if self._inside.acquire(blocking=False):
                return
            if hurry:
                with suppress(BlockingIOError):  # it rings already
                    os.write(self._write, b".")
            self._inside.acquire()

    def leave(self) -> None:
        self._inside.release()

    def hush(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Client:
    """`poll_time` is the longest turn, in seconds."""

    def __init__(
        self, api: Address, ended: Callable[[RunEnd], None], *, timeout: float = 10.0, poll_time: float = 0.05
    ) -> None:
        self.conversation, self._wire = converse(api, ended, timeout)
        self._poll_time = poll_time
        self._turns = Turns()
        self._closed = False
        self._poller = zmq.Poller()
        self._watched = zmq.POLLIN
        self._poller.register(self._wire.socket, self._watched)
        self._poller.register(self._turns.fileno(), zmq.POLLIN)

    def run(self, flow: Flow[T]) -> T:
        """Carry this flow through and return what it returns."""
        hurry = True
        try:
            while True:
                self._turns.enter(hurry=hurry)
                try:
                    hurry = self._advance(flow)
                finally:
                    self._turns.leave()
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _advance(self, flow: Flow[Any]) -> bool:
        """One turn: go on for as long as what the flow waits for is there. True: it wants its next turn soon."""
        while True:
            if self._closed:
                raise RuntimeError("this manager is closed")
            wait = next(flow)
            touched = self._wire.exchange()
            if wait.until is not None and wait.until <= self.conversation.clock():
                return True
            if not touched and (left := self._time_left(wait)) > 0:
                self._poll(left)
                touched = self._wire.exchange()
            if wait.key not in touched:
                return False

    def _time_left(self, wait: Wait) -> float:
        now = self.conversation.clock()
        limits = (wait.until, self.conversation.requests.next_deadline(), now + self._poll_time)
        return min(limit for limit in limits if limit is not None) - now

    def _poll(self, seconds: float) -> None:
        wanted = zmq.POLLIN | zmq.POLLOUT if self._wire.is_blocked else zmq.POLLIN
        if wanted != self._watched:
            self._watched = wanted
            self._poller.modify(self._wire.socket, wanted)
        for ready, _ in self._poller.poll(int(seconds * 1000) + 1):
            if ready == self._turns.fileno():
                self._turns.hush()

    def close(self) -> None:
        self._turns.enter(hurry=True)
        try:
            if not self._closed:
                self._closed = True
                self._wire.close()
        finally:
            self._turns.leave()
