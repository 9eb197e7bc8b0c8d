"""Channel: the stream between a worker process and its Broker, seen from the worker process.

Outcomes, progress and questions go out, answers and stops come in. Three parties may read: the loop when nothing runs,
code of an attempt that waits for an answer, and the signal handler, which looks for a stop and never waits. Only one of
them reads at a time; a handler that finds the stream taken leaves word, and whoever has it reads on for it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from ..pipeline.errors import JobCancelled, JobError
from ..pipeline.task import Given, Want
from .framing import CHUNK, frame, to_worker
from .interruption import Interruption
from .messages import Fetch, Fetched, FromWorker, Large, Leave, Monitoring, Packet, Progress, Resend, Stop, ToWorker


class Gone(Exception):
    """The Broker has closed the stream, or died."""


class Channel:
    """One end of the stream."""

    def __init__(self, stream: socket.socket, interruption: Interruption) -> None:
        self.closed = False
        self.leaving = False
        self.monitoring: deque[Monitoring] = deque()
        self._owner = os.getpid()
        self._stream = stream
        self._interruption = interruption
        self._reader = to_worker()
        self._asked: set[int] = set()
        self._answers: dict[int, Given] = {}
        self._packets: dict[int, Packet] = {}
        self._number = 0
        self._sending = threading.Lock()
        self._reading = threading.Lock()
        self._left_word = False

    def fileno(self) -> int:
        return self._stream.fileno()

    # Out ------------------------------------------------------------------------------------------------------------

    def send(self, message: FromWorker) -> None:
        """A whole frame, or none: no stop comes in between."""
        data = frame(message)
        if not self._interruption.is_open:
            self._send(data)
            return
        with self._shield():
            self._send(data)

    def report(self, lease: int, done: float, total: float | None, message: str) -> None:
        self.send(Progress(lease, done, total, message))

    def _send(self, data: bytes) -> None:
        with self._sending:
            try:
                self._stream.sendall(data)
            except OSError as error:
                self.closed = True
                raise Gone from error

    # Questions ------------------------------------------------------------------------------------------------------

    def fetch(self, wants: Sequence[Want]) -> list[Given]:
        """The answers, after all questions have been sent."""
        if os.getpid() != self._owner:
            raise JobError("results cannot be read in a process that a worker has forked: read them before")
        numbers = [self._new_number() for _ in wants]
        try:
            with self._shield():
                for number, want in zip(numbers, wants, strict=True):
                    self._send(frame(Fetch(number, want)))
                self._wait(lambda: not self._asked.intersection(numbers) or self._interruption.pending is not None)
            if self._asked.intersection(numbers):
                raise JobCancelled("this attempt has to stop: it is given nothing more to read")
            return [self._answers[number] for number in numbers]
        except Gone:
            raise JobCancelled("the Broker of this worker is gone") from None
        finally:
            for number in numbers:
                self._asked.discard(number)
                self._answers.pop(number, None)

    def resend(self, lease: int) -> Packet | None:
        """An attempt that did not fit a packet; None when it has to stop before it has come."""
        self.send(Resend(lease))
        self._wait(lambda: lease in self._packets or self._interruption.stopped(lease) is not None)
        return self._packets.pop(lease, None)

    def _new_number(self) -> int:
        self._number = number = self._number + 1
        self._asked.add(number)
        return number

    def _shield(self) -> AbstractContextManager[None]:
        """Against a stop in the middle of a frame; only the main thread is ever interrupted."""
        if self._interruption.is_open and threading.current_thread() is threading.main_thread():
            return self._interruption.shielded()
        return nullcontext()

    # In -------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in what has come, without waiting. Safe in a signal handler."""
        if not self._reading.acquire(blocking=False):
            self._left_word = True
            return
        try:
            while self._receive(socket.MSG_DONTWAIT):
                pass
        finally:
            self._release()

    def _wait(self, arrived: Callable[[], bool]) -> None:
        """Read until that has come, whoever reads it."""
        while not arrived():
            with self._turn():
                if not arrived() and not self._receive(0):
                    raise Gone

    def _turn(self) -> _Turn:
        return _Turn(self._reading, self._release)

    def _release(self) -> None:
        self._reading.release()
        if self._left_word:
            self._left_word = False
            self.look()

    def _receive(self, flags: int) -> bool:
        """One read; False when there is nothing, or nothing will come any more."""
        try:
            data = self._stream.recv(CHUNK, flags)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        for message in self._reader.feed(data):
            self._take(message)
        return True

    def _take(self, message: ToWorker) -> None:
        match message:
            case Fetched(number, given):
                if number in self._asked:
                    self._answers[number] = given
                    self._asked.discard(number)
            case Large(packet):
                self._packets[packet.lease] = packet
            case Stop(lease, why):
                self._stop(lease, why)
            case Leave():
                self.leaving = True
            case Monitoring():
                self.monitoring.append(message)

    def _stop(self, lease: int, why: str) -> None:
        self._interruption.stop(lease, why)
        if threading.current_thread() is not threading.main_thread():
            os.kill(os.getpid(), signal.SIGTERM)  # the main thread is the one to be interrupted


class _Turn:
    """Holds the reading side of the stream for the length of a `with`."""

    def __init__(self, lock: threading.Lock, release: Callable[[], None]) -> None:
        self._lock = lock
        self._release = release

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._release()
