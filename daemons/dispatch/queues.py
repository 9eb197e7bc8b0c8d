"""Ready work, waiting for a Broker.

Items of one shape (worker, role, resources, limits) stand in one lane; in a lane every run has a queue of its own, in
order of arrival. Lanes order their runs by a key that never changes: priority, raised by the age of the run. So
nothing is scanned and nothing starves: with time an old run of low priority comes before a new one of high. Within a
priority, runs that were accepted first are finished first.

A Broker has the lanes that it serves in aisles (`aisles`), so that none is looked at in vain; what cannot get through
between others is promised a place (`promises`). Lanes that have long been empty go when new ones come: so there are
never many more of them than what waits has shapes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from ...pipeline.subruns import COLLECT, PREPARE
from ...pipeline.task import COMMAND, Ready
from .aisles import Aisle, Kind
from .items import Item, State
from .promises import Promises
from .switches import Switches
from .tally import Tally

if TYPE_CHECKING:
    from .members import BrokerMember
    from .runs import OpenRun

AGEING = 60.0
"""Seconds of waiting that are worth one point of priority."""
SPARE_LANES = 64
"""As many lanes may stand empty before any is dropped."""


_OURS = {COMMAND: "a command", PREPARE: "the data of a sub-run", COLLECT: "the results of a sub-run"}


class Shape(NamedTuple):
    worker: str
    role: str | None = None
    resources: tuple[tuple[str, float], ...] = ()
    limits: tuple[str, ...] = ()
    lenient: bool = False

    @staticmethod
    def of(ready: Ready) -> Shape:
        needs = ready.needs
        if needs is None:
            return Shape(ready.worker)
        limits = tuple(sorted(set(needs.limits))) if len(needs.limits) > 1 else needs.limits
        return Shape(ready.worker, needs.role, tuple(sorted(needs.resources.items())), limits, needs.lenient)

    @property
    def exclusive(self) -> bool:
        """Items of this shape are never prefetched: what they need must be free at the moment they start."""
        return bool(self.resources or self.limits)

    def __str__(self) -> str:
        parts = [_OURS.get(self.worker, f"worker {self.worker}")]
        if self.role is not None:
            parts.append(f"role {self.role}")
        parts += [f"{amount:g} {name}" for name, amount in self.resources]
        return ", ".join(parts)


OrderKey = tuple[float, int, int]


class RunQueue:
    """The items of one run (and priority) in one lane, in order of arrival. Ended items leave lazily."""

    __slots__ = ("items", "key", "lane", "priority", "run", "waiting")

    def __init__(self, lane: Lane, run: OpenRun, priority: int) -> None:
        self.key: OrderKey = (run.accepted_at / AGEING - priority, run.number, -priority)
        self.lane = lane
        self.run = run
        self.priority = priority
        self.items: deque[Item] = deque()
        self.waiting = False
        """It stands in its lane's heap; otherwise it is empty or set aside."""

    def __lt__(self, other: RunQueue) -> bool:
        return self.key < other.key

    def blocked(self) -> bool:
        """Nothing of it may be started now."""
        return self.lane.paused or self.run.blocked()

    def head(self) -> Item | None:
        items = self.items
        while items:
            item = items[0]
            if item.state is State.QUEUED and item.queue is self:
                return item
            items.popleft()
        return None


class Lane:
    """All queued items of one shape."""

    __slots__ = ("aisles", "heap", "number", "paused", "queues", "scarce", "served", "shape", "size")

    def __init__(self, shape: Shape, number: int = 0) -> None:
        self.shape = shape
        self.number = number
        self.paused = False
        """Its role is, or everything."""
        self.scarce = shape.exclusive or shape.role is not None
        """What its items need can be used up by others."""
        self.served = float("-inf")
        """When something of it was granted last."""
        self.aisles: dict[Aisle, None] = {}
        """Where it stands, one for each Broker that serves it."""
        self.heap: list[RunQueue] = []
        self.size = 0
        self.queues: dict[tuple[str, int], RunQueue] = {}
        """By run and priority: the lane goes with the last one."""

    def enter(self, queue: RunQueue) -> None:
        """The queue has something that may start."""
        queue.waiting = True
        heappush(self.heap, queue)
        if self.heap[0] is queue:
            for aisle in self.aisles:
                aisle.enter(self, queue.key)

    def head(self, set_aside: Callable[[RunQueue], None]) -> RunQueue | None:
        """The queue whose turn it is. Queues of runs that may not start anything now are set aside."""
        heap = self.heap
        while heap:
            queue = heap[0]
            if queue.head() is None:
                queue.waiting = False
                heappop(heap)
            elif queue.blocked():
                queue.waiting = False
                set_aside(heappop(heap))
            else:
                return queue
        return None


