"""Outcomes on their way to the journal: kept until the Router has noted them, and told again until then."""

from __future__ import annotations

from ...pipeline.task import Outcome
from .slot import Attempt

AGAIN = 2.0
"""Seconds after which an outcome that is not noted is told again."""
MOST = 10_000
MOST_BYTES = 16 * 1024 * 1024
"""Beyond these no new work is taken: what is kept has to fit one Hello."""


class Delivery:
    def __init__(self) -> None:
        self.kept: dict[int, tuple[Attempt, Outcome]] = {}
        """By lease, in order of ending."""
        self._bytes = 0
        self._fresh: list[Outcome] = []
        self._told: dict[int, float] = {}

    @property
    def full(self) -> bool:
        return len(self.kept) >= MOST or self._bytes >= MOST_BYTES

    def add(self, attempt: Attempt, outcome: Outcome) -> None:
        self.kept[outcome.lease] = attempt, outcome
        self._bytes += _weight(outcome)
        self._fresh.append(outcome)

    def noted(self, leases: list[int]) -> None:
        for lease in leases:
            found = self.kept.pop(lease, None)
            if found is not None:
                self._bytes -= _weight(found[1])
                self._told.pop(lease, None)

    def fresh(self, now: float) -> list[Outcome]:
        """What was never told, once."""
        fresh, self._fresh = self._fresh, []
        for outcome in fresh:
            if outcome.lease in self.kept:
                self._told[outcome.lease] = now
        return fresh

    def overdue(self, now: float) -> list[Outcome]:
        """What was told a while ago and is not noted."""
        found: list[Outcome] = []
        for lease, told in self._told.items():
            if told + AGAIN > now:
                break  # in order of telling, so that the others are younger
            found.append(self.kept[lease][1])
        for outcome in found:
            del self._told[outcome.lease]
            self._told[outcome.lease] = now
        return found

    def all_told(self, now: float) -> tuple[Outcome, ...]:
        """Everything, for a Hello."""
        self._fresh = []
        self._told = dict.fromkeys(self.kept, now)
        return tuple(outcome for _, outcome in self.kept.values())


def _weight(outcome: Outcome) -> int:
    """Bytes of what can be large: the result, what it grafts, and what there is to say about a failure."""
    size, error, signs = len(outcome.result), outcome.error, outcome.signs
    if error is not None:
        size += len(error.message) + len(error.traceback) + len(error.log_tail)
    if signs is not None:
        size += len(signs.graft or b"") + sum(map(len, signs.keys.values()))
    return size
