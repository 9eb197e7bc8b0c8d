"""Grants: which queued item goes to which Broker, under which lease, with which results at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import msgspec

from ...pipeline.facts import Path
from ...pipeline.subruns import STEPS
from ...pipeline.task import JOURNAL, Assignment, Input, Ready, RunHeader, Supplied
from ..protocol import Run
from .effects import Send
from .items import Item
from .members import BrokerMember
from .queues import Lane, Queues, Shape
from .runs import OpenRun

LEASE_BITS = 40
"""A lease is epoch << 40 | number: unique for ever, ordered by granting."""
ALONG = 4 * 1024 * 1024
"""Bytes of data and results that travel with the attempts of one message; workers ask for what is beyond."""
CHUNK = 16
"""How many items a Broker gets before the next one has its turn."""

ENTRY = 400
"""Bytes that an entry of the cache costs beside its result."""
Place = tuple[str, Path]
Entry = tuple[bytes, str | None, int]
EMPTY: Mapping[Place, Entry] = {}


class ResultCache:
    """Recent small results, so that handing them on costs no read. Bounded by bytes; what is not here is fetched.

    Those of a run go when it ends. When there are too many, the oldest of the oldest run go first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._runs: OrderedDict[str, OrderedDict[Place, Entry]] = OrderedDict()

    def put(self, key: tuple[str, str, Path], result: bytes, ref: str | None, size: int) -> None:
        run, job, path = key
        entries = self._runs.setdefault(run, OrderedDict())
        before = entries.pop((job, path), None)
        if before is not None:
            self._held -= _weight(before)
        entries[job, path] = entry = (result, ref, size)
        self._held += _weight(entry)
        while self._held > self._limit:
            self._drop_oldest()

    def forget(self, run: str) -> None:
        """It has ended: nobody asks for its results here any more."""
        self._held -= sum(map(_weight, self._runs.pop(run, EMPTY).values()))

    def _drop_oldest(self) -> None:
        run, entries = next(iter(self._runs.items()))
        _, dropped = entries.popitem(last=False)
        self._held -= _weight(dropped)
        if not entries:
            del self._runs[run]

    def supply(self, run: str, wanted: Input) -> Supplied:
        """With its bytes or reference when they are at hand; otherwise the worker asks when it reads it. The bytes of a
        list go with none of its branches: a worker asks for them once, and keeps them for all."""
        entry = None if wanted.many else self._runs.get(run, EMPTY).get((wanted.job, wanted.path))
        if entry is None:
            return Supplied(wanted)
        result, ref, size = entry
        if wanted.element is not None and ref is None:
            return Supplied(wanted)
        return Supplied(wanted, None if ref else result, ref, size)


def _weight(entry: Entry) -> int:
    return len(entry[0]) + ENTRY


class Grants:
    """Hands items out by credit: first to idle slots, then as prefetch, in turns over the Brokers."""

    def __init__(self, epoch: int, queues: Queues, results: ResultCache) -> None:
        self.last_lease = epoch << LEASE_BITS
        self._queues = queues
        self._results = results

    def distribute(self, brokers: Collection[BrokerMember], now: float) -> list[Send]:
        self._queues.promises.look(brokers, now)
        open_ones = [broker for broker in brokers if broker.lanes and not broker.draining]
        granted: dict[str, tuple[BrokerMember, list[Item]]] = {}
        for prefetch in (False, True):
            turn = [broker for broker in open_ones if (broker.prefetch if prefetch else broker.free) > 0]
            turn.sort(key=lambda broker: -broker.free)
            while turn:
                turn = [broker for broker in turn if self._fill(broker, prefetch, granted, now)]
        return [Send(broker.identity, self._message(items), rests=False) for broker, items in granted.values()]

    def _fill(
        self, broker: BrokerMember, prefetch: bool, granted: dict[str, tuple[BrokerMember, list[Item]]], now: float
    ) -> bool:
        """Give this Broker its turn's items; False when it has no credit or there is nothing for it."""
        room = min(broker.prefetch if prefetch else broker.free, CHUNK if prefetch else 1)
        for _ in range(room):
            item = self._queues.choose(broker, prefetch)
            if item is None:
                return False
            self._queues.leave(item, now)
            item.step("grant")
            self.last_lease += 1
            item.granted = now
            self._hold(item, broker, self.last_lease)
            broker.granted.append(item.lease)
            if prefetch:
                broker.prefetch -= 1
                broker.wait(item)
            else:
                broker.free -= 1
            granted.setdefault(broker.identity, (broker, []))[1].append(item)
        return (broker.prefetch if prefetch else broker.free) > 0

    def adopt(self, item: Item, broker: BrokerMember, lease: int) -> None:
        """A lease of an older epoch, under its old number."""
        self._hold(item, broker, lease)

    def complete(self, item: Item, ready: Ready) -> None:
        """The Pipeliner says again what an adopted item runs: from now on it can also be queued. One that collects what
        a sub-run has returned is asked for anew instead."""
        if not item.ready.task and item.ready.attempt == ready.attempt and item.ready.worker not in STEPS:
            needs = item.ready.needs if item.leased else ready.needs
            item.ready = msgspec.structs.replace(ready, needs=needs)

    def release(self, item: Item) -> None:
        """The lease is over: free what it held."""
        broker = item.broker
        assert broker is not None
        del broker.leases[item.lease]
        broker.wait_no_more(item)
        item.broker = None
        item.lease = 0
        item.run.leased -= 1
        if item.ready.needs is not None:
            lane = Lane(Shape.of(item.ready))
            broker.occupy(lane, -1)
            self._queues.occupy(lane.shape, -1)

    def _hold(self, item: Item, broker: BrokerMember, lease: int) -> None:
        item.lease = lease
        item.broker = broker
        item.run.leased += 1
        broker.leases[lease] = item
        if item.ready.needs is not None:
            lane = Lane(Shape.of(item.ready))
            broker.occupy(lane, 1)
            self._queues.occupy(lane.shape, 1)

    def _message(self, items: list[Item]) -> Run:
        headers: dict[str, RunHeader] = {}
        room = ALONG
        for item in items:
            if item.run.id not in headers:
                header = headers[item.run.id] = _header(item.run, room)
                room -= len(header.data or b"")
        assignments: list[Assignment] = []
        for item in items:
            inputs: list[Supplied] = []
            for wanted in item.ready.inputs:
                supplied = self._results.supply(item.run.id, wanted) if room > 0 else Supplied(wanted)
                if supplied.value is not None:
                    room -= len(supplied.value)
                inputs.append(supplied)
            assignments.append(Assignment.of(item.ready, item.lease, item.run.id, tuple(inputs)))
        return Run(list(headers.values()), assignments)


def _header(run: OpenRun, room: int) -> RunHeader:
    """Small data travels with the run; for large data `ref` tells the worker to ask."""
    data = run.data if room > 0 else None
    ref = (run.data_ref or JOURNAL) if run.has_data and data is None else None
    return RunHeader(run.id, data, ref, run.options.title)
