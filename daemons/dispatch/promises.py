"""Promises: nothing starves that needs much at once.

An item that needs several units of something, several limits, or just a slot that nobody has filled in advance, could
wait for ever while small ones use whatever becomes free. When nothing of its kind has been started for a while, it is
promised a Broker. From then on:

    it lacks nothing but a slot            nobody else is given a slot there, and none is filled in advance
    it lacks resources or role slots       others there get what is left beside what it needs
    it needs several limits                others get what is left beside what it needs, everywhere

The first is soon over: it is promised soon, and what comes before it in the order of the queues still goes first. The
others let something lie idle until enough has come together, and nobody knows for how long: these are promised only to
what is really old, and then only higher priority goes first. Promises are made anew again and again, for those that
have waited longest, one per Broker. They are no facts: a Router that begins anew makes new ones. Whoever waits because
of one is told (`reasons`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .items import Item, State

if TYPE_CHECKING:
    from .aisles import Aisle
    from .members import BrokerMember
    from .queues import Lane, Queues, RunQueue

OVERDUE = 1.0
"""Seconds of waiting after which an item is promised a slot,"""
AGED = 10.0
"""and after which resources and limits are held for it."""
EVERY = 0.25
"""Seconds between two looks, at least."""
LANES_PER_SECOND = 4000
"""As many lanes are looked at."""


class Promise:
    __slots__ = ("aged", "item", "key", "lane", "made", "queue", "since")

    def __init__(self, queue: RunQueue, item: Item, now: float) -> None:
        self.queue = queue
        self.item = item
        self.since = max(item.queued_at, queue.lane.served)
        """Since when nothing of its kind was started."""
        self.aged = self.since + AGED <= now
        self.lane = queue.lane
        self.key = queue.key
        self.made = now
        """Since when it is given, however often that was said again."""

    def goes_on(self, before: Promise | None) -> Promise:
        """It may be what was promised before."""
        if before is not None and before.item is self.item:
            self.made = before.made
        return self

    @property
    def stands(self) -> bool:
        """It waits, and may start."""
        return self.item.state is State.QUEUED and self.item.queue is self.queue and not self.queue.blocked()

    def goes_after(self, queue: RunQueue) -> bool:
        return queue.priority > self.queue.priority if self.aged else queue.key < self.key


class Promises:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._by_broker: dict[str, Promise] = {}
        self._by_limit: dict[str, Promise] = {}
        self._next = float("-inf")

    def __bool__(self) -> bool:
        return bool(self._by_broker or self._by_limit)

    def of(self, broker: BrokerMember) -> Promise | None:
        found = self._by_broker.get(broker.identity)
        if found is not None and not found.stands:
            del self._by_broker[broker.identity]
            return None
        return found

    def bar(self, aisle: Aisle, broker: BrokerMember, promise: Promise | None, fits: bool) -> Promise | None:
        """What stands in this aisle has to go before this promise to be given anything; None: it need not. `fits`: the
        Broker's promise could be kept now, were there a slot."""
        if promise is not None and (fits or not broker.has_role(aisle.kind.role, beside=promise.lane.shape.role)):
            return promise
        for name in aisle.kind.limits if self._by_limit else ():
            held = self._by_limit.get(name)
            if held is None or not held.stands or held.lane.shape.limits == aisle.kind.limits:
                continue
            if self._is_last(name):
                return held
        return None

    def _is_last(self, limit: str) -> bool:
        """Is there one slot of this limit left, at most?"""
        return self._queues.used.get(limit, 0) + 1 >= self._queues.limits.get(limit, 0)

    # Telling of them --------------------------------------------------------------------------------------------

    def keeps(self, broker: BrokerMember, queue: RunQueue) -> Promise | None:
        """What this Broker keeps a place for, that would do for this queue: a slot, or resources."""
        promise, lane = self.of(broker), queue.lane
        if promise is None or promise.queue is queue or promise.goes_after(queue):
            return None
        if self._queues.limits_free(promise.lane.shape) and broker.has_room(promise.lane):
            return promise
        if broker.has_role(lane.shape.role) and not broker.has_role(lane.shape.role, beside=promise.lane.shape.role):
            return promise
        enough = broker.has_resources(lane) and not broker.has_resources(lane, promise.lane)
        return promise if enough else None

    def holds(self, queue: RunQueue) -> tuple[str, Promise] | None:
        """A limit that is not taken, and is held for others."""
        for name in queue.lane.shape.limits:
            held = self._by_limit.get(name)
            if held is None or not held.stands or held.queue is queue or held.goes_after(queue):
                continue
            if held.lane.shape.limits != queue.lane.shape.limits and self._is_last(name):
                return name, held
        return None

    def given(self, item: Item) -> Iterator[tuple[str, Promise]]:
        """Brokers (by identity) and limits of which a place is promised to this item."""
        for promises in (self._by_broker, self._by_limit):
            yield from ((name, one) for name, one in promises.items() if one.item is item and one.stands)

    # Making them ------------------------------------------------------------------------------------------------

    def look(self, brokers: Iterable[BrokerMember], now: float) -> None:
        """Make promises anew, when it is time for that."""
        if now < self._next:
            return
        self._next = now + EVERY + len(self._queues.lanes) / LANES_PER_SECOND
        before, self._by_broker = self._by_broker, {}
        held, self._by_limit = self._by_limit, {}
        free = [broker for broker in brokers if not broker.draining]
        for promise in self._overdue(now):
            if not free and not promise.lane.shape.limits:
                continue
            able = [broker for broker in free if promise.lane in broker.lanes]
            if not self._queues.limits_free(promise.lane.shape):
                if promise.aged and able:
                    self._hold_limits(promise, held)
                continue
            chosen = self._best(able, promise, before)
            if chosen is not None:
                self._by_broker[chosen.identity] = promise.goes_on(before.get(chosen.identity))
                free.remove(chosen)

    def _overdue(self, now: float) -> list[Promise]:
        found: list[tuple[float, int, Promise]] = []
        for lane in self._queues.lanes.values():
            if lane.size and lane.scarce and (queue := self._queues.first_of(lane)) is not None:
                promise = Promise(queue, item, now) if (item := queue.head()) is not None else None
                if promise is not None and promise.since + OVERDUE <= now:
                    found.append((promise.since, lane.number, promise))
        found.sort(key=lambda one: one[:2])
        return [promise for *_, promise in found]

    def _hold_limits(self, promise: Promise, held: dict[str, Promise]) -> None:
        names = self._queues.counted(promise.lane.shape)
        if len(names) > 1:
            for name in names:
                self._by_limit.setdefault(name, promise.goes_on(held.get(name)))

    def _best(self, able: Iterable[BrokerMember], promise: Promise, before: dict[str, Promise]) -> BrokerMember | None:
        """Where it lacks least; where it was promised before, if nothing speaks against that."""
        ranked: list[tuple[float, bool, int, BrokerMember]] = []
        for broker in able:
            lacks = _shortage(broker, promise.lane)
            known = before.get(broker.identity)
            if lacks <= 0 or promise.aged:
                ranked.append((lacks, known is None or known.item is not promise.item, -broker.free, broker))
        return min(ranked, key=lambda one: one[:3])[3] if ranked else None


def _shortage(broker: BrokerMember, lane: Lane) -> float:
    """How much is missing there for an item of this lane, as a part of what there is; 0: nothing but a slot."""
    if not broker.has_role(lane.shape.role):
        return 1.0
    if broker.has_resources(lane):
        return 0.0
    lacks = 0.0
    for name, amount in lane.shape.resources:
        offered = broker.card.resources.get(name, 0.0)
        lacks += max(0.0, broker.resources_used.get(name, 0.0) + amount - offered) / (offered or 1.0)
    return lacks