class Queues:
    """All lanes, the cluster's limits, and the choice of the next item for a Broker."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = limits
        self.used: dict[str, int] = dict.fromkeys(limits, 0)
        self.lanes: dict[Shape, Lane] = {}
        self.size = 0
        self._aside: dict[str, dict[RunQueue, None]] = {}
        self.switches = Switches()
        self.tally = Tally()
        self.promises = Promises(self)
        self._made = 0
        self._sweep_at = SPARE_LANES
        self._brokers: list[BrokerMember] = []

    # Brokers come and go ----------------------------------------------------------------------------------------

    def add_broker(self, broker: BrokerMember) -> None:
        self._brokers.append(broker)
        for lane in self.lanes.values():
            self._place(broker, lane)

    def remove_broker(self, broker: BrokerMember) -> None:
        self._brokers.remove(broker)
        for lane, aisle in broker.lanes.items():
            del lane.aisles[aisle]
        broker.lanes, broker.aisles = {}, {}

    # Items come and go ------------------------------------------------------------------------------------------

    def push(self, item: Item) -> None:
        """Put a queued item at the end of its queue."""
        queue = self._queue_of(item)
        item.queue = queue
        queue.items.append(item)
        self._enter(queue)

    def push_back(self, item: Item) -> None:
        """Put a handed-back item at its old place: the front."""
        queue = self._queue_of(item)
        item.queue = queue
        queue.items.appendleft(item)
        self._enter(queue)

    def leave(self, item: Item, granted: float | None = None) -> None:
        """A queued item was granted (at this time) or has ended. Its place in the deque is dropped lazily."""
        queue = item.queue
        assert queue is not None
        item.queue = None
        queue.lane.size -= 1
        if granted is not None:
            queue.lane.served = granted
        self.size -= 1
        if queue.priority:
            self.tally.add(queue.priority, -1)

    def turn(self, role: str | None, on: bool) -> None:
        """Pause a role, or (None) everything; or let it go on."""
        self.switches.turn(role, on)
        for lane in self.lanes.values():
            lane.paused = bool(self.switches.keeps(lane.shape.role))
        for run in list(self._aside) if not on else ():
            self._wake(run)

    def wake(self, run: OpenRun) -> None:
        """The run may start items again."""
        self._wake(run.id)

    def _wake(self, run: str) -> None:
        for queue in self._aside.pop(run, ()):
            if not queue.waiting and queue.head() is not None:
                queue.lane.enter(queue)

    def forget(self, run: OpenRun) -> None:
        """The run is over."""
        self._aside.pop(run.id, None)
        queues, run.queues = run.queues, {}
        for queue in queues:
            queue.items.clear()
            del queue.lane.queues[run.id, queue.priority]
            if not queue.lane.queues:
                self._drop(queue.lane)

    def choose(self, broker: BrokerMember, prefetch: bool) -> Item | None:
        """The next item for this Broker, or None. The caller grants it."""
        promises = self.promises if self.promises else None
        promise = promises.of(broker) if promises else None
        fits = promise is not None and self.limits_free(promise.lane.shape) and broker.has_room(promise.lane)
        best: RunQueue | None = None
        for aisle in broker.aisles.values():
            if not aisle.heap or (prefetch and aisle.exclusive):
                continue
            if not self.limits_free(aisle.shape) or not broker.has_role(aisle.kind.role):
                continue
            bar = promises.bar(aisle, broker, promise, fits) if promises else None
            below = best.key if best is not None else None
            best = aisle.first(broker, below, bar, promise, self._set_aside) or best
        if best is None and promise is not None and fits and not (prefetch and promise.lane.shape.exclusive):
            best = promise.queue
        return best.head() if best else None

    def first_of(self, lane: Lane) -> RunQueue | None:
        """The queue of a lane whose turn it is."""
        return lane.head(self._set_aside)

    def highest(self, broker: BrokerMember) -> int | None:
        """The highest priority of what waits for a place in this Broker's pipes, and could have one now."""
        found = [
            queue.priority
            for aisle in broker.aisles.values()
            if aisle.heap and not aisle.exclusive and broker.has_role(aisle.kind.role)
            for lane in aisle.standing
            for queue in lane.heap
            if queue.head() is not None and not queue.blocked()
        ]
        return max(found, default=None)

    # Limits -----------------------------------------------------------------------------------------------------

    def limits_free(self, shape: Shape) -> bool:
        return not any(self.taken(name) for name in self.counted(shape))

    def counted(self, shape: Shape) -> tuple[str, ...]:
        """The limits that count for a shape: all that it names, or those of them that there are."""
        if not shape.lenient:
            return shape.limits
        return tuple(name for name in shape.limits if name in self.limits)

    def occupy(self, shape: Shape, sign: int) -> None:
        for name in self.counted(shape):
            self.used[name] = self.used.get(name, 0) + sign

    def taken(self, limit: str) -> bool:
        return self.used.get(limit, 0) >= self.limits.get(limit, 0)

    # Inside -----------------------------------------------------------------------------------------------------

    def _queue_of(self, item: Item) -> RunQueue:
        run, lane = item.run, self._lane(Shape.of(item.ready))
        priority = item.priority
        queue = lane.queues.get((run.id, priority))
        if queue is None:
            queue = lane.queues[run.id, priority] = RunQueue(lane, run, priority)
            run.queues[queue] = None
        return queue

    def _enter(self, queue: RunQueue) -> None:
        queue.lane.size += 1
        self.size += 1
        if queue.priority:
            self.tally.add(queue.priority, 1)
        if queue.waiting:
            return
        if queue.blocked():
            self._set_aside(queue)
        else:
            queue.lane.enter(queue)

    def _set_aside(self, queue: RunQueue) -> None:
        self._aside.setdefault(queue.run.id, {})[queue] = None

    def _lane(self, shape: Shape) -> Lane:
        lane = self.lanes.get(shape)
        if lane is None:
            if len(self.lanes) >= self._sweep_at:
                self._sweep()
            self._made += 1
            lane = self.lanes[shape] = Lane(shape, self._made)
            lane.paused = bool(self.switches.keeps(shape.role))
            for broker in self._brokers:
                self._place(broker, lane)
        return lane

    def _place(self, broker: BrokerMember, lane: Lane) -> None:
        if not broker.serves(lane):
            return
        kind = Kind.of(lane.shape)
        aisle = broker.aisles.get(kind)
        if aisle is None:
            aisle = broker.aisles[kind] = Aisle(lane.shape)
        aisle.lanes += 1
        broker.lanes[lane] = aisle
        lane.aisles[aisle] = None
        if lane.heap:
            aisle.enter(lane, lane.heap[0].key)

    def _sweep(self) -> None:
        """Drop the lanes that stand empty; the next time is when there are twice as many as stay."""
        for lane in [one for one in self.lanes.values() if not one.size]:
            for queue in lane.queues.values():
                del queue.run.queues[queue]
                self._aside.get(queue.run.id, {}).pop(queue, None)
            self._drop(lane)
        self._sweep_at = 2 * len(self.lanes) + SPARE_LANES

    def _drop(self, lane: Lane) -> None:
        del self.lanes[lane.shape]
        for broker in self._brokers:
            aisle = broker.lanes.pop(lane, None)
            if aisle is not None:
                aisle.standing.pop(lane, None)
                aisle.lanes -= 1
                if not aisle.lanes:
                    del broker.aisles[aisle.kind]
