"""An item: one attempt that the Router has been asked to see through, from its queue to its end.

held ──due──▶ queued ──grant──▶ leased ──stop──▶ stopping
                ▲                 │ │ │              │
                └────hand back────┘ │ └──────end─────┴──▶ ended
                └──── recalled ◀────┘ (it may have begun, and end)

One of a job that is a pipeline is *below* while the run that it is goes on (`below` has the whole of it).
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
    RECALLED = "recalled"
    """Leased, and asked back: it is handed back, or it had begun already and ends."""
    STOPPING = "stopping"
    """Leased, and asked to stop; it ends when its Broker says so or is lost."""
    BELOW = "below"
    """It is a run of its own, which goes on."""
    LEAVING = "leaving"
    """Below, and asked to stop: its run is being cancelled."""
    ENDED = "ended"

    __hash__ = object.__hash__  # in C: every step of every item looks itself up in a table


ON_LEASE = frozenset({State.LEASED, State.RECALLED, State.STOPPING})
STEPS = {
    (State.HELD, "queue"): State.QUEUED,
    (State.HELD, "adopt"): State.LEASED,
    (State.HELD, "end"): State.ENDED,
    (State.QUEUED, "grant"): State.LEASED,
    (State.QUEUED, "adopt"): State.LEASED,
    (State.QUEUED, "end"): State.ENDED,
    (State.LEASED, "hand back"): State.QUEUED,
    (State.LEASED, "recall"): State.RECALLED,
    (State.RECALLED, "hand back"): State.QUEUED,
    (State.RECALLED, "open"): State.BELOW,
    (State.RECALLED, "stop"): State.STOPPING,
    (State.RECALLED, "end"): State.ENDED,
    (State.LEASED, "stop"): State.STOPPING,
    (State.LEASED, "end"): State.ENDED,
    (State.STOPPING, "end"): State.ENDED,
    (State.HELD, "open"): State.BELOW,
    (State.LEASED, "open"): State.BELOW,
    (State.BELOW, "queue"): State.QUEUED,
    (State.BELOW, "stop"): State.LEAVING,
    (State.BELOW, "end"): State.ENDED,
    (State.LEAVING, "end"): State.ENDED,
}


class Item:
    """`lease` is 0 but for a leased one. `since` is when it was first queued: a hand-back does not change it."""

    __slots__ = (
        *("began", "broker", "child", "granted", "lease", "queue"),
        *("ready", "run", "signal", "since", "state", "take"),
    )

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
        self.child = ""
        """The run that it is, when its job is a pipeline,"""
        self.began = 0.0
        """and when that began, by the wall."""
        self.signal = b""
        """What its worker said last of how far it is, packed: [done, total, message]."""

    @property
    def key(self) -> Key:
        return self.ready.job, self.ready.path

    @property
    def priority(self) -> int:
        """Its job's, on top of its run's."""
        needs = self.ready.needs
        return self.run.options.priority + (needs.priority if needs is not None else 0)

    @property
    def queued_at(self) -> float:
        """When it was due at first."""
        return self.since + self.ready.delay

    @property
    def patience(self) -> float | None:
        """Its queue_timeout."""
        return self.ready.needs.queue_timeout if self.ready.needs is not None else None

    @property
    def leased(self) -> bool:
        return self.lease != 0

    @property
    def below(self) -> bool:
        return self.state in (State.BELOW, State.LEAVING)

    def step(self, event: str) -> None:
        try:
            self.state = STEPS[self.state, event]
        except KeyError:
            raise ProtocolError(f"{self} cannot {event}") from None

    def __repr__(self) -> str:
        where = f" lease {self.lease:x} on {self.broker.place}" if self.broker else ""
        ready = self.ready
        return f"<{ready.job}{list(ready.path)} #{ready.attempt} of {self.run.id}: {self.state.value}{where}>"
