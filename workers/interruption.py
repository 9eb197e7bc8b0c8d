"""Interruption: how a running attempt is stopped softly from outside.

The Broker writes a `Stop` to the stream, then a SIGTERM follows. Whoever reads the stop notes it here; the signal
handler reads the stream and then calls `check`, which raises `Interrupted` out of the handler into the code that runs.
No `except Exception` swallows it. Our own code is never interrupted: sections that may be are opened and closed, and a
stop that comes between them waits for the next one. Every lease is interrupted at most once: code that goes on
regardless is killed by the Broker after a grace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MAX_EARLY = 1000


class Interrupted(BaseException):
    """Raised inside user code; `why` is the kind of the outcome: `timeout` or `cancelled`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"stopped from outside: {why}")


class Woken(BaseException):
    """Raised out of a wait for work: a signal handler has read something that the loop should look at."""


class Interruption:
    """Which attempt runs, whether it may be interrupted now, and which stops have come."""

    def __init__(self) -> None:
        self.lease = 0
        self.raised: str | None = None
        """Why the running attempt was interrupted, once it was."""
        self.is_open = False
        self.waiting = False
        """The loop waits for work, and a signal should wake it."""
        self._stops: dict[int, str] = {}

    def begin(self, lease: int) -> None:
        self.lease = lease
        self.raised = None

    def end(self) -> None:
        self.is_open = False
        self._stops.pop(self.lease, None)
        self.lease = 0

    def open(self) -> None:
        """From here on the running attempt may be interrupted, at once if a stop has come."""
        self.is_open = True
        if self._stops:
            self.check()

    def close(self) -> None:
        self.is_open = False

    def stop(self, lease: int, why: str) -> None:
        """Note a stop for an attempt: it runs, or it is still to come."""
        if len(self._stops) >= MAX_EARLY:
            self._stops.pop(next(iter(self._stops)))
        self._stops[lease] = why

    @property
    def pending(self) -> str | None:
        """Why the running attempt has to stop, when it has."""
        return self._stops.get(self.lease)

    def stopped(self, lease: int) -> str | None:
        """Why an attempt has to stop that has not begun yet."""
        return self._stops.get(lease)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A section of our own inside of user code: a stop waits for its end."""
        was_open, self.is_open = self.is_open, False
        try:
            yield
        finally:
            self.is_open = was_open
        if was_open:
            self.check()

    def check(self) -> None:
        """Raises `Interrupted` when the running attempt has to stop and may be interrupted, `Woken` when none runs."""
        if self.waiting:
            self.waiting = False
            raise Woken
        if self.is_open and self.raised is None and self.lease and self.lease in self._stops:
            self.raised = self._stops[self.lease]
            raise Interrupted(self.raised)
