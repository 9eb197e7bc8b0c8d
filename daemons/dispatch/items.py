"""An item: one attempt that the Router has been asked to see through, from its queue to its end.

held ──due──▶ queued ──grant──▶ leased ──stop──▶ stopping
                ▲                 │ │                │
                └────hand back────┘ └──────end───────┴──▶ ended
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from ...pipeline.errors import ProtocolError
from ...pipeline.facts import Path
from ...pipeline.task import Ready

if TYPE_CHECKING:
    from .members import BrokerMember
    from .queues import RunQueue
    from .runs import OpenRun

Key = tuple[str, Path]
"""An instance within its run: (job, path)."""


class State(Enum):
    HELD = "held"
    """It waits for its delay, or for the Brokers to come back after a restart of the Router."""
    QUEUED = "queued"
    LEASED = "leased"
    STOPPING = "stopping"
    """Leased, and asked to stop; it ends when its Broker says so or is lost."""
    ENDED = "ended"


STEPS = {
    (State.HELD, "queue"): State.QUEUED,
    (State.HELD, "adopt"): State.LEASED,
    (State.HELD, "end"): State.ENDED,
    (State.QUEUED, "grant"): State.LEASED,
    (State.QUEUED, "adopt"): State.LEASED,
    (State.QUEUED, "end"): State.ENDED,
    (State.LEASED, "hand back"): State.QUEUED,
    (State.LEASED, "stop"): State.STOPPING,
    (State.LEASED, "end"): State.ENDED,
    (State.STOPPING, "end"): State.ENDED,
}


class Item:
    """`lease` is 0 but for a leased one. `since` is when it was first queued: a hand-back does not change it."""

    __slots__ = ("broker", "granted", "lease", "queue", "ready", "run", "signal", "since", "state", "take")

    def __init__(self, run: OpenRun, ready: Ready, since: float) -> None:
        self.run = run
        self.ready = ready
        self.since = since
        self.state = State.HELD
        self.take = 0
        """The take under which the run's owner knows that it is here: it has asked for it, or was told."""
        self.lease = 0
        self.granted = 0.0
        self.broker: BrokerMember | None = None
        self.queue: RunQueue | None = None
        self.signal = b""
        """What its worker said last of how far it is, packed: [done, total, message]."""

    @property
    def key(self) -> Key:
        return self.ready.job, self.ready.path

    @property
    def patience(self) -> float | None:
        """Its queue_timeout."""
        return self.ready.needs.queue_timeout if self.ready.needs is not None else None

    @property
    def leased(self) -> bool:
        return self.lease != 0

    def step(self, event: str) -> None:
        try:
            self.state = STEPS[self.state, event]
        except KeyError:
            raise ProtocolError(f"{self} cannot {event}") from None

    def __repr__(self) -> str:
        where = f" lease {self.lease:x} on {self.broker.place}" if self.broker else ""
        ready = self.ready
        return f"<{ready.job}{list(ready.path)} #{ready.attempt} of {self.run.id}: {self.state.value}{where}>"
