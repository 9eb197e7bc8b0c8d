"""The attempts that a Broker holds, and where they are.

granted ──▶ shelf ◀──▶ pipe of a slot ──▶ ended: kept until the Router has noted it
              │              │
              └──────────────┴──▶ handed back (it never began), or dropped (its lease has lapsed)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from ...pipeline.task import Outcome, RunHeader
from ..protocol import Held, Run
from .deaths import NOT_BEGUN
from .delivery import Delivery
from .slot import Attempt, Slot


class Ledger:
    def __init__(self) -> None:
        self.attempts: dict[int, Attempt] = {}
        """By lease: everything that has not ended."""
        self.shelf: deque[Attempt] = deque()
        """Those that are in no pipe."""
        self.delivery = Delivery()
        self.seen = 0
        """The highest lease that was ever granted to us."""
        self._handed_back: list[int] = []

    def grant(self, message: Run, now: float) -> None:
        """To the shelf. What we have already is not taken twice."""
        headers = {header.run: header for header in message.headers}
        attempts, kept = self.attempts, self.delivery.kept
        for assignment in message.assignments:
            lease = assignment.lease
            if lease in attempts or lease in kept:
                continue
            header = headers.get(assignment.run) or RunHeader(assignment.run)
            attempt = attempts[lease] = Attempt(header, assignment, now)
            self.shelf.append(attempt)
            if lease > self.seen:
                self.seen = lease

    def end(self, attempt: Attempt, outcome: Outcome) -> None:
        del self.attempts[attempt.lease]
        self.delivery.add(attempt, outcome)

    def hand_back(self, attempt: Attempt) -> None:
        del self.attempts[attempt.lease]
        self._handed_back.append(attempt.lease)

    def lapse(self) -> None:
        """Nothing that is held now was renewed in time, outcomes that are not noted included."""
        for attempt in (*self.attempts.values(), *(attempt for attempt, _ in self.delivery.kept.values())):
            attempt.lapsed = True

    def drop(self, attempt: Attempt) -> None:
        """Say nothing: the Router knows that its lease is over."""
        del self.attempts[attempt.lease]

    def release(self, slot: Slot, leases: Container[int], since: float) -> None:
        """These did not begin in this slot: to their doom, or to the front of the shelf, where they wait `since`."""
        attempts = [attempt for attempt in slot.fifo if attempt.lease in leases]
        slot.remove(attempts)
        for attempt in reversed(attempts):
            attempt.shelved = since
            self.shelf.appendleft(attempt)
        self.clear_doomed()

    def clear_doomed(self) -> None:
        """Whatever on the shelf is to be cancelled or given back has not begun: now it is."""
        if not any(attempt.doom for attempt in self.shelf):
            return
        doomed = [attempt for attempt in self.shelf if attempt.doom]
        self.shelf = deque(attempt for attempt in self.shelf if not attempt.doom)
        for attempt in doomed:
            if attempt.doom == "cancelled":
                self.end(attempt, Outcome(attempt.lease, "cancelled", error=NOT_BEGUN))
            else:
                self.hand_back(attempt)

    def longest_shelved(self) -> float:
        """Since when the first of them waits that has to be given up; new ones stand at the end."""
        first = self.shelf[0].shelved
        return first if len(self.shelf) == 1 else min(first, *(attempt.shelved for attempt in self.shelf))

    def give_up(self, now: float, patience: float) -> None:
        """Hand back what waits on the shelf for so long."""
        for attempt in self.shelf:
            if attempt.shelved + patience <= now:
                attempt.doom = attempt.doom or "recalled"
        self.clear_doomed()

    # What the Router is told ----------------------------------------------------------------------------------------

    def handed_back(self) -> list[int]:
        """What was handed back since the last look."""
        leases, self._handed_back = self._handed_back, []
        return leases

    def held(self) -> tuple[Held, ...]:
        return tuple(map(_held, [*self.attempts.values(), *(attempt for attempt, _ in self.delivery.kept.values())]))

    def leases(self) -> tuple[int, ...]:
        return (*self.attempts, *self.delivery.kept)

    def validate(self, slots: Iterable[Slot]) -> None:
        placed = [*self.shelf, *(attempt for slot in slots for attempt in slot.fifo)]
        assert len(placed) == len({attempt.lease for attempt in placed}), "an attempt is in two places"
        assert {attempt.lease for attempt in placed} == set(self.attempts), "an attempt is nowhere, or ended and kept"
        assert not set(self.attempts) & set(self.delivery.kept), "an attempt has ended and goes on"


def _held(attempt: Attempt) -> Held:
    one = attempt.assignment
    return Held(
        one.lease, one.run, one.job, one.path, one.attempt, one.round, one.worker, one.needs, attempt.lapsed
    )  # fmt: skip
