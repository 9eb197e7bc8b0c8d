"""Ready work, waiting for a Broker.

Items of one shape (worker, role, resources, limits) stand in one lane; in a lane every run has a queue of its own, in
order of arrival. Lanes order their runs by a key that never changes: priority, raised by the age of the run. So
nothing is scanned and nothing starves: with time an old run of low priority comes before a new one of high. Within a
priority, runs that were accepted first are finished first.

Brokers with the same abilities see the same lanes. Lanes that have long been empty go when new ones come: so there are
never many more of them than what waits has shapes.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from ...pipeline.task import COMMAND, Needs, Ready
from .items import Item, State

if TYPE_CHECKING:
    from .members import BrokerMember
    from .runs import OpenRun

AGEING = 60.0
"""Seconds of waiting that are worth one point of priority."""
SPARE_LANES = 64
"""As many lanes may stand empty before any is dropped."""


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
        parts = ["a command" if self.worker == COMMAND else f"worker {self.worker}"]
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

    __slots__ = ("heap", "queues", "shape", "size")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.heap: list[RunQueue] = []
        self.size = 0
        self.queues: dict[tuple[str, int], RunQueue] = {}
        """By run and priority: the lane goes with the last one."""

    def head(self, aside: list[RunQueue]) -> RunQueue | None:
        """The queue whose turn it is. Queues of runs that may not start anything now go to `aside`."""
        heap = self.heap
        while heap:
            queue = heap[0]
            if queue.head() is None:
                queue.waiting = False
                heappop(heap)
            elif queue.run.blocked():
                queue.waiting = False
                aside.append(heappop(heap))
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
        self._sweep_at = SPARE_LANES
        self._brokers: list[BrokerMember] = []

    # Brokers come and go ----------------------------------------------------------------------------------------

    def add_broker(self, broker: BrokerMember) -> None:
        self._brokers.append(broker)
        broker.lanes = {lane: None for lane in self.lanes.values() if broker.serves(lane)}

    def remove_broker(self, broker: BrokerMember) -> None:
        self._brokers.remove(broker)
        broker.lanes = {}

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

    def leave(self, item: Item) -> None:
        """A queued item was granted or has ended. Its place in the deque is dropped lazily."""
        queue = item.queue
        assert queue is not None
        item.queue = None
        queue.lane.size -= 1
        self.size -= 1

    def wake(self, run: OpenRun) -> None:
        """The run may start items again."""
        for queue in self._aside.pop(run.id, ()):
            if not queue.waiting and queue.head() is not None:
                queue.waiting = True
                heappush(queue.lane.heap, queue)

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
        best: RunQueue | None = None
        for lane in broker.lanes:
            if not lane.heap or (prefetch and lane.shape.exclusive):
                continue
            if not self.limits_free(lane.shape) or not broker.has_room(lane):
                continue
            aside: list[RunQueue] = []
            queue = lane.head(aside)
            for blocked in aside:
                self._set_aside(blocked)
            if queue is not None and (best is None or queue.key < best.key):
                best = queue
        return best.head() if best else None

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
        priority = _priority(run, item.ready.needs)
        queue = lane.queues.get((run.id, priority))
        if queue is None:
            queue = lane.queues[run.id, priority] = RunQueue(lane, run, priority)
            run.queues[queue] = None
        return queue

    def _enter(self, queue: RunQueue) -> None:
        queue.lane.size += 1
        self.size += 1
        if queue.waiting:
            return
        if queue.run.blocked():
            self._set_aside(queue)
        else:
            queue.waiting = True
            heappush(queue.lane.heap, queue)

    def _set_aside(self, queue: RunQueue) -> None:
        self._aside.setdefault(queue.run.id, {})[queue] = None

    def _lane(self, shape: Shape) -> Lane:
        lane = self.lanes.get(shape)
        if lane is None:
            if len(self.lanes) >= self._sweep_at:
                self._sweep()
            lane = self.lanes[shape] = Lane(shape)
            for broker in self._brokers:
                if broker.serves(lane):
                    broker.lanes[lane] = None
        return lane

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
            broker.lanes.pop(lane, None)


def _priority(run: OpenRun, needs: Needs | None) -> int:
    return run.options.priority + (needs.priority if needs else 0)
