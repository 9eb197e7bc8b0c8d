"""One slot of a Broker: a place for a worker process, and the attempts in its pipe, in the order of feeding.

The first of them is its head: the one that runs, as far as can be known from here. The others wait in the pipe, and
can be taken back until the process reads them.

    empty ──start──▶ starting ──up──▶ serving ──stop──▶ stopping ──ended──▶ serving
      ▲                 │ broken, kill    │ kill │ leave    │ kill
      └──────down───────┴────▶ dying ◀────┴──────┼──────────┘ interrupted: kill
                                 ▲    kill       ▼
                                 └─────────── leaving
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from ...pipeline.errors import ProtocolError
from ...pipeline.task import Assignment, Outcome, RunHeader
from .pace import MOST, PREFETCH
from .units import Fit


class State(Enum):
    EMPTY = "empty"
    """No process."""
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    """The head was asked to stop, and has its grace. If that has interrupted it, the process is not used again."""
    LEAVING = "leaving"
    """The process has nothing to do and was sent home: one that is made otherwise takes its place."""
    DYING = "dying"
    """The process was killed, or has said that it cannot work; it is gone with `down`."""


STEPS = {
    (State.EMPTY, "start"): State.STARTING,
    (State.STARTING, "up"): State.SERVING,
    (State.STARTING, "broken"): State.DYING,
    (State.STARTING, "kill"): State.DYING,
    (State.STARTING, "down"): State.EMPTY,
    (State.SERVING, "stop"): State.STOPPING,
    (State.SERVING, "leave"): State.LEAVING,
    (State.SERVING, "kill"): State.DYING,
    (State.SERVING, "down"): State.EMPTY,
    (State.STOPPING, "ended"): State.SERVING,
    (State.STOPPING, "kill"): State.DYING,
    (State.STOPPING, "down"): State.EMPTY,
    (State.LEAVING, "kill"): State.DYING,
    (State.LEAVING, "down"): State.EMPTY,
    (State.DYING, "up"): State.DYING,
    (State.DYING, "broken"): State.DYING,
    (State.DYING, "down"): State.EMPTY,
}


class Attempt:
    """A leased attempt that has not ended."""

    __slots__ = ("assignment", "doom", "estimate", "header", "lapsed", "lease", "shelved")

    def __init__(self, header: RunHeader, assignment: Assignment, now: float) -> None:
        self.header = header
        self.assignment = assignment
        self.lease = assignment.lease
        self.estimate = 0.0
        """Seconds that it was thought to take, when it was fed."""
        self.shelved = now
        """Since when it waits outside of all pipes."""
        self.doom = ""
        """`cancelled` or `recalled`: what becomes of it instead of a start."""
        self.lapsed = False
        """Its lease was not renewed in time."""

    @property
    def exclusive(self) -> bool:
        """It needs what may be somebody else's until it starts: it never waits in a pipe."""
        needs = self.assignment.needs
        return needs is not None and bool(needs.limits or needs.resources)

    @property
    def timeout(self) -> float | None:
        needs = self.assignment.needs
        return needs.timeout if needs is not None else None

    def __repr__(self) -> str:
        one = self.assignment
        return f"<{one.job}{list(one.path)} #{one.attempt} of {one.run}, lease {one.lease:x}>"


class Slot:
    __slots__ = (
        "asked", "backlog", "failures", "fifo", "fit", "full", "generation", "kill_at", "next_fit", "number", "pid",
        "retry_at", "since", "stale", "state", "up_at", "verdict", "why",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = State.EMPTY
        self.generation = 0
        """Which process of this slot it is."""
        self.pid = 0
        self.fit: Fit = ()
        """The indexed units that its process was made with,"""
        self.next_fit: Fit = ()
        """and those of the process after it."""
        self.stale = False
        """Its process has old code, and gets nothing more to do."""
        self.fifo: deque[Attempt] = deque()
        self.backlog = 0.0
        """Seconds of work in the pipe, the head's included, as estimated."""
        self.since = 0.0
        """When the head became the head."""
        self.full = False
        """The pipe has refused a packet, and nothing has ended since."""
        self.asked = False
        """Its waiting packets were taken back, and nothing has changed since."""
        self.why = ""
        """Why the head is being stopped, or the process killed."""
        self.verdict: Outcome | None = None
        """How the head says it ended, while its process and what came from it are still being killed."""
        self.kill_at = float("inf")
        self.up_at = float("inf")
        self.retry_at = float("inf")
        self.failures = 0
        """Processes in a row that were of no use."""

    @property
    def idle(self) -> bool:
        return self.state is State.SERVING and not self.fifo

    @property
    def spare(self) -> bool:
        """It is idle, and what waits elsewhere could begin here."""
        return self.idle and not self.fit and not self.stale

    @property
    def waiting(self) -> bool:
        return len(self.fifo) > 1

    def step(self, event: str) -> None:
        try:
            self.state = STEPS[self.state, event]
        except KeyError:
            raise ProtocolError(f"{self} cannot be told {event!r}") from None

    def accepts(self, now: float) -> bool:
        """May something be fed: at once, or to wait behind work that will soon be done?"""
        if self.state is not State.SERVING or self.full or self.stale:
            return False
        if not self.fifo:
            return True
        return self.backlog < PREFETCH and len(self.fifo) < MOST and now - self.since < PREFETCH

    def put(self, attempt: Attempt, estimate: float, now: float) -> None:
        if not self.fifo:
            self.since = now
        attempt.estimate = estimate
        self.fifo.append(attempt)
        self.backlog += estimate
        self.asked = False

    def remove(self, attempts: Iterable[Attempt]) -> None:
        """These were never begun."""
        gone = {attempt.lease for attempt in attempts}
        kept = [attempt for attempt in self.fifo if attempt.lease not in gone]
        self.fifo.clear()
        self.fifo.extend(kept)
        self.backlog = sum(attempt.estimate for attempt in kept)
        self.full = False  # what was in the pipe was taken out of it

    def end_head(self, now: float) -> None:
        self.backlog -= self.fifo.popleft().estimate
        if not self.fifo:
            self.backlog = 0.0
        self.since = now
        self.full = self.asked = False
        self.kill_at = float("inf")

    def reset(self) -> None:
        """Its process is gone."""
        self.fifo.clear()
        self.backlog = 0.0
        self.full = self.asked = self.stale = False
        self.fit = ()
        self.why = ""
        self.verdict = None
        self.kill_at = self.up_at = float("inf")

    def __repr__(self) -> str:
        return f"<slot {self.number}: {self.state.value}, process {self.generation}, {list(self.fifo)}>"
