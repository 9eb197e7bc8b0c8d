"""Who is there: Brokers and Pipeliners that have said Hello, with what they hold and when they were last heard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...pipeline.requirement import wanted
from ..protocol import BrokerCard
from .aisles import Aisle, Kind
from .items import Item
from .queues import Lane, Shape
from .tally import Tally

DIGITS = 9
"""Amounts of resources are counted to so many places, so that shares such as 0.1 neither add up to more than they
are nor leave something behind."""
DUST = 10.0**-DIGITS


@dataclass(slots=True, eq=False)
class BrokerMember:
    identity: str
    place: str
    session: str
    card: BrokerCard
    heard: float
    leases: dict[int, Item] = field(default_factory=dict)
    free: int = 0
    prefetch: int = 0
    granted: deque[int] = field(default_factory=deque)
    """Leases that its last credit did not know of yet."""
    waiting: dict[int, Item] = field(default_factory=dict)
    """Of its leases those that were granted to wait in a pipe, in the order of granting. Many have begun by now."""
    tally: Tally = field(default_factory=Tally)
    """The priorities of these."""
    lanes: dict[Lane, Aisle] = field(default_factory=dict)
    """The lanes it serves, and where they stand."""
    aisles: dict[Kind, Aisle] = field(default_factory=dict)
    roles_used: dict[str, int] = field(default_factory=dict)
    resources_used: dict[str, float] = field(default_factory=dict)
    workers: frozenset[str] = frozenset()
    draining: bool = False
    busy: int = 0
    hellos: int = 0
    """The number of the last Hello that was heard."""

    def wait(self, item: Item) -> None:
        """It was granted to wait in a pipe."""
        self.waiting[item.lease] = item
        self.tally.add(item.priority, 1)

    def wait_no_more(self, item: Item) -> None:
        if self.waiting.pop(item.lease, None) is not None:
            self.tally.add(item.priority, -1)

    def rejoin(self, session: str, card: BrokerCard, now: float) -> None:
        self.session, self.card, self.heard = session, card, now
        self.granted.clear()
        self.free = self.prefetch = 0
        self.roles_used.clear()
        self.resources_used.clear()
        for item in self.leases.values():  # what they take depends on what the card offers
            self.occupy(Lane(Shape.of(item.ready)), 1)

    def credit(self, free: int, prefetch: int, seen: int) -> None:
        while self.granted and self.granted[0] <= seen:
            self.granted.popleft()
        unknown = len(self.granted)
        self.free = max(0, free - unknown)
        self.prefetch = max(0, prefetch - max(0, unknown - free))

    def serves(self, lane: Lane) -> bool:
        """Could it ever run items of this lane?"""
        shape = lane.shape
        if shape.worker not in self.workers:
            return False
        roles = self.card.roles
        if shape.role is not None and roles is not None and not wanted(shape.role).met_by(roles):
            return False
        return all(self.card.resources.get(name, 0.0) >= amount for name, amount in shape.resources)

    def has_room(self, lane: Lane) -> bool:
        """Has it the role slots and resources for one more item of this lane now?"""
        return self.has_role(lane.shape.role) and self.has_resources(lane)

    def has_role(self, role: str | None, beside: str | None = None) -> bool:
        """Is a slot free of every role that a job of this requirement takes one of, also when one of the other
        requirement takes its own?"""
        if role is None:
            return True
        roles, used = self.card.roles or {}, self.roles_used
        others = self._taken(beside) if beside is not None else ()
        return all(used.get(name, 0) + (name in others) < roles[name] for name in self._taken(role))

    def has_resources(self, lane: Lane, beside: Lane | None = None) -> bool:
        """Is there enough for an item of this lane, also when one of the other takes its share?"""
        used, offered = self.resources_used, self.card.resources
        others = dict(beside.shape.resources) if beside is not None else {}
        return all(
            used.get(name, 0.0) + amount + others.get(name, 0.0) <= offered.get(name, 0.0) + DUST
            for name, amount in lane.shape.resources
        )

    def occupy(self, lane: Lane, sign: int) -> None:
        for role in self._taken(lane.shape.role):
            self.roles_used[role] = self.roles_used.get(role, 0) + sign
        for name, amount in lane.shape.resources:
            self.resources_used[name] = round(self.resources_used.get(name, 0.0) + sign * amount, DIGITS)

    def _taken(self, role: str | None) -> tuple[str, ...]:
        """The roles that a job of this requirement takes a slot of: each that it names and the Broker has."""
        roles = self.card.roles
        if role is None or roles is None:
            return ()
        return (role,) if role in roles else wanted(role).among(roles)


@dataclass(slots=True, eq=False)
class PipelinerMember:
    identity: str
    place: str
    session: str
    heard: float
    runs: set[str] = field(default_factory=set)
    hellos: int = 0
    refused: set[str] = field(default_factory=set)
    """Runs that it was told to drop when it greeted, and that its last greeting lists: it may not have heard of that
    before it greeted anew, and hold them no more when the answer comes. It is given these whole."""
