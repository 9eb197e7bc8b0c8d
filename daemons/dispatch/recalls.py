"""Recalls: what waits in the pipes of a Broker is asked back when it would be better off elsewhere.

A Broker holds some 100 ms of work more than it runs. That is too much when

    work of higher priority is ready      and would have to wait behind it
    another Broker has nothing to do      and could do it, and it has waited for a while
    the Broker is drained

A recall is a request. The Broker gives back what has not begun, and that waits at its old place again; what has begun
goes on, and is not asked for a second time. Nothing is asked back for the sake of order within one priority: that would
cost more than it is worth.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from ..protocol import Recall
from .effects import Send
from .items import Item, State
from .members import BrokerMember
from .queues import Queues, Shape

STALE = 0.03
"""Seconds that something has to wait in a pipe, before an idle Broker is worth a recall."""
PAUSE = 0.05
"""Seconds between two recalls from one Broker."""
NEVER = float("inf")


class Recalls:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._ready_at: dict[str, float] = {}
        self.look_at = NEVER
        """When something will have waited for so long that it is worth a look."""

    def due(self, brokers: Iterable[BrokerMember], now: float) -> list[Send]:
        """To be called at the end of a turn, when everything that could be granted is granted."""
        self.look_at = NEVER
        sources = [broker for broker in brokers if broker.waiting]
        if not sources:
            return []
        idle = [broker for broker in brokers if broker.free > 0 and not broker.draining]
        sent: list[Send] = []
        for source in sources:
            urgent = self._is_urgent(source)
            if not urgent and (not idle or idle == [source]):
                continue
            ready_at = self._ready_at.get(source.identity, now)
            if ready_at > now:
                self.look_at = min(self.look_at, ready_at)
                continue
            items = self._behind_urgent(source) if urgent else []
            items = items or self._for_idle(source, idle, now)
            if items or urgent:
                self._ready_at[source.identity] = now + PAUSE
            if items:
                sent.append(ask_back(source, items))
        return sent

    def forget(self, broker: BrokerMember) -> None:
        self._ready_at.pop(broker.identity, None)

    def _is_urgent(self, source: BrokerMember) -> bool:
        """Is anything queued of higher priority than something that waits there? Asked in each turn: it is cheap."""
        queues = self._queues
        if not queues.size:
            return False
        return queues.tally.highest(queues.size) > source.tally.lowest(len(source.waiting))

    def _behind_urgent(self, source: BrokerMember) -> list[Item]:
        """What is of lower priority than something that the Broker could run instead."""
        urgent = self._queues.highest(source)
        if urgent is None:
            return []
        return [item for item in source.waiting.values() if item.priority < urgent]

    def _for_idle(self, source: BrokerMember, idle: list[BrokerMember], now: float) -> list[Item]:
        """The second half of what has waited there for long, as far as an idle Broker serves it."""
        if not idle or idle == [source]:
            return []
        waiting = list(takewhile(lambda item: item.granted + STALE <= now, source.waiting.values()))
        if not waiting:
            self.look_at = min(self.look_at, next(iter(source.waiting.values())).granted + STALE)
            return []
        lanes = self._queues.lanes
        others = [one for one in idle if one is not source]
        able = [item for item in waiting if _served(lanes.get(Shape.of(item.ready)), others)]
        return able[len(able) // 2 :]


def ask_back(broker: BrokerMember, items: Iterable[Item]) -> Send:
    """The message that asks for these, which wait in its pipes as far as is known here."""
    leases: list[int] = []
    for item in items:
        leases.append(item.lease)
        broker.wait_no_more(item)
        if item.state is State.LEASED:  # not one that is being stopped
            item.step("recall")
    return Send(broker.identity, Recall(leases), rests=False)


def _served(lane: object, brokers: Iterable[BrokerMember]) -> bool:
    return any(lane in broker.lanes for broker in brokers)
