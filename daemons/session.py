"""The peer's side of membership: how a Broker or a Pipeliner joins, stays and joins again.

It knows its session, the epoch it joined, and the numbers of envelopes both ways; it knows nothing of jobs. The owner
gives it what to say and asks what came. Whenever the two sides may differ (the Router restarted, an envelope is
missing, `Again`, silence) there is one remedy: a new session that opens with a `Hello` holding the whole state. `STEPS`
is the table of where it stands; what has no step there changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec

from .protocol import PROTOCOL, Again, Beat, FromRouter, Hello, Inbound, Outbound, Pulse, Refuse, ToRouter, Welcome

logger = logging.getLogger(__name__)

HEARTBEAT = 2.0
LEASE_TIME = 8.0
REFUSED_PAUSE = 5.0
SILENT_BEATS = 3


class Standing(Enum):
    GREETING = "greeting"
    JOINED = "joined"
    REFUSED = "refused"


STEPS: Mapping[tuple[Standing, str], Standing] = {
    (Standing.GREETING, "Welcome"): Standing.JOINED,
    (Standing.GREETING, "Refuse"): Standing.REFUSED,
    (Standing.JOINED, "Again or a gap or another epoch or silence"): Standing.GREETING,
    (Standing.JOINED, "Refuse"): Standing.REFUSED,
    (Standing.REFUSED, "Welcome"): Standing.JOINED,
    (Standing.REFUSED, "a pause is over"): Standing.GREETING,
    (Standing.REFUSED, "Again or a gap or another epoch or silence"): Standing.GREETING,
}


class Session:
    """`greet` makes the owner's Hello; `new_id` makes session names."""

    def __init__(self, identity: str, greet: Callable[[], Hello], new_id: Callable[[], str]) -> None:
        self.identity = identity
        self.standing = Standing.GREETING
        self.epoch = 0
        self.reason = ""
        self.heartbeat = HEARTBEAT
        self.lease_time = LEASE_TIME
        self.welcome: Welcome | None = None
        self.renewed = float("-inf")
        """The moment of our clock up to which the Router has heard of us: leases run from here."""
        self.received = 0
        self._greet = greet
        self._new_id = new_id
        self._session = ""
        self._hellos = 0
        self._heard_of = 0
        """The epoch of what has come last: a Hello says that it was made after that."""
        self._sent = 0
        self._next = float("-inf")
        self._heard = float("-inf")

    @property
    def joined(self) -> bool:
        return self.standing is Standing.JOINED

    def wrap(self, messages: list[ToRouter]) -> Inbound:
        """An envelope for these messages; only of a session that has joined, or for its Hello."""
        self._sent += 1
        return Inbound(PROTOCOL, self.identity, self._session, self._sent, messages)

    def due(self, now: float, beat: Callable[[float, int], Beat]) -> Inbound | None:
        """What has to be said by now: a Hello while greeting, a heartbeat while joined."""
        if self.joined and now - self._heard > SILENT_BEATS * self.heartbeat:
            self.rejoin(now, "the Router is silent")
        if now < self._next:
            return None
        self._next = now + self.heartbeat
        if self.joined:
            return self.wrap([beat(now, self.received)])
        self._step("a pause is over")
        return self._hello()

    def next_deadline(self) -> float:
        if self.joined:
            return min(self._next, self._heard + SILENT_BEATS * self.heartbeat)
        return self._next

    def receive(self, envelope: Outbound, now: float) -> list[FromRouter]:
        """The messages that the owner has to handle; membership is handled here."""
        if envelope.session != self._session:
            return []
        self._heard_of = envelope.epoch
        if self.joined and envelope.epoch != self.epoch:
            return self.rejoin(now, f"the Router's epoch went from {self.epoch} to {envelope.epoch}")
        if envelope.number != self.received + 1:
            return self.rejoin(now, f"envelopes {self.received + 1} to {envelope.number - 1} are missing")
        self.received = envelope.number
        self._heard = now
        passed: list[FromRouter] = []
        for message in envelope.messages:
            match message:
                case Welcome():
                    self._join(message, envelope.epoch, now)
                    passed.append(message)
                case Pulse() if not message.stamp <= now:
                    pass  # no stamp of ours
                case Pulse():
                    self.renewed = max(self.renewed, message.stamp)
                    passed.append(message)
                case Again():
                    return [*passed, *self.rejoin(now, "the Router asked for it")]
                case Refuse():
                    self._step("Refuse")
                    self.reason = message.reason
                    self._next = now + REFUSED_PAUSE
                    passed.append(message)
                case _:
                    passed.append(message)
        return passed

    def rejoin(self, now: float, why: str) -> list[FromRouter]:
        """Open a new session at the first `due` from `now` on."""
        if self.joined:
            logger.info("joining again: %s", why)
        self._step("Again or a gap or another epoch or silence")
        self._next = now
        return []

    def _step(self, event: str) -> None:
        self.standing = STEPS.get((self.standing, event), self.standing)

    def _hello(self) -> Inbound:
        self._session = self._new_id()
        self._sent = 0
        self.received = 0
        self._hellos += 1
        return self.wrap([msgspec.structs.replace(self._greet(), count=self._hellos, epoch=self._heard_of)])

    def _join(self, welcome: Welcome, epoch: int, now: float) -> None:
        self._step("Welcome")
        self.welcome = welcome
        self.epoch = epoch
        self.heartbeat = welcome.heartbeat
        self.lease_time = welcome.lease_time
        self._next = now
