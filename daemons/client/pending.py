"""Requests that a client has under way: when each is to be said again, and when it is too late for it.

    queued ──sent──▶ waiting ──time to repeat, another epoch──▶ queued
                        └──busy──▶ postponed ──time──▶ queued          all of them ──deadline──▶ over

Every request has one live timer in a heap; older entries of it are passed over when they come up.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from ...pipeline.errors import Busy, HeadraceError, Unreachable
from ..protocol import Ask, Control, Failed, FetchValue, Follow, ReadOutput, Submit

Request = Submit | Follow | Control | Ask | FetchValue | ReadOutput

REPEAT = 1.0
PATIENT_REPEAT = 3.0
"""The repeat of a request that a Router which is alive has not answered: it is at work on it."""
FIRST_BUSY, LONGEST_BUSY = 0.1, 2.0
"""The pause after `busy` without a time: doubled each time."""


class Pending:
    """A request under way. `wanted`: somebody waits for its answer."""

    __slots__ = ("busy", "deadline", "message", "queued", "refusals", "sent", "timer", "wanted")

    def __init__(self, message: Request, deadline: float, wanted: bool) -> None:
        self.message = message
        self.deadline = deadline
        self.wanted = wanted
        self.queued = True
        self.busy: Failed | None = None
        self.refusals = 0
        self.sent = float("-inf")
        self.timer = deadline


class UnderWay:
    def __init__(self) -> None:
        self._requests: dict[str, Pending] = {}
        self._timers: list[tuple[float, str]] = []

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._requests.values()))

    def __len__(self) -> int:
        return len(self._requests)

    def get(self, request: str) -> Pending | None:
        return self._requests.get(request)

    def add(self, message: Request, deadline: float, *, wanted: bool) -> None:
        """A new request, queued to be sent."""
        pending = self._requests[message.id] = Pending(message, deadline, wanted)
        heappush(self._timers, (pending.timer, message.id))

    def remove(self, request: str) -> Pending | None:
        return self._requests.pop(request, None)

    def leaves(self, message: Request, now: float) -> bool:
        """Note that it is sent now; False when it is not wanted any more, or was sent already."""
        pending = self._requests.get(message.id)
        if pending is None or pending.message is not message or not pending.queued:
            return False
        pending.queued = False
        pending.busy = None
        pending.sent = now
        self._set_timer(pending, now + REPEAT)
        return True

    def queue(self, pending: Pending) -> bool:
        """It has to be sent again; False when it is queued already."""
        self._set_timer(pending, pending.deadline)
        was, pending.queued = pending.queued, True
        return not was

    def postpone(self, pending: Pending, failed: Failed, now: float) -> None:
        """The Router is busy: for how long, it says itself, or it is asked in longer and longer pauses."""
        pending.busy = failed
        pending.queued = False
        pause = max(failed.retry_after or 0.0, min(FIRST_BUSY * 2**pending.refusals, LONGEST_BUSY))
        pending.refusals += 1
        self._set_timer(pending, now + pause)

    def due(self, now: float, heard: float) -> Iterator[Pending]:
        """Those to be sent again, and those whose deadline has come. `heard`: the last sign of life of the Router."""
        while self._timers and self._timers[0][0] <= now:
            entry = heappop(self._timers)
            if not self._is_live(entry):
                continue
            pending = self._requests[entry[1]]
            patient = pending.sent + PATIENT_REPEAT
            if now < pending.deadline and pending.busy is None and heard > pending.sent and now < patient:
                self._set_timer(pending, patient)
            else:
                yield pending

    def next(self) -> float | None:
        """When something is due next."""
        while self._timers and not self._is_live(self._timers[0]):
            heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def validate(self) -> None:
        live = {entry[1] for entry in self._timers if self._is_live(entry)}
        assert live == set(self._requests), "a request without a timer would wait for ever"

    def _set_timer(self, pending: Pending, when: float) -> None:
        pending.timer = min(when, pending.deadline)
        heappush(self._timers, (pending.timer, pending.message.id))

    def _is_live(self, entry: tuple[float, str]) -> bool:
        pending = self._requests.get(entry[1])
        return pending is not None and pending.timer == entry[0]


def too_late(pending: Pending, address: str, timeout: float) -> HeadraceError:
    """What stands for the answer after the deadline."""
    if pending.busy:
        return Busy(pending.busy.reason, pending.busy.retry_after or 0.0)
    return Unreachable(address, timeout)
