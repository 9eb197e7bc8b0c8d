"""What a Broker could be given next, without a look at every lane.

Lanes that differ in nothing but their workers and how much they need stand in one aisle of a Broker: its role slots and
the cluster's limits are free for all of them or for none. An aisle has its lanes in a heap, by the key of the queue
whose turn it is. The keys there are never behind: a lane that gets a better one is entered anew,
and one whose best queue has gone is put where it belongs when it comes to the top.

Of lanes that need more than there is at the moment only so many are passed over: what is beyond waits until something
ends. So a grant costs the same however many kinds of work there are.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .members import BrokerMember
    from .promises import Promise
    from .queues import Lane, OrderKey, RunQueue, Shape

DEPTH = 64
"""Lanes that are passed over, because they need more than there is now, in the search for one that does not."""


class Kind(NamedTuple):
    """What the lanes of an aisle have in common."""

    role: str | None
    limits: tuple[str, ...]
    lenient: bool
    resources: tuple[str, ...]

    @staticmethod
    def of(shape: Shape) -> Kind:
        return Kind(shape.role, shape.limits, shape.lenient, tuple(name for name, _ in shape.resources))


class Aisle:
    """The lanes of one kind that one Broker serves."""

    __slots__ = ("exclusive", "heap", "kind", "lanes", "shape", "standing")

    def __init__(self, shape: Shape) -> None:
        self.kind = Kind.of(shape)
        self.shape = shape
        """Of one of its lanes: good for what they have in common."""
        self.exclusive = shape.exclusive
        self.lanes = 0
        self.heap: list[tuple[OrderKey, int, Lane]] = []
        self.standing: dict[Lane, OrderKey] = {}
        """The key under which a lane stands in the heap; other entries of it are left-overs."""

    def enter(self, lane: Lane, key: OrderKey) -> None:
        """The lane has a queue with this key."""
        known = self.standing.get(lane)
        if known is None or key < known:
            self.standing[lane] = key
            heappush(self.heap, (key, lane.number, lane))

    def first(
        self,
        broker: BrokerMember,
        below: OrderKey | None,
        bar: Promise | None,
        beside: Promise | None,
        set_aside: Callable[[RunQueue], None],
    ) -> RunQueue | None:
        """The first queue that this Broker has the resources for now, when its key is lower than `below` and it goes
        before the `bar`. What does not go before `beside` leaves enough for that."""
        heap, standing = self.heap, self.standing
        passed: list[tuple[OrderKey, int, Lane]] = []
        found: RunQueue | None = None
        while heap:
            key, number, lane = heap[0]
            if below is not None and not key < below:
                break
            if standing.get(lane) != key:
                heappop(heap)
                continue
            queue = lane.head(set_aside)
            if queue is None:
                heappop(heap)
                del standing[lane]
            elif queue.key != key:
                standing[lane] = queue.key
                heapreplace(heap, (queue.key, number, lane))
            elif bar is not None and not bar.goes_after(queue):
                break
            elif self.kind.resources and not _has_room(broker, queue, beside):
                passed.append(heappop(heap))
                if len(passed) >= DEPTH:
                    break
            else:
                found = queue
                break
        for entry in passed:
            heappush(heap, entry)
        return found


def _has_room(broker: BrokerMember, queue: RunQueue, beside: Promise | None) -> bool:
    if beside is None or beside.goes_after(queue):
        return broker.has_resources(queue.lane)
    return broker.has_resources(queue.lane, beside.lane)
