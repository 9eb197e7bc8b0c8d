"""What a Broker tells the Router: all when it joins, what has changed at the end of each turn, and heartbeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...workers.messages import WorkerCard
from ..protocol import Beat, BrokerCard, HandedBack, Hello, Outcomes, ToRouter
from . import sharing
from .credit import CreditLine
from .errands import Errands
from .ledger import Ledger
from .pace import Pace
from .slot import Slot


@dataclass(frozen=True, slots=True)
class Offer:
    """What a Broker is, as far as its owner decides it."""

    slots: int
    place: str = ""
    release: str = ""
    roles: dict[str, int] | None = None
    resources: dict[str, float] = field(default_factory=dict)
    units: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the units of those resources that are indexed."""


class Reporting:
    def __init__(self, offer: Offer, slots: Sequence[Slot], ledger: Ledger, pace: Pace) -> None:
        self.offer = offer
        self.errands = Errands()
        self.credit = CreditLine()
        self.cards: tuple[WorkerCard, ...] | None = None
        """What the worker processes can run; None until one came up."""
        self.values_id: str | None = None
        self.succeeds: tuple[str, ...] = ()
        """Brokers of which nothing is left on this machine."""
        self.greeted = float("-inf")
        """When the last Hello was made: leases are renewed by its answer from then on."""
        self._slots = slots
        self._ledger = ledger
        self._pace = pace
        self._welcomed = False
        """The Router has our last Hello: from now on it is told what changes."""

    def hello(self, now: float) -> Hello:
        """The whole state."""
        self.greeted = now
        self._welcomed = False
        self._ledger.handed_back()  # what is not held says the same
        return Hello(
            "broker",
            self.offer.place,
            release=self.offer.release,
            card=self._card(),
            held=self._ledger.held(),
            outcomes=self._ledger.delivery.all_told(now),
            values_id=self.values_id,
            succeeds=self.succeeds,
        )

    def welcomed(self) -> list[ToRouter]:
        """What a new session has to be told besides."""
        self._welcomed = True
        self.credit.reset()
        return list(self.errands.open())

    def beat(self, now: float) -> Beat:
        """Everything that is held: what is missing here goes back to the queue."""
        idle = sum(slot.idle for slot in self._slots)
        busy = sum(bool(slot.fifo) for slot in self._slots)
        return Beat(now, self._ledger.seen, self._ledger.leases(), idle, busy)

    def news(self, now: float, taking: bool) -> list[ToRouter]:
        """What has changed since the last time. `taking`: we take work."""
        if not self._welcomed:
            return []
        told: list[ToRouter] = []
        if fresh := self._ledger.delivery.fresh(now):
            told.append(Outcomes(fresh))
        if leases := self._ledger.handed_back():
            told.append(HandedBack(leases))
        if signals := self.errands.signals():
            told.append(signals)
        free = prefetch = 0
        if taking and not self._ledger.delivery.full:
            free, prefetch = sharing.offer(self._slots, len(self._ledger.shelf), self._pace, now)
        step = max(1, self._pace.room() * len(self._slots) // 4)
        if credit := self.credit.news(free, prefetch, step):
            told.append(credit)
        return told

    def _card(self) -> BrokerCard:
        cards = self.cards or ()
        return BrokerCard(
            self.offer.slots,
            tuple(card.name for card in cards),
            self.offer.roles,
            self.offer.resources,
            versions={card.name: card.version for card in cards},
        )
