"""When a daemon that died is started again. Pure: it is told what happened and when, and says what to do.

A death after a long life is answered at once. Deaths in quick succession wait longer each time, so that a daemon
that cannot start does not eat the machine. Some deaths need a person and not a restart: wrong settings, or a daemon
that has never worked since the supervisor began.
"""

from __future__ import annotations

from dataclasses import dataclass

STEADY = 30.0
"""Who lived this long has a clean record."""
FIRST = 0.2
FACTOR = 2.0
CAP = 10.0
NEVER_WORKED = 3
"""So many quick deaths before the cluster has been ready once, and the supervisor gives up."""
USAGE = 2


@dataclass(frozen=True)
class Again:
    """Start it again after so many seconds."""

    delay: float


@dataclass(frozen=True)
class GiveUp:
    """A restart would not help, and why."""

    reason: str


class Restarts:
    """The record of every daemon's deaths."""

    def __init__(self) -> None:
        self.worked = False
        self._began: dict[str, float] = {}
        self._quick: dict[str, int] = {}

    def began(self, name: str, now: float) -> None:
        self._began[name] = now

    def ended(self, name: str, code: int, now: float) -> Again | GiveUp:
        """`code` is the exit code, or minus the number of the signal that ended it."""
        if code == USAGE:
            return GiveUp(f"{name} refuses its settings; see its lines above")
        if now - self._began[name] >= STEADY:
            self._quick[name] = 0
        else:
            self._quick[name] = self._quick.get(name, 0) + 1
        if not self.worked and self._quick[name] >= NEVER_WORKED:
            return GiveUp(f"{name} ended {self._quick[name]} times before it worked; see its lines above")
        return Again(self._delay(self._quick[name]))

    def _delay(self, deaths: int) -> float:
        return min(CAP, FIRST * FACTOR ** min(deaths - 1, 64)) if deaths else 0.0


def told(code: int) -> str:
    """An exit code in words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
